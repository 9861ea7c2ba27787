// Package bloom says what is in the bloom filter of a signal: the one place for the client library, whose
// signals have filters, and for the bus, which makes those of D-Bus 1 peers. Subscribers find both by
// the same masks. How an element sets bits is package abi's.
package bloom

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// maxBytes is how many bytes are hashed for one signal. The prefixes of a hostile argument could be
// any number of times as long as itself. A signal that takes more gets the filter that everybody's
// mask matches.
const maxBytes = 128 << 10

// maxArg is the highest argument that counts.
const maxArg = 63

// Maker makes the filter of one signal; a new one begins with NewMaker. It is for one goroutine, and
// the wire.Visitor of the signal's body.
type Maker struct {
	filter *abi.Bloom
	budget int // bytes that may yet be hashed
	arg    int // number of the argument
	array  bool
}

// NewMaker returns a Maker that adds to a filter.
func NewMaker(filter *abi.Bloom) Maker { return Maker{filter: filter, budget: maxBytes} }

// AddHeader adds what the header has: type, interface, member and path. It reports false if there was too
// much of it.
func (m *Maker) AddHeader(h *wire.Header) bool {
	m.add("message-type", h.Type.String())
	if h.Interface != "" {
		m.add("interface", h.Interface)
	}
	if h.Member != "" {
		m.add("member", h.Member)
	}
	if h.Path != "" {
		m.add("path", h.Path)
		m.addPrefixes("path-slash-prefix", h.Path, '/')
	}
	return m.budget >= 0
}

// AddBody adds the arguments up to the first one that is neither text nor an array of it. The body
// is valid.
func (m *Maker) AddBody(h *wire.Header, body []byte) {
	if h.Signature != "" {
		_ = wire.Walk(h.Order, h.Signature, body, m) // it ends early, or is done
	}
}

// Data returns the filter, which is part of the one given to NewMaker.
func (m *Maker) Data() []byte {
	if m.budget < 0 {
		for i := range m.filter.Data {
			m.filter.Data[i] = 0xff
		}
	}
	return m.filter.Data
}

func (m *Maker) add(key, value string) {
	const atLeast = 16 // what hashing costs besides
	if m.budget -= atLeast + len(key) + len(value); m.budget >= 0 {
		m.filter.Add(key, value)
	}
}

// addPrefixes is abi.Bloom.AddPrefixes within the budget.
func (m *Maker) addPrefixes(key, value string, separator byte) {
	m.add(key, value)
	for m.budget >= 0 {
		i := strings.LastIndexByte(value, separator)
		if i < 0 {
			return
		}
		if m.add(key, value[:i+1]); i == 0 {
			return
		}
		value = value[:i]
		m.add(key, value)
	}
}

// keys are the keys of elements of each argument.
var keys = func() (keys [maxArg + 1]struct{ arg, has, dotPrefix, slashPrefix string }) {
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
func (m *Maker) next() error {
	if m.arg++; m.arg > maxArg || m.budget < 0 {
		return errEnough
	}
	return nil
}

// Basic implements wire.Visitor.
func (m *Maker) Basic(v wire.Basic) error {
	if v.Type != 's' && v.Type != 'o' && v.Type != 'g' || m.budget < 0 {
		return errEnough
	}
	key := &keys[m.arg]
	if m.array {
		m.add(key.has, v.Text())
		return nil
	}
	m.add(key.arg, v.Text())
	m.addPrefixes(key.dotPrefix, v.Text(), '.')
	m.addPrefixes(key.slashPrefix, v.Text(), '/')
	return m.next()
}

// Enter implements wire.Visitor.
func (m *Maker) Enter(kind byte, contents string) error {
	if kind != 'a' || contents != "s" && contents != "o" && contents != "g" {
		return errEnough
	}
	m.array = true
	return nil
}

// Leave implements wire.Visitor.
func (m *Maker) Leave(byte) error {
	m.array = false
	return m.next()
}
