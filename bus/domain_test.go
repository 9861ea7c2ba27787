package bus_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// madeBy describes a bus that a user makes.
func madeBy(uid uint32, name string) bus.Config {
	return bus.Config{Name: fmt.Sprintf("%d-%s", uid, name), Creator: &meta.Data{Has: meta.KindCreds, Creds: meta.IDs{EUID: uid}}}
}

// kdbus.bus(7): a user has 16 buses at most, and a name is one bus's.
func TestBusesOfAUserAreLimited(t *testing.T) {
	d := bus.NewDomain(bus.DomainConfig{})
	d.NewBus(bus.Config{Name: "0-system"})
	var last *bus.Bus
	for i := range bus.DefaultMaxBusesPerUser {
		var err error
		last, err = d.MakeBus(madeBy(7, fmt.Sprint(i)))
		expectError(t, err, 0)
	}
	_, err := d.MakeBus(madeBy(7, "one-more"))
	expectError(t, err, bus.ErrTooManyBuses)
	for _, name := range []string{"system", "twice"} {
		_, err = d.MakeBus(madeBy(0, name))
		expectError(t, err, map[string]syscall.Errno{"system": bus.ErrExists}[name])
	}
	_, err = d.MakeBus(madeBy(0, "twice"))
	expectError(t, err, bus.ErrExists)
	wrong := madeBy(0, "wrong")
	wrong.Bloom = bus.BloomParameter{Size: 12, Hashes: 1}
	_, err = d.MakeBus(wrong)
	expectError(t, err, bus.ErrInvalid)
	for range 2 {
		last.Close()
	}
	for _, name := range []string{"15", "again"} {
		_, err = d.MakeBus(madeBy(7, name))
		expectError(t, err, map[string]syscall.Errno{"again": bus.ErrTooManyBuses}[name])
	}
}

// kdbus.connection(7): a user has 1,024 connections at most, on all buses that users have made.
func TestConnectionsOnMadeBusesAreLimited(t *testing.T) {
	d := bus.NewDomain(bus.DomainConfig{MaxConnsPerUser: 5, MaxMadeConnsPerUser: 3})
	main := d.NewBus(bus.Config{Name: "0-system"})
	var made [2]*bus.Bus
	for i := range made {
		var err error
		made[i], err = d.MakeBus(madeBy(7, fmt.Sprint(i)))
		expectError(t, err, 0)
	}
	connect := func(e *bus.Endpoint) error {
		c, err := e.Connect(bus.ConnConfig{UID: 7, Receiver: &peer{}})
		if err == nil {
			err = c.Hello()
		}
		return err
	}
	for i := range 3 {
		expectError(t, connect(made[i%2].Endpoint()), 0)
	}
	expectError(t, connect(made[0].Endpoint()), bus.ErrTooManyConns)
	for range 5 {
		expectError(t, connect(main.Endpoint()), 0)
	}
	expectError(t, connect(main.Endpoint()), bus.ErrTooManyConns)
	e, err := made[0].NewEndpoint(bus.EndpointConfig{Name: "7-x", UID: 7})
	expectError(t, err, 0)
	for range 3 {
		expectError(t, connect(e), 0)
	}
	expectError(t, connect(e), bus.ErrTooManyConns)
	if n := d.UserConns(7); n != 8 {
		t.Errorf("the user has %d connections", n)
	}
	made[0].Close()
	if n := d.UserConns(7); n != 6 {
		t.Errorf("the user has %d connections after its bus was closed", n)
	}
	if got := made[1].UserStats()[bus.Account{UID: 7}]; got.Conns != 1 || got.MaxConns != 3 {
		t.Errorf("the user has %+v", got)
	}
}

func TestEndpointsOfAUserAreLimited(t *testing.T) {
	d := bus.NewDomain(bus.DomainConfig{MaxEndpointsPerUser: 2})
	b := d.NewBus(bus.Config{Name: "0-system"})
	make := func(uid uint32, name string) (*bus.Endpoint, error) {
		return b.NewEndpoint(bus.EndpointConfig{Name: name, UID: uid})
	}
	first, err := make(7, "7-a")
	expectError(t, err, 0)
	_, err = make(7, "7-b")
	expectError(t, err, 0)
	_, err = make(7, "7-c")
	expectError(t, err, bus.ErrTooManyEndpoints)
	_, err = make(8, "7-a")
	expectError(t, err, bus.ErrExists)
	_, err = make(8, "8-a")
	expectError(t, err, 0)
	first.Close()
	_, err = make(7, "7-c")
	expectError(t, err, 0)
}

func TestClosedBusDisconnectsEverybody(t *testing.T) {
	b := newBus(t)
	e := b.through()
	var peers []*peer
	for _, change := range []func(*bus.ConnConfig){ofUser(1), activator(example), holding(permit("com.example.B"))} {
		peers = append(peers, b.connect(change))
	}
	peers = append(peers, b.connectBy(e), b.monitor())
	arriving := b.introduce()
	for range 2 {
		b.Bus.Close()
	}
	for _, p := range peers {
		if p.hungUp != 1 {
			t.Errorf("%d was told %d times", p.ID(), p.hungUp)
		}
		p.leave()
	}
	expectError(t, arriving.Hello(), bus.ErrDisconnected)
	arriving.leave()
	_, err := b.Endpoint().Connect(bus.ConnConfig{Receiver: arriving})
	expectError(t, err, bus.ErrShutDown)
	_, err = b.NewEndpoint(bus.EndpointConfig{Name: "1-x"})
	expectError(t, err, bus.ErrShutDown)
	if s := b.Stats(); s.Conns+s.Names+s.Monitors != 0 || b.Domain().UserConns(1000) != 0 {
		t.Errorf("still there: %+v", s)
	}
}
