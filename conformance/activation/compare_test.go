//go:build conformance

package activation

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// stage is a bus with services, and a record of what happens on it.
type stage struct {
	*testing.T
	bus    *testbus.Bus
	dir    string
	names  map[string]string // labels, by unique name
	record []string
}

// setting is what a stage is like.
type setting struct {
	elements string            // of the configuration; DIR is the directory of the stage
	files    map[string]string // service files and others; DIR likewise
	args     []string
}

const allowEverything = `<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy>`

func build(t *testing.T, kind testbus.Kind, s setting) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "start-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	put := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range s.files {
		put(name, text, 0o755)
	}
	put("bus.conf", "<busconfig><type>session</type><listen>unix:path=DIR/bus</listen><servicedir>DIR</servicedir>"+allowEverything+s.elements+"</busconfig>", 0o644)
	bus := testbus.StartKind(t, kind, testbus.Options{Config: filepath.Join(dir, "bus.conf"), Args: s.args})
	return &stage{T: t, bus: bus, dir: dir, names: map[string]string{}}
}

func (s *stage) connect(label string) *peer.Client {
	s.Helper()
	c, err := peer.Connect(s.bus.Address)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	s.names[c.Name] = "<" + label + ">"
	return c
}

// note writes something down, without what is different each time.
func (s *stage) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	for name, label := range s.names {
		line = strings.ReplaceAll(line, name, label)
	}
	line = strings.ReplaceAll(line, s.dir, "DIR")
	line = whose.ReplaceAllString(line, "$1") // which dbus-daemon does not tell
	s.record = append(s.record, line)
}

// whose is what is added to an error about a limit.
var whose = regexp.MustCompile(`(max_pending_service_starts=\d+\)): user \d+ has \d+`)

// describe says what a message is.
func describe(m *peer.Message) string {
	kind := [...]string{"?", "call", "reply", "error", "signal"}[m.Type]
	return fmt.Sprintf("%s %s%s from %s to %s: %s", kind, m.Text(peer.FieldMember), m.Text(peer.FieldErrorName),
		m.Text(peer.FieldSender), m.Text(peer.FieldDestination), peer.Format(m.Body))
}

// ask sends a message and writes down what comes of it.
func (s *stage) ask(c *peer.Client, title string, m *peer.Message) {
	s.Helper()
	s.answer(c, title, s.send(c, m))
}

func (s *stage) send(c *peer.Client, m *peer.Message) uint32 {
	s.Helper()
	serial, err := c.Send(m)
	if err != nil {
		s.Fatal(err)
	}
	return serial
}

// answer writes down the answer to a message.
func (s *stage) answer(c *peer.Client, title string, serial uint32) {
	s.Helper()
	got, err := c.ReceiveMatching(func(m *peer.Message) bool { return m.ReplySerial() == serial })
	if err != nil {
		s.Fatalf("%s: %v", title, err)
	}
	s.note("%s: %s", title, describe(got))
}

// next writes down what comes next.
func (s *stage) next(c *peer.Client, title string, n int) {
	s.Helper()
	for range n {
		m, err := c.Receive()
		if err != nil {
			s.Fatalf("%s: %v", title, err)
		}
		s.note("%s: %s", title, describe(m))
	}
}

// barrier returns when the bus has dealt with everything that c sent.
func (s *stage) barrier(c *peer.Client) {
	s.Helper()
	if _, err := c.Call(peer.DriverCall("GetId", "")); err != nil {
		s.Fatal(err)
	}
}

func start(name string) *peer.Message {
	return peer.DriverCall("StartServiceByName", "su", name, uint32(0))
}

func call(name string) *peer.Message {
	return peer.Call(name, "/x", "com.example.I", "Method", "s", "text")
}

func own(name string) *peer.Message {
	return peer.DriverCall("RequestName", "su", name, uint32(4))
}

func service(name, exec string, more ...string) string {
	return "[D-BUS Service]\nName=" + name + "\nExec=" + exec + "\n" + strings.Join(more, "\n") + "\n"
}

// Flags of messages.
const (
	noReply     = 1
	noAutoStart = 2
)

