//go:build conformance

package command

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// watcher is a program that watches a bus, and what it has printed.
type watcher struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{}
	err  output
}

// output is standard error, which says when the watcher watches.
type output struct {
	once  sync.Once
	ready chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.once.Do(func() { close(o.ready) })
	return len(b), nil
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Write(b)
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

// watch starts a watcher and waits until it watches.
func watch(t *testing.T, bus *testbus.Bus, argv ...string) *watcher {
	t.Helper()
	w := &watcher{cmd: exec.Command(argv[0], argv[1:]...), more: make(chan struct{}, 1), err: output{ready: make(chan struct{})}}
	w.cmd.Env, w.cmd.Stdout, w.cmd.Stderr = environ(bus), w, &w.err
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.cmd.Process.Signal(syscall.SIGTERM)
		w.cmd.Wait()
	})
	select {
	case <-w.err.ready:
	case <-time.After(limit):
		t.Fatalf("%q says nothing", argv)
	}
	return w
}

// until waits until what was printed contains text, and returns all of it.
func (w *watcher) until(t *testing.T, text string) string {
	t.Helper()
	deadline := time.After(limit)
	for {
		w.mu.Lock()
		printed := w.out.String()
		w.mu.Unlock()
		if strings.Contains(printed, text) {
			return printed
		}
		select {
		case <-w.more:
		case <-deadline:
			t.Fatalf("%q never printed %q, but\n%s", w.cmd.Args, text, printed)
		}
	}
}

