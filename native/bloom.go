package native

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// BloomOf returns the function that makes the bloom filter of a signal that has none, since a D-Bus 1
// peer has sent it: from its header and its valid body, as native peers make filters for each
// other. The filter has the elements that a subscriber's mask can have: the type, interface,
// member and path of the signal, and its arguments up to the first one that is neither text nor an
// array of it. It is the caller's.
//
// It returns nil if there are more hash functions asked for than exist; BUS_MAKE would refuse that.
// Safe for concurrent use.
func BloomOf(p bus.BloomParameter) func(h *wire.Header, body []byte) []byte {
	parameter := abi.BloomParameter{Size: p.Size, NHash: p.Hashes}
	return func(h *wire.Header, body []byte) []byte {
		filter, err := abi.NewBloom(parameter)
		if err != nil {
			return nil
		}
		b := bloomMaker{filter: filter, budget: maxBloomBytes}
		b.add("message-type", h.Type.String())
		if h.Interface != "" {
			b.add("interface", h.Interface)
		}
		if h.Member != "" {
			b.add("member", h.Member)
		}
		if h.Path != "" {
			b.add("path", h.Path)
			b.addPrefixes("path-slash-prefix", h.Path, '/')
		}
		wire.Walk(h.Order, h.Signature, body, &b) // ends early, or is done
		if b.budget < 0 {
			for i := range filter.Data {
				filter.Data[i] = 0xff
			}
		}
		return filter.Data
	}
}

// maxBloomBytes is how many bytes are hashed for one signal. The prefixes of a hostile argument could
// be any number of times as long as itself. A signal that takes more gets the filter that
// everybody's mask matches.
const maxBloomBytes = 128 << 10

// maxBloomArgs is how many arguments count.
const maxBloomArgs = 64

// bloomMaker adds the elements of one signal. It is the wire.Visitor of its body.
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
		b.add(key, value[:i+1])
		if i == 0 {
			return
		}
		value = value[:i]
		b.add(key, value)
	}
}

var errEnough = errors.New("no further arguments count")

// next ends an argument.
func (b *bloomMaker) next() error {
	if b.arg++; b.arg == maxBloomArgs || b.budget < 0 {
		return errEnough
	}
	return nil
}

// Basic implements wire.Visitor.
func (b *bloomMaker) Basic(v wire.Basic) error {
	switch v.Type {
	case 's', 'o', 'g':
	default:
		return errEnough
	}
	key := "arg" + strconv.Itoa(b.arg)
	if b.array {
		b.add(key+"-has", v.Text())
		if b.budget < 0 {
			return errEnough
		}
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