// scenes are what is played on both buses.
var scenes = []struct {
	name string
	setting
	play func(s *stage)
}{
	{"services that fail", setting{
		elements: `<limit name="service_start_timeout">1500</limit>`,
		files: map[string]string{
			"com.example.Exit.service":    service("com.example.Exit", "/bin/sh -c 'exit 3'"),
			"com.example.Signal.service":  service("com.example.Signal", "/bin/sh -c 'kill -TERM $$$$'"),
			"com.example.Missing.service": service("com.example.Missing", "/nowhere/program"),
			"com.example.Dir.service":     service("com.example.Dir", "/etc"),
			"com.example.Quote.service":   service("com.example.Quote", "/bin/true 'x"),
			"com.example.Slash.service":   service("com.example.Slash", `/bin/true \\`),
			"com.example.Path.service":    service("com.example.Path", "true"),
			"com.example.Empty.service":   service("com.example.Empty", ""),
			"com.example.Comment.service": service("com.example.Comment", "# nothing"),
			"com.example.Blank.service":   service("com.example.Blank", `\s\s`),
			"com.example.Script.service":  service("com.example.Script", "DIR/script"),
			"com.example.Zero.service":    service("com.example.Zero", "/bin/true"),
			"script":                      "echo no interpreter is named\n",
		},
	}, func(s *stage) {
		c := s.connect("c")
		for _, name := range []string{"Exit", "Signal", "Missing", "Dir", "Quote", "Slash", "Path", "Empty", "Comment", "Blank", "Script", "Zero", "Unknown"} {
			name = "com.example." + name
			s.ask(c, "call of "+name, call(name))
			s.ask(c, "call without reply of "+name, call(name).WithFlags(noReply))
			s.ask(c, "call without start of "+name, call(name).WithFlags(noAutoStart))
			s.ask(c, "signal to "+name, peer.Signal(name, "/x", "com.example.I", "Signal", ""))
			s.ask(c, "start of "+name, start(name))
		}
		for _, name := range []string{":1.99", "", "x", "org.freedesktop.DBus.Nothing", "com..example"} {
			s.ask(c, "start of "+name, start(name))
		}
	}},
	{"a service that works", setting{files: map[string]string{
		"a.service": service("com.example.A", "/usr/bin/dbus-test-tool echo --name=com.example.A"),
	}}, func(s *stage) {
		c := s.connect("c")
		s.ask(c, "owner before", peer.DriverCall("NameHasOwner", "s", "com.example.A"))
		s.ask(c, "queue before", peer.DriverCall("ListQueuedOwners", "s", "com.example.A"))
		s.ask(c, "start", start("com.example.A"))
		s.ask(c, "again", start("com.example.A"))
		s.ask(c, "owner after", peer.DriverCall("NameHasOwner", "s", "com.example.A"))
	}},
	{"a service that works is called", setting{files: map[string]string{
		"a.service": service("com.example.A", "/usr/bin/dbus-test-tool echo --name=com.example.A"),
	}}, func(s *stage) {
		c := s.connect("c")
		m := call("com.example.A")
		got, err := c.Call(m)
		if err != nil {
			s.Fatal(err)
		}
		s.note("type %d, %s", got.Type, peer.Format(got.Body))
	}},
	{"what waits comes in order", setting{files: map[string]string{
		"a.service": service("com.example.A", "/bin/true"),
	}}, func(s *stage) {
		caller, starter, gone, watcher, owner := s.connect("caller"), s.connect("starter"), s.connect("gone"), s.connect("watcher"), s.connect("owner")
		for _, c := range []*peer.Client{watcher, owner} {
			s.ask(c, "subscribe", peer.DriverCall("AddMatch", "s", "type='signal',member='NameOwnerChanged',arg0='com.example.A'"))
		}
		one := s.send(caller, call("com.example.A"))
		s.send(caller, peer.Signal("com.example.A", "/x", "com.example.I", "Signal", "u", uint32(2)))
		s.send(caller, call("com.example.A").WithFlags(noReply))
		s.barrier(caller)
		s.send(gone, call("com.example.A"))
		s.send(gone, start("com.example.A"))
		s.barrier(gone)
		gone.Close()
		two := s.send(starter, start("com.example.A"))
		s.barrier(starter)
		last := s.send(caller, call("com.example.A"))
		s.barrier(caller)
		s.send(owner, own("com.example.A"))
		s.next(owner, "owner", 7)
		s.answer(starter, "starter", two)
		s.send(owner, peer.DriverCall("ReleaseName", "s", "com.example.A"))
		s.next(owner, "owner", 3)
		owner.Close()
		s.answer(caller, "caller, first", one)
		s.answer(caller, "caller, last", last)
	}},
	{"too much waits", setting{
		elements: `<limit name="max_pending_service_starts">2</limit>`,
		files: map[string]string{
			"a.service": service("com.example.A", "/bin/true"),
			"b.service": service("com.example.B", "/bin/true"),
		},
	}, func(s *stage) {
		c, owner := s.connect("c"), s.connect("owner")
		s.send(c, call("com.example.A"))
		s.send(c, start("com.example.B"))
		// Of what cannot be started dbus-daemon says the same; here it is unknown as ever.
		for _, name := range []string{"com.example.A", "com.example.B"} {
			s.ask(c, "call of "+name, call(name))
			s.ask(c, "start of "+name, start(name))
		}
		s.ask(owner, "own", own("com.example.A"))
		third := s.send(c, call("com.example.B"))
		s.ask(c, "one too many", call("com.example.B"))
		s.ask(owner, "own", own("com.example.B"))
		owner.Close()
		s.answer(c, "third", third)
	}},
	{"what the policy forbids", setting{
		elements: `<policy context="mandatory"><deny send_destination="com.example.A"/><deny receive_interface="com.example.I" receive_member="Secret"/></policy>`,
		files: map[string]string{
			"a.service": service("com.example.A", "/bin/true"),
			"b.service": service("com.example.B", "/bin/true"),
		},
	}, func(s *stage) {
		c, owner := s.connect("c"), s.connect("owner")
		got, err := c.Call(call("com.example.A"))
		if err != nil {
			s.Fatal(err)
		}
		s.note("to A: %s", got.Text(peer.FieldErrorName))
		secret := s.send(c, peer.Call("com.example.B", "/x", "com.example.I", "Secret", ""))
		open := s.send(c, call("com.example.B"))
		s.barrier(c)
		s.ask(owner, "own", own("com.example.B"))
		for _, serial := range []uint32{secret} {
			m, err := c.ReceiveMatching(func(m *peer.Message) bool { return m.ReplySerial() == serial })
			if err != nil {
				s.Fatal(err)
			}
			s.note("secret: %s", m.Text(peer.FieldErrorName))
		}
		owner.Close()
		s.answer(c, "open", open)
	}},
	{"the process of a service", setting{files: map[string]string{
		"a.service": service("com.example.A", "/bin/sh DIR/facts DIR/out"),
		"facts": `exec > $1
env | grep ^DBUS_ | sed 's/guid=[0-9a-f]*/guid=GUID/g' | sort
umask; ulimit -n; ulimit -c; nice
grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/self/status
cat /proc/self/oom_score_adj
cd /proc/$$/fd; echo *
test "$(ps -o sid= -p $$)" = "$(ps -o sid= -p $PPID)" && echo the session of its parent
exit 9
`,
	}}, func(s *stage) {
		s.ask(s.connect("c"), "start", start("com.example.A"))
		out, err := os.ReadFile(filepath.Join(s.dir, "out"))
		if err != nil {
			s.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			s.note("%s", line)
		}
	}},
	{"a helper", setting{
		elements: `<servicehelper>DIR/helper</servicehelper>`,
		files: func() map[string]string {
			files := map[string]string{
				"helper":                "#!/bin/sh\nexit ${1##*Exit}\n",
				"com.example.N.service": service("com.example.N", "/bin/true"),
			}
			for i := 1; i <= 12; i++ {
				name := fmt.Sprint("com.example.Exit", i)
				files[name+".service"] = service(name, fmt.Sprint("/bin/true ", i), "User=root")
			}
			return files
		}(),
	}, func(s *stage) {
		c := s.connect("c")
		for i := 1; i <= 12; i++ {
			s.ask(c, fmt.Sprint("exit code ", i), start(fmt.Sprint("com.example.Exit", i)))
		}
		s.ask(c, "without user", start("com.example.N"))
		s.ask(c, "environment", peer.DriverCall("UpdateActivationEnvironment", "a{ss}", []any{}))
	}},
	{"a helper that is not there", setting{
		elements: `<servicehelper>DIR/nothing</servicehelper>`,
		files:    map[string]string{"com.example.A.service": service("com.example.A", "/bin/true", "User=root")},
	}, func(s *stage) { s.ask(s.connect("c"), "start", start("com.example.A")) }},
	// Unlike by dbus-daemon, names that are none are not listed: nobody could own them.
	{"odd service files", setting{files: map[string]string{
		"exec.service":      "[D-BUS Service]\nName=com.example.NoExec\n",
		"name.service":      "[D-BUS Service]\nExec=/bin/true\n",
		"section.service":   "[Desktop Entry]\nName=com.example.Section\nExec=/bin/true\n",
		"crlf.service":      "[D-BUS Service]\r\nName=com.example.CRLF\r\nExec=/bin/true\r\n",
		"comment.service":   "# comment\n\n[D-BUS Service]\n# more\nName=com.example.Comment\nExec=/bin/true\n",
		"twice.service":     "[D-BUS Service]\nName=com.example.First\nName=com.example.Second\nExec=/bin/true\n",
		"blank.service":     "[D-BUS Service]\nName =  com.example.Blank\nExec=/bin/true\n",
		"unknown.service":   "[D-BUS Service]\nName=com.example.Keys\nExec=/bin/true\nX-Y=z\nName[de]=x\n[Other]\nA=b\n",
		"other.suffix":      service("com.example.Suffix", "/bin/true"),
		".hidden.service":   service("com.example.Hidden", "/bin/true"),
		"badescape.service": service("com.example.Escape", `/bin/true \x`),
		"early.service":     "Name=com.example.Early\n[D-BUS Service]\nExec=/bin/true\n",
		"empty.service":     "",
	}}, func(s *stage) {
		c := s.connect("c")
		got, err := c.Call(peer.DriverCall("ListActivatableNames", ""))
		if err != nil {
			s.Fatal(err)
		}
		var names []string
		for _, name := range got.Body[0].([]any) {
			names = append(names, name.(string))
		}
		slices.Sort(names)
		s.note("%s", strings.Join(names, " "))
	}},
	{"systemd", setting{
		args: []string{"--systemd-activation"},
		files: map[string]string{
			"a.service": service("com.example.A", "/bin/false", "SystemdService=a.service"),
			"b.service": service("com.example.B", "/bin/false", "SystemdService=b.service"),
			"n.service": service("com.example.N", "/bin/sh -c 'exit 5'"),
		},
	}, func(s *stage) {
		c, systemd, owner := s.connect("c"), s.connect("systemd"), s.connect("owner")
		waits := s.send(c, call("com.example.A"))
		s.barrier(c)
		s.ask(c, "environment", peer.DriverCall("UpdateActivationEnvironment", "a{ss}", []any{peer.Entry{Key: "KEY", Value: "value"}}))
		s.send(systemd, own("org.freedesktop.systemd1"))
		s.next(systemd, "systemd", 4)
		s.ask(owner, "own", own("com.example.A"))
		fails := s.send(c, call("com.example.B"))
		s.next(systemd, "systemd", 1)
		failure := func(unit string) *peer.Message {
			return peer.Signal(peer.DriverName, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Activator", "ActivationFailure", "sss",
				unit, "com.example.Error.No", "it does not start")
		}
		s.send(c, failure("b.service")) // who is not systemd
		s.barrier(c)
		s.send(systemd, failure("other.service"))
		s.send(systemd, failure("b.service"))
		s.answer(c, "what fails", fails)
		s.ask(c, "without unit", start("com.example.N"))
		s.ask(c, "systemd runs", start("org.freedesktop.systemd1"))
		owner.Close()
		s.answer(c, "what waited", waits)
		got, err := c.Call(peer.Call(peer.DriverName, peer.DriverPath, peer.PropsIface, "Get", "ss", peer.DriverIface, "Features"))
		if err != nil {
			s.Fatal(err)
		}
		s.note("systemd is a feature: %t", strings.Contains(peer.Format(got.Body), "SystemdActivation"))
	}},
}

func TestServicesAreStartedAsByDBusDaemon(t *testing.T) {
	for _, scene := range scenes {
		t.Run(scene.name, func(t *testing.T) {
			var records [2][]string
			for i, kind := range []testbus.Kind{testbus.DBusDaemon, testbus.UnderTest()} {
				s := build(t, kind, scene.setting)
				scene.play(s)
				records[i] = s.record
			}
			if diff := cmp.Diff(records[0], records[1]); diff != "" {
				t.Errorf("differences (-dbus-daemon +kdbus):\n%s", diff)
			}
		})
	}
}
