package dbus1

import (
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// HeaderOf returns the header of m, which a peer sends, whatever front-end it uses: for a Policy that
// needs [bus.PartHeader], while the message is being routed. It is nil for what is no D-Bus message. The
// error says why what the sender claims to be one cannot be let through.
func HeaderOf(m *bus.Message) (*wire.Header, error) {
	switch view := m.View.(type) {
	case *matchMessage:
		return view.Header, nil
	case *wire.Header:
		return view, nil
	case error:
		return nil, view
	}
	return nil, nil
}
