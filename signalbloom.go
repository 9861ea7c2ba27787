package kdbus

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/internal/bloom"
	"github.com/kdbus-go/kdbus/wire"
)

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
	filter, _ := t.blooms.Get().(*abi.Bloom)
	if filter == nil {
		var err error
		if filter, err = abi.NewBloom(self.bloom); err != nil {
			return err
		}
	}
	defer t.blooms.Put(filter)
	b := bloom.NewMaker(filter)
	if t.signals.begin(&b, filter, &m.header) {
		b.AddBody(&m.header, m.body)
	}
	m.bloom = append(m.bloom[:0], b.Data()...)
	m.kmsg.Bloom.Data = m.bloom
	return nil
}

// begin makes the filter, to which b adds, one with all but the arguments of a signal. It reports
// false if that is too much.
func (s *signalBlooms) begin(b *bloom.Maker, filter *abi.Bloom, h *wire.Header) bool {
	key := signalKey{h.Path, h.Interface, h.Member}
	s.mu.Lock()
	known := s.filters[key]
	s.mu.Unlock()
	if known != nil {
		copy(filter.Data, known)
		return true
	}
	filter.Reset()
	if !b.AddHeader(h) {
		return false
	}
	key = signalKey{strings.Clone(h.Path), strings.Clone(h.Interface), strings.Clone(h.Member)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filters == nil || len(s.filters) == maxSignals {
		s.filters = make(map[signalKey][]byte)
	}
	s.filters[key] = slices.Clone(filter.Data)
	return true
}
