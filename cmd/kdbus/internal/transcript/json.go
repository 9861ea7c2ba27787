package transcript

import (
	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/values"
)

// JSON returns a message as an object in the shape of busctl's. What a native bus adds is under the
// key "metadata"; the caller, who writes it in this mode, may append members.
func (p *Printer) JSON(m *kdbus.Message, mode jsontext.Mode) (jsontext.Object, error) {
	native := p.Native
	data, err := values.JSON(m)
	if err != nil {
		return nil, err
	}
	o := jsontext.Object{
		{Key: "type", Value: m.Type().String()},
		{Key: "endian", Value: string(rune(m.Order()))},
		{Key: "flags", Value: uint32(m.Flags())},
		{Key: "version", Value: 1},
		{Key: "cookie", Value: m.Serial()},
	}
	add := func(key string, value any) { o = append(o, jsontext.Member{Key: key, Value: value}) }
	if m.ReplySerial() != 0 {
		add("reply_cookie", m.ReplySerial())
	}
	known := m.Metadata()
	if known != nil && known.Has&abi.AttachTimestamp != 0 {
		add("timestamp-realtime", known.Timestamp.RealtimeNS/1000)
	} else if !p.Arrived.IsZero() {
		add("timestamp-realtime", p.Arrived.UnixMicro())
	}
	for _, f := range [...]struct{ key, value string }{
		{"sender", m.Sender()}, {"destination", m.Destination()}, {"path", string(m.Path())},
		{"interface", m.Interface()}, {"member", m.Member()},
	} {
		if f.value != "" {
			add(f.key, f.value)
		}
	}
	if m.Type() == kdbus.TypeError {
		add("error_name", m.ErrorName())
	}
	if native {
		add("metadata", append(metadata.Timestamp(known), p.cache.JSON(sender(m, native), mode, 2)...))
	}
	add("payload", values.Typed(string(m.Signature()), data))
	return o, nil
}
