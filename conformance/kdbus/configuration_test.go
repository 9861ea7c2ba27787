//go:build conformance

package kdbus

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
)

// denied is what the configuration lets nobody own, or send to.
const denied = "org.example.Denied"

const configuration = `<busconfig><listen>unix:tmpdir=/tmp</listen><policy context="default"><allow user="*"/>
<allow own="*"/><deny own="` + denied + `"/>
<allow send_destination="*"/><allow receive_sender="*"/><deny send_destination="org.example.B"/></policy></busconfig>`

// newConfigured starts a bus with a dbus-daemon configuration in place of the bus of BUS_MAKE.
func newConfigured(t *testing.T) *world {
	t.Helper()
	dir := openDir(t)
	file := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := daemon.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, path: filepath.Join(dir, "bus")}
	w.start(daemon.Config{Addresses: []string{"unix:path=" + w.path}, File: conf})
	return w
}

// kdbus.policy(7) on a bus that has the policy of a dbus-daemon configuration as well.
func TestEntriesAndConfiguration(t *testing.T) {
	combine := func(sentence string, test func(t *testing.T, w *world)) {
		t.Run(sentence, func(t *testing.T) { test(t, newConfigured(t)) })
	}
	combine("names without entries are as the configuration has them", func(t *testing.T, w *world) {
		a, b := w.join(alice), w.join(bob)
		a.owns(name)
		b.sends(toName(name, 1))
		a.gets(1)
		a.refused(syscall.EPERM, &abi.NameAcquire{Name: denied})
		a.owns("org.example.B")
		b.sendRefused(syscall.EPERM, toName("org.example.B", 2))
	})
	combine("what the configuration denies is not permitted by entries", func(t *testing.T, w *world) {
		w.opens(denied)
		w.opens("org.example.B")
		a, b := w.join(alice), w.join(bob)
		a.refused(syscall.EPERM, &abi.NameAcquire{Name: denied})
		a.owns("org.example.B")
		b.sendRefused(syscall.EPERM, toName("org.example.B", 1))
	})
	combine("what entries deny is not permitted by the configuration", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn), anybody(abi.PolicySee)))
		a, b := w.join(alice), w.join(bob)
		b.refused(syscall.EPERM, &abi.NameAcquire{Name: name})
		a.owns(name)
		b.sendRefused(syscall.EPERM, toName(name, 1))
		b.sendRefused(syscall.EPERM, a.message(2))
		a.getsNothing()
	})
	combine("the privileged are exempt from entries, and not from the configuration", func(t *testing.T, w *world) {
		w.join(root, holder(name, user(alice, abi.PolicyOwn)))
		w.opens(denied)
		a, b := w.join(alice), w.join(root)
		b.refused(syscall.EPERM, &abi.NameAcquire{Name: denied})
		a.owns(name, abi.NameAllowReplacement)
		b.sends(toName(name, 1))
		a.gets(1)
		b.owns(name, abi.NameReplaceExisting)
	})
	combine("at a custom endpoint, endpoint, entries and configuration all have to allow", func(t *testing.T, w *world) {
		_, path := w.door(
			lets(name, anybody(abi.PolicyOwn)), lets(denied, anybody(abi.PolicyOwn)), lets("org.example.B", anybody(abi.PolicyTalk)),
			lets("org.example.C", anybody(abi.PolicyOwn)),
		)
		w.join(root, holder("org.example.C", user(alice, abi.PolicyOwn)))
		w.join(root).owns("org.example.B")
		c := w.joinBy(path, bob)
		c.owns(name)
		for _, other := range []string{denied, "org.example.C", "org.example.D"} {
			c.refused(syscall.EPERM, &abi.NameAcquire{Name: other})
		}
		c.sendRefused(syscall.EPERM, toName("org.example.B", 1))
	})
	combine("metadata, matches and names are as on every other bus", func(t *testing.T, w *world) {
		a, b := w.join(alice), w.join(bob, attach(abi.AttachPIDs))
		b.matches(abi.MatchRule{Type: abi.ItemName, Name: name})
		a.owns(name)
		a.sends(broadcast(1))
		if m := b.gets(1); m.Meta.PIDs.PID != uint64(os.Getpid()) {
			t.Errorf("%+v", m.Meta)
		}
	})
}
