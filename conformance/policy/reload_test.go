//go:build conformance

package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
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
	const reloads = 20
	var enough atomic.Bool
	sent, received := make(chan tally, 1), make(chan tally, 1)
	go func() { received <- serve(service) }()
	go func() { sent <- flood(caller, &enough) }()
	for i := range reloads {
		if !w.rule(t, variants[(i+1)%2]) {
			t.Error("the policy is refused")
		}
	}
	enough.Store(true)
	out := <-sent
	if out.err != nil {
		t.Fatal(out.err)
	}
	in := <-received
	if in.err != nil || in.messages != out.messages {
		t.Errorf("%d calls and signals were sent, %d came: %v", out.messages, in.messages, in.err)
	}
	t.Logf("%d calls and signals, %d reloads of 5,000 rules", in.messages, reloads)
}

// tally is how many pairs of a signal and a call there were, and what went wrong.
type tally struct {
	messages int
	err      error
}

// lastCall is the method by which the service learns that nothing more comes.
const lastCall = "Last"

// flood sends calls, each with a signal before it, until it is enough, and takes the answers, which have to
// come in order.
func flood(c *peer.Client, enough *atomic.Bool) (sent tally) {
	const window = 100
	var waiting []uint32
	for last := false; !last || len(waiting) > 0; {
		if !last && len(waiting) < window {
			member := "M"
			if last = enough.Load(); last {
				member = lastCall
			} else if _, sent.err = c.Send(peer.Signal("", "/", "i.A", "S", "u", uint32(sent.messages))); sent.err != nil {
				return sent
			}
			serial, err := c.Send(peer.Call("a.b", "/", "i.A", member, ""))
			if err != nil {
				return tally{sent.messages, err}
			}
			waiting = append(waiting, serial)
			if !last {
				sent.messages++
			}
			continue
		}
		m, err := c.Receive()
		switch {
		case err != nil:
			return tally{sent.messages, fmt.Errorf("waiting for the answer to %d: %w", waiting[0], err)}
		case m.Type == peer.TypeError:
			return tally{sent.messages, fmt.Errorf("call %d: %s", m.ReplySerial(), m.ErrorText())}
		case m.Type != peer.TypeReply:
			continue
		case m.ReplySerial() != waiting[0]:
			return tally{sent.messages, fmt.Errorf("an answer to %d, before that to %d", m.ReplySerial(), waiting[0])}
		}
		waiting = waiting[1:]
	}
	return sent
}

// serve answers calls, and counts pairs of a signal and a call.
func serve(c *peer.Client) (got tally) {
	for signals := 0; ; {
		m, err := c.Receive()
		switch {
		case err != nil:
			return tally{got.messages, err}
		case m.Type == peer.TypeSignal && m.Text(peer.FieldInterface) == "i.A":
			if n := int(m.Body[0].(uint32)); n != signals {
				return tally{got.messages, fmt.Errorf("signal %d came when %d was due", n, signals)}
			}
			signals++
		case m.Type == peer.TypeCall:
			if _, err := c.Send(peer.Reply(m.Text(peer.FieldSender), m.Serial, "")); err != nil {
				return tally{got.messages, err}
			}
			if m.Text(peer.FieldMember) == lastCall {
				return got
			}
			if got.messages++; got.messages != signals {
				return tally{got.messages, fmt.Errorf("call %d came after %d signals", got.messages, signals)}
			}
		}
	}
}
