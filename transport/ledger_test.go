package transport

import (
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

func TestGuestsLeaveHalfOfTheDescriptorsToOthers(t *testing.T) {
	var l ledger
	one, two, host := &Server{ledger: &l, config: Config{Guests: true}}, &Server{ledger: &l, config: Config{Guests: true}}, &Server{ledger: &l}
	for one.invite() {
	}
	if l.guests != maxFiles()/2 {
		t.Errorf("%d guests of %d files", l.guests, maxFiles())
	}
	if two.invite() {
		t.Error("another server of guests has more")
	}
	if !host.invite() {
		t.Error("there is no space for who is no guest")
	}
	host.uninvite()
	if two.uninvite(); !two.invite() {
		t.Error("after one has left there is no space")
	}
}

func TestAccountsAreKeptApart(t *testing.T) {
	b := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{})
	endpoint := func(name string) *bus.Endpoint {
		e, err := b.NewEndpoint(bus.EndpointConfig{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	server := func(config Config) *Server { return &Server{config: config} }
	standard, other := server(Config{Endpoint: b.Endpoint()}), server(Config{Endpoint: b.Endpoint()})
	door, second := server(Config{Endpoint: endpoint("0-a")}), server(Config{Endpoint: endpoint("0-b")})
	made, control := server(Config{Endpoint: b.Endpoint(), Guests: true}), server(Config{Guests: true})
	for _, c := range []struct {
		name string
		a, b account
		same bool
	}{
		{"a user on two buses", standard.accountOf(1), other.accountOf(1), true},
		{"two users", standard.accountOf(1), standard.accountOf(2), false},
		{"two users at an endpoint", door.accountOf(1), door.accountOf(2), true},
		{"a user at two endpoints", door.accountOf(1), second.accountOf(1), false},
		{"a user at an endpoint and not", door.accountOf(1), standard.accountOf(1), false},
		{"a user on a bus that users have made and not", made.accountOf(1), standard.accountOf(1), false},
		{"a user who makes buses and not", control.accountOf(1), standard.accountOf(1), false},
	} {
		if got := c.a == c.b; got != c.same {
			t.Errorf("%s: the same account: %v", c.name, got)
		}
	}
	if got := door.accountOf(1).String() + ", " + standard.accountOf(1).String() + ", " + control.accountOf(1).String(); got != "endpoint 0-a, user 1, user 1" {
		t.Error(got)
	}
}
