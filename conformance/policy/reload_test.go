//go:build conformance

package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// packagesRules writes policy files of many packages, and returns what includes them. Rules of other variants
// are different ones, which say the same about the service a.b.
func packagesRules(t *testing.T, dir string, variant int) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		var b strings.Builder
		b.WriteString("<busconfig><policy context=\"default\">\n")
		for m := range 16 {
			fmt.Fprintf(&b, "<allow send_destination=\"org.example.S%d\" send_interface=\"org.example.I%d\" send_member=\"M%d\"/>\n", i, variant, m)
		}
		b.WriteString("</policy></busconfig>\n")
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.conf", i)), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return `<policy context="default"><allow user="*"/><allow own="*"/><deny send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="a.b"/></policy><includedir>` + dir + `</includedir>` + essential
}

// While calls and signals flow, the configuration is read again and again. Each is answered, and each signal
// arrives once and in order.
func TestReloadUnderLoadLosesNoMessage(t *testing.T) {
	roles := []role{
		{label: "a", user: "daemon", dbus1: true},
		{label: "b", user: "root", names: []string{"a.b"}, matches: []string{"type='signal',interface='i.A'"}, dbus1: true},
	}
	w := open(t, "under test", testbus.UnderTest(), roles, func(role) bool { return false })
	var variants [2]string
	for i := range variants {
		variants[i] = packagesRules(t, filepath.Join(filepath.Dir(w.config), fmt.Sprintf("system%d.d", i)), i)
	}
	if !w.rule(t, variants[0]) {
		t.Fatal("the policy is refused")
	}
	caller, service := w.members["a"].(dbus1Member).Client, w.members["b"].(dbus1Member).Client
	const calls, window = 5_000, 100
	failed := make(chan error, 2)
	go func() { failed <- serve(service, calls) }()
	go func() { failed <- flood(caller, calls, window) }()
	reloads, running := 0, 2
	for running > 0 {
		select {
		case err := <-failed:
			running--
			if err != nil {
				t.Error(err)
			}
		default:
			reloads++
			if !w.rule(t, variants[reloads%2]) {
				t.Error("the policy is refused")
			}
		}
	}
	if reloads < 3 {
		t.Errorf("there were %d reloads only", reloads)
	}
	t.Logf("%d calls and signals, %d reloads of 5,000 rules", calls, reloads)
}

// flood sends calls, each with a signal before it, and takes the answers, which have to come in order.
func flood(c *peer.Client, calls, window int) error {
	var waiting []uint32
	for n := 0; n < calls || len(waiting) > 0; {
		if n < calls && len(waiting) < window {
			if _, err := c.Send(peer.Signal("", "/", "i.A", "S", "u", uint32(n))); err != nil {
				return err
			}
			serial, err := c.Send(peer.Call("a.b", "/", "i.A", "M", ""))
			if err != nil {
				return err
			}
			waiting = append(waiting, serial)
			n++
			continue
		}
		m, err := c.Receive()
		switch {
		case err != nil:
			return fmt.Errorf("waiting for answer %d: %w", n-len(waiting), err)
		case m.Type == peer.TypeError:
			return fmt.Errorf("call %d: %s", n-len(waiting), m.ErrorText())
		case m.Type != peer.TypeReply:
			continue
		case m.ReplySerial() != waiting[0]:
			return fmt.Errorf("an answer to call %d, before that to %d", m.ReplySerial(), waiting[0])
		}
		waiting = waiting[1:]
	}
	return nil
}

// serve answers calls, and counts signals.
func serve(c *peer.Client, calls int) error {
	signals := uint32(0)
	for answered := 0; answered < calls; {
		m, err := c.Receive()
		if err != nil {
			return fmt.Errorf("after %d calls: %w", answered, err)
		}
		switch {
		case m.Type == peer.TypeSignal && m.Text(peer.FieldInterface) == "i.A":
			if got := m.Body[0].(uint32); got != signals {
				return fmt.Errorf("signal %d came when %d was due", got, signals)
			}
			signals++
		case m.Type == peer.TypeCall:
			if _, err := c.Send(peer.Reply(m.Text(peer.FieldSender), m.Serial, "")); err != nil {
				return err
			}
			answered++
		}
	}
	if int(signals) != calls {
		return fmt.Errorf("%d signals of %d came", signals, calls)
	}
	return nil
}
