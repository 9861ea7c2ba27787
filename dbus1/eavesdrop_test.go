package dbus1_test

import (
	"errors"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/meta"
)

// deaf is a Receiver that takes nothing.
type deaf struct{}

func (deaf) Wake()             {}
func (deaf) Wanted(meta.Kinds) {}

// Peers of D-Bus 1 are asked the same by the driver, which conformance/policy compares with dbus-daemon.
func TestOnlyThePrivilegedEavesdropByRulesWithCookies(t *testing.T) {
	const owner = 4242
	rules := dbus1.NewSubscriptions()
	b := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{
		Indexes: []bus.Index{rules}, Creator: &meta.Data{Has: meta.KindCreds, Creds: meta.IDs{EUID: owner}},
	})
	for uid, want := range map[uint32]error{0: nil, owner: nil, 4243: bus.ErrDenied} {
		c, err := b.Endpoint().Connect(bus.ConnConfig{UID: uid, Receiver: deaf{}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Hello()
		if err := rules.Add(c, 1, "eavesdrop='true'", false); !errors.Is(err, want) {
			t.Errorf("user %d: %v, want %v", uid, err, want)
		}
		if err := rules.Add(c, 1, "type='signal'", false); err != nil {
			t.Errorf("user %d: %v", uid, err)
		}
	}
}
