package native

import (
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/internal/bloom"
	"github.com/kdbus-go/kdbus/wire"
)

// BloomOf returns the function that makes the bloom filter of a signal that has none, since a D-Bus 1
// peer has sent it: from its header and its valid body, as native peers make filters for each
// other. The filter has the elements that a subscriber's mask can have. It is the caller's.
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
		m := bloom.NewMaker(filter)
		if m.AddHeader(h) {
			m.AddBody(h, body)
		}
		return m.Data()
	}
}
