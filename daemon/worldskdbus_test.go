package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// What kdbus has, monitors, bloom filters and activators, among clients that know nothing of it.

func TestMonitorSeesBothWorlds(t *testing.T) {
	eachDirection(t, func(p *pair) {
		for _, w := range worlds {
			monitor := w.dial(p.t, p.address)
			seen, err := monitor.Monitor(p.ctx, 0, kdbus.Match{Member: "Join"}, kdbus.Match{Type: kdbus.TypeMethodReturn, Sender: p.to.Name()})
			p.check(err)
			_, err = p.object().Call(p.ctx, "com.example.Service.Join", []string{"seen"}, map[string]uint32{})
			p.check(err)
			call, err := seen.Next(p.ctx)
			p.check(err)
			reply, err := seen.Next(p.ctx)
			p.check(err)
			var words []string
			var count map[string]uint32
			if p.check(call.Decode(&words, &count)); call.Sender() != p.from.Name() || words[0] != "seen" {
				p.t.Errorf("a %s monitor sees %v with %v", w.name, call, words)
			}
			if reply.Sender() != p.to.Name() || reply.ReplySerial() != call.Serial() {
				p.t.Errorf("a %s monitor sees %v as the answer", w.name, reply)
			}
		}
	})
}

// bloomClient is a native client that subscribes as sd-bus did.
func bloomClient(t *testing.T, path string, elements ...[2]string) *nativetest.Client {
	t.Helper()
	c := dialNative(t, path, abi.Hello{})
	bloom, err := abi.NewBloom(c.Bloom)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elements {
		bloom.Add(e[0], e[1])
	}
	match := abi.MatchAdd{Cookie: 1, Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: bloom.Data}}}
	if _, err := c.Do(&match); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBloomSubscriberGetsSignals(t *testing.T) {
	for _, w := range worlds {
		for name, elements := range map[string][][2]string{
			"interface":              {{"message-type", "signal"}, {"interface", "com.example.Service"}},
			"member":                 {{"member", "Wanted"}},
			"path":                   {{"path", "/a/b"}},
			"namespace":              {{"path-slash-prefix", "/a"}, {"member", "Wanted"}},
			"argument":               {{"arg0", "org.example.Thing"}, {"member", "Wanted"}},
			"arg0 is in a namespace": {{"arg0-dot-prefix", "org.example"}, {"member", "Wanted"}},
			"element of an array":    {{"arg1-has", "two"}, {"member", "Wanted"}},
		} {
			t.Run(w.name+" sender, "+name, func(t *testing.T) {
				addr, path := startBus(t, daemon.Config{})
				subscriber := bloomClient(t, path, elements...)
				sender := w.dial(t, addr)
				// What does not match can be delivered all the same, if the filters happen to have the
				// same bits; these have not.
				for _, signal := range []struct{ path, member, arg string }{{"/c", "com.other.Service.Unwanted", "x"}, {"/a/b", "com.example.Service.Wanted", "org.example.Thing"}} {
					if err := sender.Emit(t.Context(), kdbus.ObjectPath(signal.path), signal.member, signal.arg, []string{"one", "two"}); err != nil {
						t.Fatal(err)
					}
				}
				m, err := subscriber.Recv()
				if err != nil {
					t.Fatal(err)
				}
				body, err := m.Content()
				if err != nil {
					t.Fatal(err)
				}
				var h wire.Header
				if _, err := h.Parse(body); err != nil || h.Member != "Wanted" {
					t.Errorf("%v arrived, %v", h.Member, err)
				}
				if got := fmt.Sprintf(":1.%d", m.SrcID); got != sender.Name() || m.DstID != abi.DstIDBroadcast || m.Flags&abi.MsgSignal == 0 {
					t.Errorf("it comes from %s to %d with flags %v", got, m.DstID, m.Flags)
				}
			})
		}
	}
}

// To D-Bus an activator is no owner: its name is one that a service can be started for.
func TestActivatorIsNoOwnerToDBus(t *testing.T) {
	addr, path := startBus(t, daemon.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := worlds[1].dial(t, addr)
	changes, err := client.Subscribe(ctx, kdbus.Match{Sender: "org.freedesktop.DBus", Member: "NameOwnerChanged", Args: map[int]string{0: "com.example.Service"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	dialNative(t, path, abi.Hello{Flags: abi.HelloActivator, Name: "com.example.Service"})
	if names, err := client.ListNames(ctx); err != nil || slices.Contains(names, "com.example.Service") {
		t.Errorf("the names are %v, %v", names, err)
	}
	if names, err := client.ListActivatableNames(ctx); err != nil || !slices.Contains(names, "com.example.Service") {
		t.Errorf("the activatable names are %v, %v", names, err)
	}
	object := client.Object("com.example.Service", "/service")
	if _, err := object.With(kdbus.NoAutoStart).Call(ctx, "com.example.Service.Note", "do not start"); !errors.Is(err, kdbus.ErrNameHasNoOwner) {
		t.Errorf("a call that starts nothing: %v", err)
	}
	s := &service{entered: make(chan string, 1)}
	answered := make(chan error, 1)
	go func() {
		_, err := object.Call(ctx, "com.example.Service.Note", "waits")
		answered <- err
	}()
	implementer := worlds[1].dial(t, addr)
	if err := implementer.Export("/service", "com.example.Service", s); err != nil {
		t.Fatal(err)
	}
	if _, err := implementer.RequestName(ctx, "com.example.Service", 0); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	m, err := changes.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var name, before, after string
	if err := m.Decode(&name, &before, &after); err != nil || before != "" || after != implementer.Name() {
		t.Errorf("NameOwnerChanged says that %s passed from %q to %q, %v", name, before, after, err)
	}
}
