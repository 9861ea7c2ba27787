package kdbus_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5/introspect"
	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus"
)

// player has one of everything.
type player struct {
	Volume  kdbus.Property[float64]       `kdbus:",writable"`
	Title   kdbus.Property[string]        `kdbus:"Track"`
	Version kdbus.Property[uint32]        `kdbus:",const"`
	Cover   kdbus.Property[[]byte]        `kdbus:",invalidates"`
	Secret  kdbus.Property[int32]         `kdbus:",silent,writable"`
	Any     kdbus.Property[kdbus.Variant] `kdbus:",writable"`
	Stopped kdbus.Signal[struct {
		Track string
		After uint32 `kdbus:"seconds"`
	}]
	Tick kdbus.Signal[int64] `kdbus:"Ticked"`
	Bye  kdbus.Signal[struct{}]
}

func (p *player) Play(ctx context.Context, m *kdbus.Message, track string, rest []string) (bool, map[string]uint32, error) {
	return track == rest[0], map[string]uint32{track: uint32(len(rest))}, nil
}

func (p *player) Raise() error { return nil }

const (
	playerPath  = "/com/example/Player"
	playerIface = "com.example.Player"
)

func servePlayer(t *testing.T, address string) (p *player, service *kdbus.Conn, obj kdbus.Object) {
	t.Helper()
	p = &player{}
	p.Volume.OnSet = func(_ context.Context, v float64) error {
		if v > 1 {
			return kdbus.NewError("com.example.TooLoud", "%v is more than 1", v)
		}
		return nil
	}
	for _, err := range []error{p.Volume.Set(0.5), p.Title.Set("none"), p.Version.Set(3), p.Any.Set(kdbus.Variant{Value: "x"})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	service = dial(t, address)
	if err := service.Export(playerPath, playerIface, p); err != nil {
		t.Fatal(err)
	}
	return p, service, dial(t, address).Object(service.Name(), playerPath)
}

func TestPropertiesAreReadAndWritten(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		p, _, obj := servePlayer(t, address)
		ctx := testContext(t)
		if got := must(kdbus.Get[float64](ctx, obj, playerIface+".Volume"))(t); got != 0.5 {
			t.Errorf("Volume is %v", got)
		}
		if err := obj.Set(ctx, playerIface+".Volume", 0.25); err != nil || p.Volume.Get() != 0.25 {
			t.Errorf("after setting, Volume is %v, %v", p.Volume.Get(), err)
		}
		all := must(obj.GetAll(ctx, playerIface))(t)
		want := map[string]kdbus.Variant{
			"Volume": {Signature: "d", Value: 0.25}, "Track": {Signature: "s", Value: "none"},
			"Version": {Signature: "u", Value: uint32(3)}, "Cover": {Signature: "ay", Value: []byte{}},
			"Secret": {Signature: "i", Value: int32(0)}, "Any": {Signature: "s", Value: "x"},
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("GetAll (-want +got):\n%s", diff)
		}
		if err := obj.Set(ctx, playerIface+".Any", kdbus.Variant{Value: []string{"y"}}); err != nil {
			t.Error(err)
		}
		if got := must(kdbus.Get[[]string](ctx, obj, playerIface+".Any"))(t); !slices.Equal(got, []string{"y"}) {
			t.Errorf("Any is %v", got)
		}
	})
}

func TestPropertiesThatCannotBeHadOrSetSayWhy(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		p, _, obj := servePlayer(t, address)
		ctx := testContext(t)
		for _, test := range []struct {
			property string
			value    any // to set; nil to get
			want     string
		}{
			{playerIface + ".Volume", 2.0, "com.example.TooLoud"},
			{playerIface + ".Volume", "loud", kdbus.ErrInvalidArgs.Name},
			{playerIface + ".Track", "x", kdbus.ErrPropertyReadOnly.Name},
			{playerIface + ".Version", uint32(1), kdbus.ErrPropertyReadOnly.Name},
			{playerIface + ".None", uint32(1), kdbus.ErrUnknownProperty.Name},
			{playerIface + ".None", nil, kdbus.ErrUnknownProperty.Name},
			{"com.example.Other.Volume", nil, kdbus.ErrUnknownInterface.Name},
		} {
			var err error
			if test.value == nil {
				_, err = kdbus.Get[any](ctx, obj, test.property)
			} else {
				err = obj.Set(ctx, test.property, test.value)
			}
			if !errors.Is(err, &kdbus.Error{Name: test.want}) {
				t.Errorf("%s, %v: the error is %v, want %s", test.property, test.value, err, test.want)
			}
		}
		if p.Volume.Get() != 0.5 {
			t.Errorf("Volume has become %v", p.Volume.Get())
		}
		if err := p.Version.Set(4); err == nil || p.Version.Get() != 3 {
			t.Error("a constant has changed")
		}
	})
}

