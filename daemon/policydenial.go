package daemon

import (
	"fmt"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/dbus1"
)

// Denials: the words are dbus-daemon's, which programs and people look for, followed by what dbus-daemon does
// not say: the rule that decided. They are put together when somebody reads them, which is not while the bus
// is locked: to tell how many rules matched takes looking at all of them, and to tell what a process is
// called takes asking the kernel.

// denied makes the error for a message that v denies. If v allows it, but wants it logged, there is no error.
// strings in asked are valid for now.
func (p *xmlPolicy) denied(src, dst *bus.Conn, m *bus.Message, asked busconfig.Message, v busconfig.Verdict, kind busconfig.Kind) error {
	if err := p.denials.note(src, describeDenial(src, dst, m, asked, v, kind)); !v.Allowed {
		return err
	}
	return nil
}

// describeDenial makes a denial. src is nil for the bus itself.
func describeDenial(src, dst *bus.Conn, m *bus.Message, asked busconfig.Message, v busconfig.Verdict, kind busconfig.Kind) *denial {
	d := &denial{src: src, dst: dst, kind: kind, rule: v.Rule, allowed: v.Allowed}
	if dst != nil && dst.Flags()&bus.FlagActivator != 0 {
		d.dst = nil
	}
	if kind == busconfig.Receive {
		d.view = subjectOf(dst).rights.view
	} else {
		d.view = subjectOf(src).rights.view
	}
	asked.Path, asked.Interface = strings.Clone(asked.Path), strings.Clone(asked.Interface)
	asked.Member, asked.ErrorName = strings.Clone(asked.Member), strings.Clone(asked.ErrorName)
	d.asked = asked
	switch h, _ := dbus1.HeaderOf(m); {
	case h != nil && h.Destination != "":
		d.destination = strings.Clone(h.Destination)
	case m.DstName != "":
		d.destination = strings.Clone(m.DstName)
	case dst != nil && m.Dst != bus.Broadcast:
		d.destination = m.Dst.String()
	default:
		d.destination = driverName // says dbus-daemon even of broadcasts
	}
	return d
}

// denial is the error for a message.
type denial struct {
	src, dst    *bus.Conn // nil for the bus itself; dst also for a service that is not there yet
	kind        busconfig.Kind
	view        *busconfig.View
	asked       busconfig.Message
	rule        *busconfig.Rule // nil if none matches
	allowed     bool            // but to be logged
	destination string

	once sync.Once
	text string
}

func (d *denial) Error() string {
	d.once.Do(func() { d.text = d.complaint() + "; " + reason(d.rule) })
	return d.text
}

// Unwrap tells what kind of error it is.
func (d *denial) Unwrap() error { return errDenied }

var errDenied = &bus.Error{Errno: bus.ErrDenied, Detail: "the policy forbids it"}

// complaint is what dbus-daemon says.
func (d *denial) complaint() string {
	var what string
	var rules []*busconfig.Rule
	switch {
	case d.kind == busconfig.Receive:
		what, rules = "Rejected receive message", d.view.ReceiveRules(&d.asked)
	case d.allowed:
		what, rules = "Would reject message", d.view.SendRules(&d.asked)
	default:
		what, rules = "Rejected send message", d.view.SendRules(&d.asked)
	}
	sender, from, receiver := "(unset)", "(bus)", "bus"
	if d.src != nil {
		sender, from = d.src.UniqueName(), dbus1.Describe(d.src)
	}
	if d.dst != nil {
		receiver = dbus1.Describe(d.dst)
	}
	requested := 0
	if d.asked.Requested {
		requested = 1
	}
	m := &d.asked
	return fmt.Sprintf("%s, %d matched rules; type=\"%s\", sender=\"%s\" (%s) interface=\"%s\" member=\"%s\" error name=\"%s\" requested_reply=\"%d\" destination=\"%s\" (%s)",
		what, len(rules), m.Type, sender, from, unset(m.Interface), unset(m.Member), unset(m.ErrorName),
		requested, d.destination, receiver)
}

// details are what the text does not tell of the message, for the log.
func (d *denial) details() (details []any) {
	if d.asked.Path != "" {
		details = append(details, "path", d.asked.Path)
	}
	if d.asked.Descriptors > 0 {
		details = append(details, "fds", d.asked.Descriptors)
	}
	if d.asked.Opaque {
		details = append(details, "payload", "not of D-Bus")
	}
	return details
}

func unset(s string) string {
	if s == "" {
		return "(unset)"
	}
	return s
}

// reason says which rule decided.
func reason(r *busconfig.Rule) string {
	if r == nil {
		return "no rule allows it"
	}
	return fmt.Sprintf("rule: %s %s of %s", r.Source, r, r.Context)
}

// ownDenial is the error for a name.
type ownDenial struct {
	conn *bus.Conn
	name string
	rule *busconfig.Rule
}

func (d *ownDenial) Error() string {
	return fmt.Sprintf("Connection \"%s\" is not allowed to own the service \"%s\" due to security policies in the configuration file; %s",
		d.conn.UniqueName(), d.name, reason(d.rule))
}

// Unwrap tells what kind of error it is.
func (d *ownDenial) Unwrap() error { return errDenied }

// misstatement is the error for a message whose header cannot be believed.
type misstatement struct {
	conn   *bus.Conn
	reason error
}

func (d *misstatement) Error() string {
	return fmt.Sprintf("Rejected send message: the policy of this bus goes by the headers of messages, and that of connection %s cannot be believed: %v",
		d.conn.UniqueName(), d.reason)
}

// Unwrap tells what kind of error it is.
func (d *misstatement) Unwrap() error { return errDenied }
