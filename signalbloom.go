package kdbus

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// maxBloomBytes is how many bytes are hashed for one signal: the prefixes of a long argument could
// be any number of times as long as itself. A signal that takes more gets the filter that
// everybody's mask matches.
const maxBloomBytes = 128 << 10

// signalKey is what is the same each time an object emits a signal.
type signalKey struct{ path, iface, member string }

// maxSignals is how many signals are remembered.
const maxSignals = 64

// signalBlooms remembers filters of signals without their arguments: programs emit the same few
// again and again, and hashing is most of what emitting one costs.
type signalBlooms struct {
	mu      sync.Mutex
	filters map[signalKey][]byte
}

// addBloom adds the filter of a signal: with what clients of kdbus have put into it since systemd
// (docs/native-protocol.md, "Names and matches").
func (t *frames) addBloom(m *outgoing) error {
	self := t.self.Load()
	if self == nil {
		return errors.New("a signal before HELLO")
	}
	b := bloomMaker{budget: maxBloomBytes}
	if b.filter, _ = t.blooms.Get().(*abi.Bloom); b.filter == nil {
		var err error
		if b.filter, err = abi.NewBloom(self.bloom); err != nil {
			return err
		}
	}
	defer t.blooms.Put(b.filter)
	t.signals.begin(&b, &m.header)
	if m.header.Signature != "" {
		_ = wire.Walk(m.header.Order, m.header.Signature, m.body, &b) // it ends early, or is done
	}
	m.bloom = append(m.bloom[:0], b.filter.Data...)
	if b.budget < 0 {
		for i := range m.bloom {
			m.bloom[i] = 0xff
		}
	}
	m.kmsg.Bloom.Data = m.bloom
	return nil
}

// begin makes b a filter with all but the arguments of a signal.
func (s *signalBlooms) begin(b *bloomMaker, h *wire.Header) {
	key := signalKey{h.Path, h.Interface, h.Member}
	s.mu.Lock()
	known := s.filters[key]
	s.mu.Unlock()
	if known != nil {
		copy(b.filter.Data, known)
		return
	}
	b.filter.Reset()
	b.add("message-type", "signal")
	b.add("interface", h.Interface)
	b.add("member", h.Member)
	b.add("path", h.Path)
	b.addPrefixes("path-slash-prefix", h.Path, '/')
	if b.budget < 0 {
		return
	}
	key = signalKey{strings.Clone(h.Path), strings.Clone(h.Interface), strings.Clone(h.Member)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filters == nil || len(s.filters) == maxSignals {
		s.filters = make(map[signalKey][]byte)
	}
	s.filters[key] = slices.Clone(b.filter.Data)
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

// bloomKeys are the keys of elements of each argument.
var bloomKeys = func() (keys [maxMatchArg + 1]struct{ arg, has, dotPrefix, slashPrefix string }) {
	for i := range keys {
		arg := "arg" + strconv.Itoa(i)
		k := &keys[i]
		k.arg, k.has, k.dotPrefix, k.slashPrefix = arg, arg+"-has", arg+"-dot-prefix", arg+"-slash-prefix"
	}
	return keys
}()

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
	key := &bloomKeys[b.arg]
	if b.array {
		b.add(key.has, v.Text())
		return nil
	}
	b.add(key.arg, v.Text())
	b.addPrefixes(key.dotPrefix, v.Text(), '.')
	b.addPrefixes(key.slashPrefix, v.Text(), '/')
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
