//go:build conformance

package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/account"
	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// role is who takes part in a world.
type role struct {
	label, user string
	names       []string // to own, or to wait for
	matches     []string // match rules; native peers subscribe to everything instead
	dbus1       bool     // never speaks anything else
}

// world is a bus, with a client for each role.
type world struct {
	title   string
	bus     *testbus.Bus
	config  string // its file
	control *peer.Client
	members map[string]member
	labels  map[string]string // by unique name
}

// member is a client: one of D-Bus 1 or a native one.
type member interface {
	unique() string
	own(name string) error
	release(name string) error
	// send sends a message with this text in it. The error is what the bus said.
	send(l *letter, to *destination, text string) (serial uint32, err error)
	// settle returns the texts of messages that arrived so far, each with the sender's serial, and what became
	// of the sent one.
	settle(sent uint32) (arrived map[string]uint32, failure string, err error)
	ask(method *letter) (string, error)
	close()
}

// protocols says which roles speak the native protocol.
type protocols func(role) bool

// open starts a bus, on which nothing is forbidden yet, and lets everybody join.
func open(t *testing.T, title string, kind testbus.Kind, roles []role, native protocols) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "policy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{title: title, config: filepath.Join(dir, "bus.conf"), members: map[string]member{}, labels: map[string]string{}}
	w.write(t, everythingAllowed)
	w.bus = testbus.StartKind(t, kind, testbus.Options{Config: w.config})
	if w.control, err = peer.Connect(w.bus.Address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.control.Close() })
	w.labels[w.control.Name] = ":control"
	for _, r := range roles {
		m, err := join(w.bus, account.Lookup(t, r.user), kind == testbus.KDBus && !r.dbus1 && native(r), r.matches)
		if err != nil {
			t.Fatalf("%s: %s: %v", title, r.label, err)
		}
		t.Cleanup(m.close)
		w.members[r.label] = m
		w.labels[m.unique()] = ":" + r.label
		for _, name := range r.names {
			if err := m.own(name); err != nil {
				t.Fatalf("%s: %s owns %s: %v", title, r.label, name, err)
			}
		}
	}
	return w
}

// everythingAllowed is the policy at the beginning.
const everythingAllowed = `<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy>`

// essential is what the tests themselves need, whatever else a policy says: to wait until the bus
// has done what it was asked to before, and to give it another policy. To ask for a name is a message in D-Bus 1
// only, so that rules about messages make no difference to native peers.
const essential = `<policy context="mandatory">
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus" send_member="GetId"/>
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus" send_member="ReloadConfig"/>
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus" send_member="RequestName"/>
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus" send_member="ReleaseName"/>
<allow receive_sender="org.freedesktop.DBus" receive_type="method_return"/>
<allow receive_sender="org.freedesktop.DBus" receive_type="error"/>
</policy>`

func (w *world) write(t fataler, policy string) {
	config := `<busconfig><listen>unix:path=` + filepath.Join(filepath.Dir(w.config), "bus") + `</listen><limit name="max_replies_per_connection">1000000</limit><limit name="reply_timeout">3600000</limit>` +
		`<limit name="max_incoming_bytes">1000000000</limit>` + policy + `</busconfig>`
	if err := os.WriteFile(w.config, []byte(config), 0o644); err != nil {
		t.Fatalf("%v", err)
	}
}

type fataler interface{ Fatalf(string, ...any) }

// rule puts another policy in force, and reports whether it could be read.
func (w *world) rule(t fataler, policy string) bool {
	w.write(t, policy)
	answer, err := w.control.Call(peer.DriverCall("ReloadConfig", ""))
	if err != nil {
		t.Fatalf("%s: reload: %v", w.title, err)
	}
	return answer.Type == peer.TypeReply
}

var (
	uniqueName = regexp.MustCompile(`:1\.\d+`)
	process    = regexp.MustCompile(`pid=\d+ comm="[^"]*"( label="[^"]*")?`)
	remark     = regexp.MustCompile(`; (rule: .*|no rule allows it)$`)
)

// normal makes texts of different worlds comparable: peers are called by their roles, and what only some buses
// tell is left out.
func (w *world) normal(text string) string {
	text = uniqueName.ReplaceAllStringFunc(text, func(name string) string {
		if label, ok := w.labels[name]; ok {
			return label
		}
		return name
	})
	return remark.ReplaceAllString(process.ReplaceAllString(text, "pid"), "")
}

// post has a letter sent, and tells what became of it. serials are those of messages that arrived, by their
// receiver.
func (w *world) post(t fataler, l *letter, replyTo uint32, text string) (outcome string, serials map[string]uint32) {
	to := &destination{replyTo: replyTo, unknown: l.unrequested}
	switch {
	case l.name != "":
		to.name = l.name
	case l.to != "":
		to.name = w.members[l.to].unique()
	}
	sender := w.members[l.from]
	serial, err := sender.send(l, to, text)
	if err != nil {
		t.Fatalf("%s: %s sends %+v: %v", w.title, l.from, l, err)
	}
	own, failure, err := sender.settle(serial)
	if err != nil {
		t.Fatalf("%s: %s after %+v: %v", w.title, l.from, l, err)
	}
	serials = map[string]uint32{}
	var got []string
	for label, m := range w.members {
		if l.to != "" && l.alone && label != l.to && label != l.from {
			continue
		}
		arrived := own
		if m != sender {
			arrived, _, err = m.settle(0)
		}
		if err != nil {
			t.Fatalf("%s: %s after %+v: %v", w.title, label, l, err)
		}
		if serial, ok := arrived[text]; ok {
			got = append(got, label)
			serials[label] = serial
		}
	}
	slices.Sort(got)
	outcome = "for " + strings.Join(got, ",")
	if failure != "" {
		outcome += "; " + w.normal(failure)
	}
	return outcome, serials
}

// compare has everybody do the same in all worlds, the first of which is right.
func compare(t fataler, worlds []*world, what string, do func(*world) string) string {
	want := ""
	for i, w := range worlds {
		switch got := do(w); {
		case i == 0:
			want = got
		case got != want:
			t.Fatalf("%s\n%s: %s\n%s: %s", what, worlds[0].title, want, w.title, got)
		}
	}
	return want
}

// ruled puts another policy in force in all worlds. There are policies that no bus accepts.
func ruled(t fataler, worlds []*world, policy string) bool {
	return compare(t, worlds, "reload\n"+policy, func(w *world) string { return fmt.Sprint(w.rule(t, policy)) }) == "true"
}

// described is how a letter looks in the message of a failed test.
func described(l *letter) string { return fmt.Sprintf("%+v", *l) }