// cut waits until text was printed, and returns what was before it, since the last call.
func (w *watcher) cut(t *testing.T, text string) string {
	t.Helper()
	printed := w.until(t, text)
	before, _, _ := strings.Cut(printed, text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Next(len(before) + len(text))
	return before
}

// converse has a client talk with the service; its last words are a signal named Enough.
func converse(t *testing.T, bus *testbus.Bus) {
	t.Helper()
	conn, err := (&kdbus.Dialer{DBus1: true}).Dial(t.Context(), bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	o := conn.Object("com.example.Player", "/com/example/Player")
	for _, value := range []any{"text", []string{"a", "b"}, map[string]kdbus.Variant{"k": {Value: uint32(7)}}, 0.1, []byte{}} {
		if _, err := o.Call(t.Context(), "com.example.Player.Echo", kdbus.Variant{Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Call(t.Context(), "com.example.Player.Fail", "on purpose"); err == nil {
		t.Fatal("Fail did not fail")
	}
	if err := o.Send(t.Context(), "com.example.Player.Echo", kdbus.Variant{Value: true}); err != nil {
		t.Fatal(err)
	}
	if err := conn.EmitTo(t.Context(), "com.example.Player", "/a", "a.b.Enough"); err != nil {
		t.Fatal(err)
	}
}

// What kdbus adds to busctl's text on its own bus: the lines of the transcript of kdbus's own monitor.
var (
	addedLines = regexp.MustCompile(`(?m)^  (Monotonic|PID|UID|Comm|CommandLine|CGroup|AuditLoginUID|\w+Capabilities)=.*\n|^ {10}cap_.*\n`)
	addedWords = regexp.MustCompile(`  WellKnownNames=\S*|  Priority=0`)
	addedKey   = regexp.MustCompile(`"metadata":\{.*?\},"payload"`)
	prettyKey  = regexp.MustCompile(`(?s)\t"metadata" : \{\n.*?\n\t\},\n`)
	timestamp  = regexp.MustCompile(`  Timestamp="[^"]*"|\s*"timestamp-realtime" ?: ?\d+,`)
)

// messages cuts what was printed behind the message Enough, and takes away what is meant to differ.
func messages(printed string) string {
	printed = strings.ReplaceAll(printed, "‣ Type", " Type") // as the transcript has it
	for _, added := range []*regexp.Regexp{addedLines, addedWords, prettyKey, timestamp} {
		printed = added.ReplaceAllString(printed, "")
	}
	return addedKey.ReplaceAllString(printed, `"payload"`)
}

func TestMonitorIsBusctls(t *testing.T) {
	for _, form := range []struct {
		name string
		args []string
		last string // what the last message ends with
	}{
		{"text", []string{"com.example.Player"}, "Member=Enough\n"},
		{"text, of one rule", []string{"--match=path='/com/example/Player'"}, "BOOLEAN true;\n"},
		{"text, of two rules", []string{"--match=member='Fail'", "--match=path='/com/example/Player',type=method_call"}, "BOOLEAN true;\n"},
		{"JSON", []string{"--json=short", "com.example.Player"}, `"member":"Enough"`},
		{"JSON for people", []string{"--json=pretty", "com.example.Player"}, `"member" : "Enough"`},
	} {
		t.Run(form.name, func(t *testing.T) {
			onBothBuses(t, func(t *testing.T, bus *testbus.Bus) {
				startPlayer(t, bus)
				args := append([]string{"--user", "monitor"}, form.args...)
				b := watch(t, bus, append([]string{"busctl"}, args...)...)
				k := watch(t, bus, append([]string{kdbusCommand}, args...)...)
				converse(t, bus)
				want, got := messages(b.until(t, form.last)), messages(k.until(t, form.last))
				want, _, _ = strings.Cut(want, form.last)
				got, _, _ = strings.Cut(got, form.last)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-busctl +kdbus\n%s", diff)
				}
				if len(got) == 0 {
					t.Error("nothing was printed")
				}
			})
		})
	}
}

// headOf returns the lines of the first message that begins so, up to its body, without values: which
// fields there are and where. Left out is what a D-Bus 1 peer does not say, what only some machines
// have, and of bodies the type.
func headOf(printed, begin string) string {
	_, rest, _ := strings.Cut(printed, begin)
	head, _, _ := strings.Cut(rest, "  MESSAGE")
	for _, s := range [...]struct{ pattern, with string }{
		{`(?m)^ {10}cap_.*\n|cap_.*`, ""},
		{`(CommandLine)=.*?(  |\n)`, "$1=$2"},
		{`(\w+)=\S*( \d+)*`, "$1="},
		{`  (OwnerUID|UserSlice|Label)=|(?m)^  AuditLoginUID=.*\n`, ""},
		{`  (TIDComm|Exe|Description)=`, ""},
	} {
		head = regexp.MustCompile(s.pattern).ReplaceAllString(head, s.with)
	}
	return head
}

// The services for which all this began, as Debian has them, with the lines of the transcript.
func TestMonitorShowsLocalectlAskingLocaled(t *testing.T) {
	bus := testbus.StartKind(t, testbus.KDBus, testbus.Options{})
	localed := exec.Command("/usr/lib/systemd/systemd-localed")
	localed.Env = environ(bus)
	if err := localed.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		localed.Process.Signal(syscall.SIGTERM)
		localed.Wait()
	})
	conn, err := kdbus.Dial(t.Context(), bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.WaitForName(t.Context(), "org.freedesktop.locale1"); err != nil {
		t.Fatal(err)
	}
	w := watch(t, bus, kdbusCommand, "monitor", "org.freedesktop.locale1")
	// localectl works only where it looks as if systemd ran the machine.
	run(t, bus, "unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec localectl --no-pager status")
	printed := w.until(t, `STRING "VConsoleKeymapToggle";`) // the last in the answer
	seed, err := os.ReadFile("../../cmd/kdbus/testdata/transcript/localectl.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{" Type=method_call", " Type=method_return"} {
		if diff := cmp.Diff(headOf(string(seed), message), headOf(printed, message)); diff != "" {
			t.Errorf("-transcript +monitor\n%s in\n%s", diff, printed)
		}
	}
	for _, line := range []string{
		`^ Type=method_call  Endian=l  Flags=\d+  Version=1  Priority=0 Cookie=\d+$`,
		`^  Sender=:1\.\d+  Destination=org\.freedesktop\.locale1  Path=/org/freedesktop/locale1  Interface=org\.freedesktop\.DBus\.Properties  Member=GetAll$`,
		`^  Monotonic=\d+  Realtime=\d+  SequenceNumber=\d+$`,
		`^  PID=\d+  TID=n/a  PPID=\d+$`,
		`^  UID=\d+  EUID=\d+  SUID=\d+  FSUID=\d+ .* SupplementaryGIDs=`,
		`^  Comm=localectl  Exe=/usr/bin/localectl$`,
		`^  CommandLine=localectl --no-pager status`,
		`^  CGroup=/.*  Unit=\S+  Slice=\S+  UserUnit=\S+ .*Session=\S+$`,
		`^  UniqueName=:1\.\d+  WellKnownNames=$`,
		`^  EffectiveCapabilities=`, `^  PermittedCapabilities=`, `^  InheritableCapabilities=`, `^  BoundingCapabilities=`,
		`^ Type=method_return  Endian=l  Flags=1  Version=1  Priority=0 Cookie=\d+  ReplyCookie=\d+$`,
		`^  Comm=systemd-localed  Exe=/usr/lib/systemd/systemd-localed$`,
		`^  CommandLine=/usr/lib/systemd/systemd-localed`,
		`^  UniqueName=:1\.\d+  WellKnownNames=org\.freedesktop\.locale1$`,
		`^  MESSAGE "a\{sv\}" \{$`,
		`^                          STRING "VConsoleKeymap";$`,
	} {
		if !regexp.MustCompile("(?m)" + line).MatchString(printed) {
			t.Errorf("no line %s in\n%s", line, printed)
		}
	}
}
