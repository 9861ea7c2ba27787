package dbus1

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// Match rules for peers that use another front-end, which knows them by cookies and errnos.

// Add subscribes c to what a match rule of D-Bus matches, exactly. The cookie is the peer's name for
// the subscription; several may have the same. With replace those that it had are removed first.
// The error is an [*bus.Error]: EINVAL for what is no rule, EPERM for one that eavesdrops on others if
// c is not privileged, EMFILE if c has too many.
func (s *Subscriptions) Add(c *bus.Conn, cookie uint64, text string, replace bool) error {
	rule, err := parseRule(text)
	if err != nil {
		return err
	}
	if rule.Eavesdrop && !c.Privileged() {
		return &bus.Error{Errno: syscall.EPERM, Detail: fmt.Sprintf("user %d may not eavesdrop on others", c.UID())}
	}
	return c.EditMatches(func() error {
		if replace {
			s.index.removeCookie(c, cookie)
		}
		if err := s.full(c); err != nil {
			return &bus.Error{Errno: syscall.EMFILE, Detail: err.Message}
		}
		s.insert(c, rule, &cookie)
		return nil
	})
}

// Remove undoes what Add did with this cookie. The error is EBADSLT if that was nothing.
func (s *Subscriptions) Remove(c *bus.Conn, cookie uint64) error {
	return c.EditMatches(func() error {
		if !s.index.removeCookie(c, cookie) {
			return &bus.Error{Errno: syscall.EBADSLT, Detail: fmt.Sprintf("the connection has no match rule with the cookie %d", cookie)}
		}
		return nil
	})
}

// Describe returns what is in the header of a message, if it has a View, as the text of somebody else's making: it stays.
func (*Subscriptions) Describe(m *bus.Message) (path, iface, member string) {
	view, _ := m.View.(*matchMessage)
	if view == nil {
		return "", "", ""
	}
	h := view.Header
	return strings.Clone(string(h.Path)), strings.Clone(h.Interface), strings.Clone(h.Member)
}

// Compile reads a match rule, to be evaluated as part of a match of the core. The error is EINVAL,
// as an [*bus.Error].
func (*Subscriptions) Compile(text string) (bus.Rule, error) {
	rule, err := parseRule(text)
	if err != nil {
		return nil, err
	}
	return exactRule{rule}, nil
}

func parseRule(text string) (*matchRule, error) {
	rule, err := parseMatchRule(text)
	if err != nil {
		return nil, &bus.Error{Errno: syscall.EINVAL, Detail: err.Error()}
	}
	return rule, nil
}

// exactRule is a match rule as the core evaluates it.
type exactRule struct{ rule *matchRule }

// Match implements bus.Rule.
func (r exactRule) Match(src, dst *bus.Conn, m *bus.Message) bool {
	view := viewOf(src, dst, m)
	return view != nil && r.rule.describes(view)
}

// Needs implements bus.Rule.
func (r exactRule) Needs() bus.Parts { return bus.PartView }

// SenderName returns the well-known name that the sender has to have, "" if it needs none. A subscriber has to see it, too.
func (r exactRule) SenderName() string { return r.rule.wellKnownSender() }

// View makes bus.Message.View for a message that another front-end sends: h is its header as a
// D-Bus 1 message, with the true sender, and body its body, which is valid. They have to stay as they are
// until the message was sent.
func (*Subscriptions) View(h *wire.Header, body []byte) any {
	return &matchMessage{Header: h, Body: body}
}
