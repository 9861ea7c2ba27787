package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/internal/testlog"
)

// configured is a bus that follows a configuration which the test writes.
type configured struct {
	*daemon.Daemon
	t    *testing.T
	ctx  context.Context
	dir  string
	file string
	log  testlog.Buffer

	mu     sync.Mutex
	states []string // that the service manager was told
}

// open allows everything but owning names.
const open = `<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy>`

// own allows to own a name.
func own(name string) string {
	return `<policy context="default"><allow own="` + name + `"/></policy>`
}

// startConfigured starts a bus with elements in its configuration.
func startConfigured(t *testing.T, elements ...string) *configured {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	b := &configured{t: t, ctx: ctx, dir: shortDir(t)}
	b.file = filepath.Join(b.dir, "bus.conf")
	b.write(elements...)
	conf, err := daemon.Load(b.file)
	if err != nil {
		t.Fatal(err)
	}
	b.Daemon = start(t, daemon.Config{File: conf, Log: slog.New(slog.NewTextHandler(&b.log, nil)), Notify: func(state string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.states = append(b.states, state)
	}})
	return b
}

// write writes the configuration, which always has the same address.
func (b *configured) write(elements ...string) {
	b.t.Helper()
	text := "<busconfig><listen>unix:path=" + b.dir + "/bus</listen>\n" + open + strings.Join(elements, "\n") + "</busconfig>\n"
	if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// reload reloads the configuration, which has to succeed.
func (b *configured) reload() {
	b.t.Helper()
	if err := b.Reload(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *configured) dial(w world) *kdbus.Conn {
	b.t.Helper()
	return w.dial(b.t, b.Address())
}

// mayOwn reports whether a client may own name.
func (b *configured) mayOwn(c *kdbus.Conn, name string) bool {
	b.t.Helper()
	n, err := c.RequestName(b.ctx, name, kdbus.DoNotQueue)
	switch {
	case errors.Is(err, kdbus.ErrAccessDenied):
		return false
	case err != nil:
		b.t.Fatal(err)
	}
	if err := c.ReleaseName(b.ctx, n.String()); err != nil {
		b.t.Fatal(err)
	}
	return true
}

func (b *configured) logged(want string) {
	b.t.Helper()
	if got := b.log.String(); !strings.Contains(got, want) {
		b.t.Errorf("the log has %s\nbut not %s", got, want)
	}
}

func TestReloadIsAllOrNothing(t *testing.T) {
	for _, w := range worlds {
		t.Run(w.name, func(t *testing.T) {
			b := startConfigured(t, own("com.example.Old"))
			c := b.dial(w)
			check := func(when, may, mayNot string) {
				t.Helper()
				for _, c := range []*kdbus.Conn{c, b.dial(w)} {
					if !b.mayOwn(c, may) || b.mayOwn(c, mayNot) {
						t.Errorf("%s: %s may not be owned or %s may", when, may, mayNot)
					}
				}
			}
			check("at first", "com.example.Old", "com.example.New")
			// All of these have new rules before what is wrong.
			for name, wrong := range map[string]string{
				"an unknown element":   `<nonsense/>`,
				"demanded mediation":   `<apparmor mode="required"/>`,
				"an unknown mechanism": `<auth>NONSENSE</auth>`,
			} {
				b.write(own("com.example.New"), wrong)
				err := b.Reload()
				if e, ok := errors.AsType[*busconfig.Error](err); !ok || e.File != b.file || e.Line != 3 {
					t.Errorf("%s: %v", name, err)
				}
				b.logged("cannot reload the configuration, so the old one stays in force")
				check("after "+name, "com.example.Old", "com.example.New")
			}
			b.write(own("com.example.New"))
			b.reload()
			check("after a reload", "com.example.New", "com.example.Old")
			if err := os.Remove(b.file); err != nil {
				t.Fatal(err)
			}
			if err := b.Reload(); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("without a file: %v", err)
			}
			check("without a file", "com.example.New", "com.example.Old")
		})
	}
}

func TestReloadChangesLimits(t *testing.T) {
	limit := func(n int) string { return fmt.Sprintf(`<limit name="max_names_per_connection">%d</limit>`, n) }
	b := startConfigured(t, own("*"), limit(3))
	c := b.dial(world{"D-Bus 1", false})
	request := func(name string) error {
		_, err := c.RequestName(b.ctx, name, kdbus.DoNotQueue)
		return err
	}
	// The unique name is one of them.
	for _, name := range []string{"a.a", "a.b"} {
		if err := request(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := request("a.c"); !errors.Is(err, kdbus.ErrLimitsExceeded) {
		t.Errorf("one more than the limit: %v", err)
	}
	b.write(own("*"), limit(4))
	b.reload()
	if err := request("a.c"); err != nil {
		t.Errorf("with a higher limit: %v", err)
	}
	b.write(own("*"), limit(2))
	b.reload()
	if err := request("a.d"); !errors.Is(err, kdbus.ErrLimitsExceeded) {
		t.Errorf("with a lower limit: %v", err)
	}
}

func TestReloadSaysWhatItCannotChange(t *testing.T) {
	b := startConfigured(t, "<fork/>")
	b.write("<type>session</type><user>root</user><keep_umask/><syslog/><pidfile>/none</pidfile><allow_anonymous/>"+
		"<auth>EXTERNAL</auth><listen>unix:path=/none</listen>", own("com.example.New"))
	b.reload()
	for _, element := range []string{"type", "user", "fork", "keep_umask", "syslog", "pidfile", "allow_anonymous", "auth", "listen"} {
		b.logged("takes effect when the bus is started anew\" element=<" + element + ">")
	}
	if !b.mayOwn(b.dial(worlds[0]), "com.example.New") {
		t.Error("what can change has not")
	}
}

func TestReloadTellsTheServiceManager(t *testing.T) {
	b := startConfigured(t)
	b.reload()
	b.write("<nonsense/>")
	if b.Reload() == nil {
		t.Error("nonsense was read")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, state := range b.states {
		var usec uint64
		if _, err := fmt.Sscanf(state, "RELOADING=1\nMONOTONIC_USEC=%d", &usec); err == nil && usec > 0 {
			b.states[i] = "reloading"
		}
	}
	if diff := cmp.Diff([]string{"reloading", "READY=1", "reloading", "READY=1"}, b.states); diff != "" {
		t.Error(diff)
	}
}

func TestReloadOfABusWithoutConfiguration(t *testing.T) {
	d, err := daemon.StartPrivate(daemon.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	if err := d.Reload(); err == nil {
		t.Error("there is nothing to reload, but no error")
	}
	// To D-Bus clients it is none: they ask for the effect.
	c := world{"D-Bus 1", false}.dial(t, d.Address())
	if _, err := c.Object("org.freedesktop.DBus", "/org/freedesktop/DBus").Call(t.Context(), "org.freedesktop.DBus.ReloadConfig"); err != nil {
		t.Error(err)
	}
}

// While the configuration is read again and again, every message arrives, once and in order.
func TestReloadUnderLoadLosesNoMessage(t *testing.T) {
	const messages = 3000
	for _, w := range worlds {
		t.Run(w.name, func(t *testing.T) {
			b := startConfigured(t)
			from, to := b.dial(w), b.dial(w)
			counter := &counter{}
			if err := to.Export("/counter", "com.example.Counter", counter); err != nil {
				t.Fatal(err)
			}
			s, err := to.Subscribe(b.ctx, kdbus.Match{Interface: "com.example.Load"}, messages)
			if err != nil {
				t.Fatal(err)
			}
			stop, stopped := make(chan struct{}), make(chan int)
			go func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						stopped <- n
						return
					default:
						b.write(own(fmt.Sprintf("com.example.Load%d", n)))
						b.reload()
					}
				}
			}()
			object := from.Object(to.Name(), "/counter")
			for i := range uint32(messages) {
				if err := from.Emit(b.ctx, "/load", "com.example.Load.Tick", i); err != nil {
					t.Fatal(err)
				}
				if i%10 != 0 {
					continue
				}
				if got, err := kdbus.Call[uint32](b.ctx, object, "com.example.Counter.Next"); err != nil || got != i/10 {
					t.Fatalf("call %d: %d, %v", i/10, got, err)
				}
			}
			close(stop)
			if n := <-stopped; n < 2 {
				t.Errorf("only %d reloads while messages went", n)
			}
			for i := range uint32(messages) {
				m, err := s.Next(b.ctx)
				if err != nil {
					t.Fatal(err)
				}
				var got uint32
				if err := m.Decode(&got); err != nil || got != i {
					t.Fatalf("signal %d is %d, %v", i, got, err)
				}
			}
		})
	}
}

// counter counts calls.
type counter struct {
	mu sync.Mutex
	n  uint32
}

func (c *counter) Next() (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n - 1, nil
}

// Between reading a configuration and being able to watch it a bus opens sockets and becomes another user.
func TestChangeBeforeTheBusCanWatchIsNoticed(t *testing.T) {
	b := &configured{t: t, ctx: t.Context(), dir: shortDir(t)}
	b.file = filepath.Join(b.dir, "bus.conf")
	b.write("<includedir>bus.d</includedir>")
	if err := os.Mkdir(filepath.Join(b.dir, "bus.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf, err := daemon.Load(b.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "bus.d/late.conf"), []byte("<busconfig>"+own("com.example.Late")+"</busconfig>"), 0o600); err != nil {
		t.Fatal(err)
	}
	states := make(chan string, 16)
	b.Daemon = start(t, daemon.Config{File: conf, Notify: func(state string) { states <- state }})
	for state := range states {
		if state == "READY=1" { // after a reload; what starts a bus says it the first time
			break
		}
	}
	if !b.mayOwn(b.dial(worlds[0]), "com.example.Late") {
		t.Error("what a file says that came late is not in force")
	}
}

// Services come and go with their files, which is announced, and nothing has to be called for it.
func TestChangedDirectoriesAreNoticed(t *testing.T) {
	b := startConfigured(t, "<servicedir>later/services</servicedir><includedir>bus.d</includedir>", own("com.example.Old"))
	c := b.dial(world{"D-Bus 1", false})
	announced, err := c.Subscribe(b.ctx, kdbus.Match{Sender: "org.freedesktop.DBus", Member: "ActivatableServicesChanged"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	activatable := func() []string {
		t.Helper()
		names, err := c.ListActivatableNames(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		return names
	}
	// The directory does not even exist yet.
	service := filepath.Join(b.dir, "later/services/com.example.Service.service")
	if err := os.MkdirAll(filepath.Dir(service), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(service, []byte("[D-BUS Service]\nName=com.example.Service\nExec=/bin/false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := announced.Next(b.ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"com.example.Service", "org.freedesktop.DBus"}, activatable()); diff != "" {
		t.Error(diff)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "later")); err != nil {
		t.Fatal(err)
	}
	if _, err := announced.Next(b.ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"org.freedesktop.DBus"}, activatable()); diff != "" {
		t.Error(diff)
	}
}