func TestPropertiesChangedTellsWhatItShould(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		p, service, _ := servePlayer(t, address)
		c := dial(t, address)
		s := subscribe(t, c, kdbus.Match{Sender: service.Name(), Member: "PropertiesChanged"}, 0)
		for _, err := range []error{p.Volume.Set(0.1), p.Secret.Set(7), p.Cover.Set([]byte("x")), p.Title.Set("y")} {
			if err != nil {
				t.Error(err)
			}
		}
		for _, want := range []struct {
			changed     map[string]kdbus.Variant
			invalidated []string
		}{
			{map[string]kdbus.Variant{"Volume": {Signature: "d", Value: 0.1}}, []string{}},
			{map[string]kdbus.Variant{}, []string{"Cover"}},
			{map[string]kdbus.Variant{"Track": {Signature: "s", Value: "y"}}, []string{}},
		} {
			var iface string
			got := want
			if err := next(t, s).Decode(&iface, &got.changed, &got.invalidated); err != nil || iface != playerIface {
				t.Errorf("interface %q, %v", iface, err)
			}
			if diff := cmp.Diff(want.changed, got.changed) + cmp.Diff(want.invalidated, got.invalidated); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		service.Unexport(playerPath, playerIface)
		if err := p.Volume.Set(0.2); err != nil {
			t.Error(err)
		}
		settle(t, service, c)
		if n := len(s.Messages()); n != 0 {
			t.Errorf("%d signals after Unexport", n)
		}
	})
}

func TestDeclaredSignalsAreEmitted(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		p, service, _ := servePlayer(t, address)
		s := subscribe(t, dial(t, address), kdbus.Match{Sender: service.Name(), Interface: playerIface}, 0)
		for _, err := range []error{
			p.Stopped.Emit(struct {
				Track string
				After uint32 `kdbus:"seconds"`
			}{"x", 5}), p.Tick.Emit(7), p.Bye.Emit(struct{}{}),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		for _, want := range []string{"Stopped su [x 5]", "Ticked x [7]", "Bye  []"} {
			m := next(t, s)
			values := must(m.Values())(t)
			if got := m.Member() + " " + string(m.Signature()) + " " + fmt.Sprint(values); got != want {
				t.Errorf("the signal is %q, want %q", got, want)
			}
		}
	})
}

func TestMethodsTakeAndReturnContainers(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		_, _, obj := servePlayer(t, address)
		reply := must(obj.Call(testContext(t), playerIface+".Play", "a", []string{"a", "b"}))(t)
		var first bool
		var counts map[string]uint32
		if err := reply.Decode(&first, &counts); err != nil || !first || counts["a"] != 2 {
			t.Errorf("%v, %v, %v", first, counts, err)
		}
		// Without an interface the method is found too.
		if _, err := obj.Call(testContext(t), "Raise"); err != nil {
			t.Error(err)
		}
	})
}

func TestIntrospectionDescribesWhatIsExported(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		_, service, obj := servePlayer(t, address)
		text := must(kdbus.Call[string](testContext(t), obj, "org.freedesktop.DBus.Introspectable.Introspect"))(t)
		var node introspect.Node
		if err := xml.Unmarshal([]byte(text), &node); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(node.Interfaces, func(i introspect.Interface) bool { return i.Name == playerIface })
		if i < 0 {
			t.Fatalf("the interface is not in\n%s", text)
		}
		var got []string
		for _, m := range node.Interfaces[i].Methods {
			got = append(got, m.Name+argsOf(m.Args))
		}
		for _, s := range node.Interfaces[i].Signals {
			got = append(got, "signal "+s.Name+argsOf(s.Args))
		}
		for _, p := range node.Interfaces[i].Properties {
			line := p.Name + " " + p.Type + " " + p.Access
			for _, a := range p.Annotations {
				line += " " + a.Value
			}
			got = append(got, line)
		}
		want := []string{
			"Play in:s in:as out:b out:a{su}", "Raise", "signal Bye", "signal Stopped track:s seconds:u", "signal Ticked :x",
			"Any v readwrite", "Cover ay read invalidates", "Secret i readwrite false", "Track s read", "Version u read const",
			"Volume d readwrite",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		parent := service.Object(service.Name(), "/com")
		if text := must(kdbus.Call[string](testContext(t), parent, "org.freedesktop.DBus.Introspectable.Introspect"))(t); !strings.Contains(text, `<node name="example"/>`) {
			t.Errorf("the child is not in\n%s", text)
		}
	})
}

