package dbus1

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/wire"
)

// Error is an error as D-Bus programs get it.
type Error struct {
	Name    string // such as org.freedesktop.DBus.Error.AccessDenied
	Message string
}

func (e *Error) Error() string { return e.Name + ": " + e.Message }

const errorPrefix = "org.freedesktop.DBus.Error."

func dbusErrorf(name, format string, args ...any) *Error {
	return &Error{errorPrefix + name, fmt.Sprintf(format, args...)}
}

var (
	errUnknownType = dbusErrorf("AccessDenied", "Message bus will not accept messages of unknown type\n")
)

// errorNames is the table from the errors of the core to those of D-Bus. dbusError words them.
var errorNames = map[syscall.Errno]string{
	bus.ErrNoSuchConn:    "ServiceUnknown",
	bus.ErrNoSuchName:    "ServiceUnknown",
	bus.ErrDenied:        "AccessDenied",
	bus.ErrUnrequested:   "AccessDenied",
	bus.ErrDuplicateCall: "AccessDenied",
	bus.ErrQueueFull:     "LimitsExceeded",
	bus.ErrTooManyFDs:    "LimitsExceeded",
	bus.ErrNoFDs:         "NotSupported",
	bus.ErrTooManyCalls:  "LimitsExceeded",
	bus.ErrTooManyConns:  "LimitsExceeded",
	bus.ErrInactive:      "NameHasNoOwner", // an activator's name, and NO_AUTO_START
	bus.ErrUnsupported:   "NotSupported",
	bus.ErrMoved:         "NameHasNoOwner",
}

// dbusError turns an error of the core about the message h into what its sender is told.
func (p *party) dbusError(h *wire.Header, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var named interface{ ErrorName() string }
	if errors.As(err, &named) {
		return &Error{named.ErrorName(), err.Error()}
	}
	var e *bus.Error
	if !errors.As(err, &e) {
		return dbusErrorf("Failed", "%v", err)
	}
	name, known := errorNames[e.Errno]
	switch {
	case !known:
		return dbusErrorf("Failed", "%s", e.Detail)
	case name == "ServiceUnknown" && h.Flags&wire.NoAutoStart != 0:
		return dbusErrorf("NameHasNoOwner", "Name %q does not exist", h.Destination)
	}
	switch e.Errno {
	case bus.ErrNoSuchConn, bus.ErrNoSuchName:
		return dbusErrorf(name, "The name %s was not provided by any .service files", h.Destination)
	case bus.ErrInactive:
		return dbusErrorf(name, "Name %q does not exist", h.Destination)
	case bus.ErrUnrequested:
		return p.complain(h, name, "Rejected send message", e)
	case bus.ErrQueueFull, bus.ErrTooManyFDs:
		return p.complain(h, name, "Rejected: destination has a full message queue", e)
	case bus.ErrDuplicateCall:
		return dbusErrorf(name, "Message has the same reply serial as a currently-outstanding existing method call")
	case bus.ErrTooManyCalls:
		return dbusErrorf(name, "The maximum number of pending replies per connection has been reached (%s)", e.Detail)
	case bus.ErrNoFDs:
		return dbusErrorf(name, "Tried to send message with Unix file descriptors to a client that doesn't support that.")
	}
	return dbusErrorf(name, "%s", err.Error()) // that of a policy says more than what it wraps
}

// complain words the refusal of a message as dbus-daemon does, for whoever reads it by eye or by
// pattern, and adds the reason.
func (p *party) complain(h *wire.Header, name, complaint string, reason *bus.Error) *Error {
	unset := func(s string) string {
		if s == "" {
			return "(unset)"
		}
		return s
	}
	return dbusErrorf(name, "%s, 0 matched rules; type=\"%s\", sender=\"%s\" (%s) interface=\"%s\" member=\"%s\" error name=\"%s\" requested_reply=\"0\" destination=\"%s\" (%s)",
		complaint, h.Type, p.name, Describe(p.conn), unset(h.Interface), unset(h.Member), unset(h.ErrorName), h.Destination, reason.Detail)
}

// ownDenied words the refusal of a name as dbus-daemon does. A policy may have done so itself.
func (p *party) ownDenied(name string, err error) *Error {
	if plain, ok := err.(*bus.Error); ok {
		return dbusErrorf("AccessDenied", "Connection \"%s\" is not allowed to own the service \"%s\" due to security policies in the configuration file; %s",
			p.name, name, plain.Detail)
	}
	return dbusErrorf("AccessDenied", "%s", err.Error())
}

// unprivileged words the refusal of what only root and the user of the bus may call.
func (p *party) unprivileged(method string) *Error {
	id, user := identityOf(p.conn), "unknown uid"
	if id.Known() {
		user = fmt.Sprintf("uid %d", id.Creds().UID)
	}
	e := dbusErrorf("AccessDenied", "rejected attempt to call %s by connection %s (%s) with %s", method, p.name, Describe(p.conn), user)
	if p.server.config.Denied != nil {
		p.server.config.Denied(p.conn, errors.New(e.Message))
	}
	return e
}

// Describe says who is behind a connection, in the words of dbus-daemon's errors and log: user, process, what
// the process is called, security label, as far as they are known. It asks the kernel, which is better
// not done with the bus locked.
func Describe(c *bus.Conn) string {
	id, ok := c.Peer().(Identity)
	if !ok {
		return "bus"
	}
	var words []string
	if id.Known() {
		words = append(words, fmt.Sprintf("uid=%d", id.Creds().UID))
	}
	if pid := id.Creds().PID; pid != 0 {
		words = append(words, fmt.Sprintf("pid=%d", pid))
		if peer, ok := id.(interface{ ConnectData(meta.Kinds) meta.Data }); ok {
			words = append(words, fmt.Sprintf("comm=\"%s\"", peer.ConnectData(meta.KindPIDComm).PIDComm))
		}
	}
	if label := id.SecurityLabel(); label != "" {
		words = append(words, fmt.Sprintf("label=\"%s\"", label))
	}
	return strings.Join(words, " ")
}
