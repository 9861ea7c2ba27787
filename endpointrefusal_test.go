package kdbus_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// refusalText writes a refusal in one line.
func refusalText(r kdbus.Refusal) string {
	text := r.Policy.Name
	for _, a := range r.Policy.Access {
		text += " " + a.Level.String()
	}
	for _, m := range r.Policy.Calls {
		text += " call " + m.String()
	}
	for _, m := range r.Policy.Broadcasts {
		text += " broadcast " + m.String()
	}
	return text
}

func TestWhoMakesAnEndpointIsToldWhatItRefuses(t *testing.T) {
	address := kdbustest.Start(t).Address()
	serveNamed(t, address, "com.example.Seen")
	for _, dialer := range []kdbus.Dialer{{}, {DBus1: true}} {
		t.Run(fmt.Sprintf("D-Bus 1 is %v", dialer.DBus1), func(t *testing.T) {
			ctx := testContext(t)
			var told []string
			var peers []string
			e, err := kdbus.MakeEndpoint(ctx, address, kdbus.EndpointConfig{
				Name:     ownName(fmt.Sprintf("refusing-%v", dialer.DBus1)),
				Policies: []kdbus.NamePolicy{world("com.example.Seen", kdbus.AccessSee)},
				Refused: func(r kdbus.Refusal) {
					told = append(told, refusalText(r))
					peers = append(peers, r.Peer)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			c := dialWith(t, &dialer, e.Address())
			say(t, c, "com.example.Seen")
			say(t, c, "com.example.Hidden")
			c.RequestName(ctx, "com.example.Mine", kdbus.DoNotQueue)
			if err := e.Update(ctx); err != nil { // what was refused before is told before its answer
				t.Fatal(err)
			}
			rule := fmt.Sprintf(" call interface='%s',member='Say',path='%s'", echoIface, echoPath)
			var want []string
			for _, name := range []string{"com.example.Seen", "com.example.Hidden"} {
				want = append(want, refusalText(kdbus.Refusal{Policy: kdbus.NamePolicy{Name: name, Calls: []kdbus.Match{must(kdbus.ParseMatch(rule[6:]))(t)}}}))
			}
			want = append(want, "com.example.Mine own")
			if diff := cmp.Diff(want, told); diff != "" {
				t.Error(diff)
			}
			for _, peer := range peers {
				if peer != c.Name() {
					t.Errorf("%s was refused something, want %s", peer, c.Name())
				}
			}
		})
	}
}

// What nobody reads keeps nobody waiting, and is counted.
func TestRefusalsThatNobodyReadsAreCounted(t *testing.T) {
	address := kdbustest.Start(t).Address()
	ctx := testContext(t)
	read := make(chan bool)
	var count, lost uint64
	e, err := kdbus.MakeEndpoint(ctx, address, kdbus.EndpointConfig{Name: ownName("flooded"), Refused: func(r kdbus.Refusal) {
		<-read
		count++
		lost += r.Lost
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := dial(t, e.Address())
	const calls = 5000
	for range calls {
		say(t, c, "com.example.Hidden")
	}
	close(read)
	if err := e.Update(ctx); err != nil {
		t.Fatal(err)
	}
	say(t, c, "com.example.Hidden") // tells of those that were lost after the last one that was told
	if err := e.Update(ctx); err != nil {
		t.Fatal(err)
	}
	if count+lost != calls+1 || count == 0 || lost == 0 {
		t.Errorf("%d refusals were told and %d lost, want %d", count, lost, calls+1)
	}
}

// Who is confined may ask for anything. What cannot be a name is nothing that the maker could permit, and may not be what is fit to be
// shown on a terminal, or a line in a file.
func TestRefusalsAreAboutNamesOnly(t *testing.T) {
	address := kdbustest.Start(t).Address()
	for _, dialer := range []kdbus.Dialer{{}, {DBus1: true}} {
		t.Run(fmt.Sprintf("D-Bus 1 is %v", dialer.DBus1), func(t *testing.T) {
			ctx := testContext(t)
			var told []string
			e, err := kdbus.MakeEndpoint(ctx, address, kdbus.EndpointConfig{
				Name:    ownName(fmt.Sprintf("asked-%v", dialer.DBus1)),
				Refused: func(r kdbus.Refusal) { told = append(told, refusalText(r)) },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			driver := dialWith(t, &dialer, e.Address()).Object("org.freedesktop.DBus", "/org/freedesktop/DBus")
			for _, name := range []string{"", "com.example.A\n--own=com.example.B", "\x1b[31mcom.example.A", "com.example.*", strings.Repeat("x.", 40000) + "x", "com.example.A"} {
				for _, method := range []string{"GetNameOwner", "GetConnectionCredentials", "ListQueuedOwners"} {
					if _, err := driver.Call(ctx, "org.freedesktop.DBus."+method, name); err == nil {
						t.Errorf("%s(%q) succeeds", method, name)
					}
				}
				driver.Call(ctx, "org.freedesktop.DBus.NameHasOwner", name)
				driver.Call(ctx, "org.freedesktop.DBus.StartServiceByName", name, uint32(0))
			}
			if err := e.Update(ctx); err != nil {
				t.Fatal(err)
			}
			// StartServiceByName asks for the owner first.
			see, talk := "com.example.A see", "com.example.A talk"
			if diff := cmp.Diff([]string{see, see, see, see, see, talk}, told); diff != "" {
				t.Error(diff)
			}
		})
	}
}