func argsOf(args []introspect.Arg) string {
	var b strings.Builder
	for _, a := range args {
		b.WriteString(" " + a.Direction + a.Name + ":" + a.Type)
	}
	return b.String()
}

func TestAnObjectManagerTellsWhatComesAndGoes(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		service, c := dial(t, address), dial(t, address)
		if err := service.ExportManager("/m"); err != nil {
			t.Fatal(err)
		}
		s := subscribe(t, c, kdbus.Match{Sender: service.Name(), Interface: "org.freedesktop.DBus.ObjectManager"}, 0)
		type one struct{ N kdbus.Property[uint32] }
		v := &one{}
		v.N.Set(1)
		for _, path := range []kdbus.ObjectPath{"/m/a", "/mn", "/m/a/b"} {
			if err := service.Export(path, "a.b", v); err != nil {
				t.Fatal(err)
			}
		}
		objects := must(kdbus.Call[map[kdbus.ObjectPath]map[string]map[string]kdbus.Variant](testContext(t),
			c.Object(service.Name(), "/m"), "org.freedesktop.DBus.ObjectManager.GetManagedObjects"))(t)
		properties := map[string]map[string]kdbus.Variant{"a.b": {"N": {Signature: "u", Value: uint32(1)}}}
		want := map[kdbus.ObjectPath]map[string]map[string]kdbus.Variant{"/m/a": properties, "/m/a/b": properties}
		if diff := cmp.Diff(want, objects); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		service.Unexport("/m/a", "a.b")
		for _, want := range []string{"InterfacesAdded /m/a", "InterfacesAdded /m/a/b", "InterfacesRemoved /m/a"} {
			m := next(t, s)
			values := must(m.Values())(t)
			if got := m.Member() + " " + fmt.Sprint(values[0]); got != want {
				t.Errorf("the signal is %q, want %q", got, want)
			}
		}
	})
}

func TestPeerIsEverywhere(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		service, c := dial(t, address), dial(t, address)
		obj := c.Object(service.Name(), "/anywhere")
		if _, err := obj.Call(testContext(t), "org.freedesktop.DBus.Peer.Ping"); err != nil {
			t.Error(err)
		}
		_, err := kdbus.Call[string](testContext(t), obj, "org.freedesktop.DBus.Peer.GetMachineId")
		if _, noID := os.Stat("/etc/machine-id"); noID == nil && err != nil {
			t.Error(err)
		}
	})
}

func TestValuesThatCannotBeExportedSayWhy(t *testing.T) {
	c := dial(t, kinds["native"](t))
	if err := c.Export("/twice", "a.b", &echo{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path  kdbus.ObjectPath
		iface string
		value any
		want  string
	}{
		{"nopath", "a.b", &echo{}, "path"},
		{"/", "nodot", &echo{}, "interface"},
		{"/", "a.b", nil, "nil"},
		{"/", "a.b", struct{}{}, "no exported method"},
		{"/", "a.b", takesInt{}, "int"},
		{"/", "a.b", &struct {
			P kdbus.Property[int]
		}{}, "int"},
		{"/", "a.b", &struct {
			P kdbus.Property[int32] `kdbus:",wriatble"`
		}{}, "wriatble"},
		{"/", "a.b", &struct {
			P kdbus.Property[int32] `kdbus:",const,writable"`
		}{}, "both"},
		{"/", "org.freedesktop.DBus.Peer", &echo{}, "by itself"},
		{"/twice", "a.b", &echo{}, "already"},
	} {
		if err := c.Export(test.path, test.iface, test.value); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%T at %s: the error is %v, want one with %q", test.value, test.path, err, test.want)
		}
	}
}

type takesInt struct{}

func (takesInt) M(int) error { return nil }

func TestTooManyCallsAreRefused(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		service := dialWith(t, &kdbus.Dialer{Handlers: 1, QueuedCalls: 1}, address)
		v := &hanger{make(chan struct{})}
		if err := service.Export("/", "a.b", v); err != nil {
			t.Fatal(err)
		}
		client := dial(t, address)
		obj := client.Object(service.Name(), "/")
		if err := obj.Send(testContext(t), "a.b.Hang"); err != nil {
			t.Fatal(err)
		}
		receive(t, v.called)
		if err := obj.Send(testContext(t), "org.freedesktop.DBus.Peer.Ping"); err != nil {
			t.Fatal(err)
		}
		if _, err := obj.Call(testContext(t), "org.freedesktop.DBus.Peer.Ping"); !errors.Is(err, kdbus.ErrLimitsExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}

// hanger has a method that ends with the connection.
type hanger struct{ called chan struct{} }

func (h *hanger) Hang(ctx context.Context) error {
	h.called <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}
