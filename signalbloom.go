package kdbus

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// maxBloomBytes is how many bytes are hashed for one signal: the prefixes of a long argument could
// be any number of times as long as itself. A signal that takes more gets the filter that
// everybody's mask matches.
const maxBloomBytes = 128 << 10

// addBloom adds the filter of a signal: with what clients of kdbus have put into it since systemd
// (docs/native-protocol.md, "Names and matches").
func (t *frames) addBloom(m *outgoing) error {
	b := bloomMaker{budget: maxBloomBytes}
	if self := t.self.Load(); self == nil {
		return errors.New("a signal before HELLO")
	} else if b.filter, _ = t.blooms.Get().(*abi.Bloom); b.filter == nil {
		var err error
		if b.filter, err = abi.NewBloom(self.bloom); err != nil {
			return err
		}
	}
	b.filter.Reset()
	h := &m.header
	b.add("message-type", "signal")
	b.add("interface", h.Interface)
	b.add("member", h.Member)
	b.add("path", h.Path)
	b.addPrefixes("path-slash-prefix", h.Path, '/')
	_ = wire.Walk(h.Order, h.Signature, m.body, &b) // it ends early, or is done
	m.bloom = append(m.bloom[:0], b.filter.Data...)
	t.blooms.Put(b.filter)
	if b.budget < 0 {
		for i := range m.bloom {
			m.bloom[i] = 0xff
		}
	}
	m.kmsg.Bloom.Data = m.bloom
	return nil
}

// bloomMaker adds the elements of a signal. It is the wire.Visitor of its body.
type bloomMaker struct {
	filter *abi.Bloom
	budget int // bytes that may yet be hashed
	arg    int // number of the argument
	array  bool
}

func (b *bloomMaker) add(key, value string) {
	const atLeast = 16 // what hashing costs besides
	if b.budget -= atLeast + len(key) + len(value); b.budget >= 0 {
		b.filter.Add(key, value)
	}
}

// addPrefixes is abi.Bloom.AddPrefixes within the budget.
func (b *bloomMaker) addPrefixes(key, value string, separator byte) {
	b.add(key, value)
	for b.budget >= 0 {
		i := strings.LastIndexByte(value, separator)
		if i < 0 {
			return
		}
		if b.add(key, value[:i+1]); i == 0 {
			return
		}
		value = value[:i]
		b.add(key, value)
	}
}

// errEnough ends the walk: no further arguments count.
var errEnough = errors.New("enough")

// next ends an argument.
func (b *bloomMaker) next() error {
	if b.arg++; b.arg > maxMatchArg || b.budget < 0 {
		return errEnough
	}
	return nil
}

// Basic implements wire.Visitor.
func (b *bloomMaker) Basic(v wire.Basic) error {
	if v.Type != 's' && v.Type != 'o' && v.Type != 'g' || b.budget < 0 {
		return errEnough
	}
	key := "arg" + strconv.Itoa(b.arg)
	if b.array {
		b.add(key+"-has", v.Text())
		return nil
	}
	b.add(key, v.Text())
	b.addPrefixes(key+"-dot-prefix", v.Text(), '.')
	b.addPrefixes(key+"-slash-prefix", v.Text(), '/')
	return b.next()
}

// Enter implements wire.Visitor.
func (b *bloomMaker) Enter(kind byte, contents string) error {
	if kind != 'a' || contents != "s" && contents != "o" && contents != "g" {
		return errEnough
	}
	b.array = true
	return nil
}

// Leave implements wire.Visitor.
func (b *bloomMaker) Leave(byte) error {
	b.array = false
	return b.next()
}
