package native

import (
	"errors"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
)

// matchAdd subscribes to signals and notifications: kdbus.match(7), "Adding a match". A D-Bus match
// rule alone is filed with those of the D-Bus 1 peers, where it is found fastest.
func (c *conn) matchAdd(r *request, a *abi.MatchAdd) error {
	if err := c.ordinary(r); err != nil {
		return err
	}
	replace := a.Flags&abi.MatchReplace != 0
	rules := c.server.config.Rules
	if len(a.Rules) == 1 && a.Rules[0].Type == abi.ItemMatchRule && rules != nil {
		if err := rules.Add(c.bus, a.Cookie, a.Rules[0].Name, replace); errors.Is(err, syscall.EPERM) {
			return c.denied(err) // it eavesdrops
		} else if err != nil {
			return err
		}
		if replace {
			return ignore(c.bus.RemoveMatches(a.Cookie), bus.ErrNoSuchMatch)
		}
		return nil
	}
	m, err := c.match(a)
	if err != nil {
		return err
	}
	if err := c.bus.AddMatch(m, replace); err != nil {
		return err
	}
	if replace && rules != nil {
		return ignore(rules.Remove(c.bus, a.Cookie), bus.ErrNoSuchMatch)
	}
	return nil
}

// errNoRules is the error where Config.Rules is nil.
var errNoRules = refusef(syscall.EOPNOTSUPP, "this bus has no D-Bus match rules")

// ignore returns err unless it is the one that does not matter.
func ignore(err error, expected syscall.Errno) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// match translates the items of a MATCH_ADD.
func (c *conn) match(a *abi.MatchAdd) (bus.Match, error) {
	m := bus.Match{Cookie: a.Cookie}
	for _, item := range a.Rules {
		switch item.Type {
		case abi.ItemBloomMask:
			m.Masks = append(m.Masks, item.Mask)
		case abi.ItemID:
			m.Senders = append(m.Senders, bus.ID(item.ID))
		case abi.ItemDstID:
			m.Destinations = append(m.Destinations, bus.ID(item.ID))
		case abi.ItemName:
			m.Names = append(m.Names, item.Name)
		case abi.ItemMatchRule:
			if c.server.config.Rules == nil {
				return m, errNoRules
			}
			rule, err := c.server.config.Rules.Compile(item.Name)
			if err != nil {
				return m, err
			}
			if s, ok := rule.(interface{ SenderName() string }); ok && s.SenderName() != "" {
				m.Names = append(m.Names, s.SenderName()) // so that the bus asks whether the peer may see it
			}
			if m.Rule != nil {
				rule = both{m.Rule, rule}
			}
			m.Rule = rule
		default:
			m.Changes = append(m.Changes, changeOf(item))
		}
	}
	return m, nil
}

// changeOf translates an item about notifications.
func changeOf(item abi.MatchRule) bus.Change {
	change := bus.Change{Old: bus.ID(item.OldID), New: bus.ID(item.NewID)}
	if !item.AnyName {
		change.Name = item.Name
	}
	switch item.Type {
	case abi.ItemNameAdd:
		change.Kind = bus.NameAdd
	case abi.ItemNameRemove:
		change.Kind = bus.NameRemove
	case abi.ItemNameChange:
		change.Kind = bus.NameChange
	case abi.ItemIDAdd:
		change.Kind, change.New = bus.IDAdd, bus.ID(item.ID)
	case abi.ItemIDRemove:
		change.Kind, change.Old = bus.IDRemove, bus.ID(item.ID)
	}
	return change
}

// both is two rules that both have to be met.
type both [2]bus.Rule

// Match implements bus.Rule.
func (b both) Match(src, dst *bus.Conn, m *bus.Message) bool {
	return b[0].Match(src, dst, m) && b[1].Match(src, dst, m)
}

// Needs implements bus.Rule.
func (b both) Needs() bus.Parts { return b[0].Needs() | b[1].Needs() }

// matchRemove ends all subscriptions with a cookie: kdbus.match(7), "Removing a match".
func (c *conn) matchRemove(r *request, m *abi.MatchRemove) error {
	if err := c.ordinary(r); err != nil {
		return err
	}
	err := c.bus.RemoveMatches(m.Cookie)
	rules := c.server.config.Rules
	if rules == nil || err != nil && !errors.Is(err, bus.ErrNoSuchMatch) {
		return err
	}
	ruleErr := rules.Remove(c.bus, m.Cookie)
	if err == nil {
		return ignore(ruleErr, bus.ErrNoSuchMatch)
	}
	return ruleErr
}
