package daemon_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// What those who make endpoints and buses can, and cannot, do to the daemon and to others.

// asUser runs f as another user, where that is possible: what f connects is that user's. It reports whether it was.
func asUser(t *testing.T, uid, gid int, f func()) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	// By the system calls, which concern this thread only.
	set := func(trap uintptr, real, effective int) {
		if _, _, errno := syscall.RawSyscall(trap, uintptr(real), uintptr(effective), 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	runtime.LockOSThread()
	set(unix.SYS_SETRESGID, gid, gid)
	set(unix.SYS_SETRESUID, uid, uid)
	defer func() {
		set(unix.SYS_SETRESUID, 0, 0)
		set(unix.SYS_SETRESGID, 0, 0)
		runtime.UnlockOSThread()
	}()
	f()
	return true
}

// wantErrno checks which errno an answer has.
func wantErrno(t *testing.T, what string, err error, want syscall.Errno) {
	t.Helper()
	if want == 0 && err == nil || want != 0 && errors.Is(err, want) {
		return
	}
	t.Errorf("%s: %v, want %v", what, err, want)
}

// passable makes a directory that other users can pass, as those of the test are not.
func passable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kdbus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMakingIsRefusedWithTheErrnosOfKdbus(t *testing.T) {
	_, dir := startDomain(t, daemon.Config{})
	control, standard := filepath.Join(dir, "control"), filepath.Join(dir, standardBus(), "bus")
	door := makeNode(t, rawClient(t, standard), &abi.EndpointMake{Name: ownNode("door")})
	mine := makeNode(t, rawClient(t, control), &abi.BusMake{Name: ownNode("mine"), Bloom: abi.DefaultBloom})
	for _, c := range []struct {
		name, socket string
		cmd          abi.Command
		want         syscall.Errno
	}{
		{"an endpoint's name that is taken", standard, &abi.EndpointMake{Name: ownNode("door")}, syscall.EEXIST},
		{"the same name on another bus", filepath.Join(mine, "bus"), &abi.EndpointMake{Name: ownNode("door")}, 0},
		{"an endpoint by an endpoint", door, &abi.EndpointMake{Name: ownNode("second")}, syscall.EPERM},
		{"an endpoint whose path is too long", standard, &abi.EndpointMake{Name: ownNode(strings.Repeat("a", 60))}, syscall.ENAMETOOLONG},
		{"a policy without a name", standard, &abi.EndpointMake{Name: ownNode("a"), Policies: []abi.Policy{{Name: "nonsense"}}}, syscall.EINVAL},
		{"a rule that is none", standard, &abi.EndpointMake{Name: ownNode("a"), Policies: []abi.Policy{{Name: "a.b", Calls: []string{"member=="}}}}, syscall.EINVAL},
		{"a bus's name that is taken", control, &abi.BusMake{Name: ownNode("mine"), Bloom: abi.DefaultBloom}, syscall.EEXIST},
		{"the name of the daemon's own bus", control, &abi.BusMake{Name: standardBus(), Bloom: abi.DefaultBloom}, syscall.EEXIST},
		{"a monitor at an endpoint", door, &abi.Hello{PoolSize: 1 << 20, Flags: abi.HelloMonitor}, syscall.EOPNOTSUPP},
		{"an activator at an endpoint", door, &abi.Hello{PoolSize: 1 << 20, Flags: abi.HelloActivator, Name: "a.b"}, syscall.EPERM},
		{"a policy holder at an endpoint", door, &abi.Hello{PoolSize: 1 << 20, Flags: abi.HelloPolicyHolder, Name: "a.b"}, syscall.EPERM},
		{"somebody else at an endpoint", door, &abi.Hello{PoolSize: 1 << 20, SecLabel: "other"}, syscall.EPERM},
		{"an ordinary client at an endpoint", door, &abi.Hello{PoolSize: 1 << 20}, 0},
		{"a client of the domain", control, &abi.Hello{PoolSize: 1 << 20}, syscall.EBADFD},
	} {
		_, err := rawClient(t, c.socket).Do(c.cmd)
		wantErrno(t, c.name, err, c.want)
	}
}

func TestAUserHasSixteenBuses(t *testing.T) {
	_, dir := startDomain(t, daemon.Config{})
	make := func(i int) (*nativetest.Client, error) {
		c := rawClient(t, filepath.Join(dir, "control"))
		_, err := c.Do(&abi.BusMake{Name: ownNode(fmt.Sprint("bus", i)), Bloom: abi.DefaultBloom})
		return c, err
	}
	var first *nativetest.Client
	for i := range abi.UserMaxBuses {
		c, err := make(i)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = c
		}
	}
	_, err := make(abi.UserMaxBuses)
	wantErrno(t, "one more", err, syscall.EMFILE)
	if n := len(tree(t, dir)); n != 1+2*(1+abi.UserMaxBuses) {
		t.Errorf("%d files, after one was refused", n)
	}
	onIt := worlds[0].dial(t, "unix:path="+filepath.Join(dir, ownNode("bus0"), "bus"))
	first.Close()
	<-onIt.Done() // the bus has gone by then, all but what nobody sees
	for {
		_, err := make(0)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.EEXIST) {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

// Who keeps an endpoint is not on its way onto the bus.
func TestMakersKeepNobodyWaiting(t *testing.T) {
	_, path := startBus(t, daemon.Config{Limits: dbus1.Limits{MaxIncompleteConnections: 1}})
	for i := range 3 {
		makeNode(t, rawClient(t, path), &abi.EndpointMake{Name: ownNode(fmt.Sprint("door", i))})
	}
	if err := rawClient(t, path).Hello(abi.Hello{}); err != nil {
		t.Error(err)
	}
}

// Who is confined cannot use up what others need to connect.
func TestClientsOfAnEndpointKeepOnlyEachOtherWaiting(t *testing.T) {
	addr, path := startBus(t, daemon.Config{Limits: dbus1.Limits{MaxIncompleteConnections: 2}})
	door := makeNode(t, rawClient(t, path), &abi.EndpointMake{Name: ownNode("door")})
	for range 5 {
		c, err := net.Dial("unix", door)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	worlds[1].dial(t, addr)
}

func TestProgramsOfDBus1CannotMakeBuses(t *testing.T) {
	_, dir := startDomain(t, daemon.Config{})
	c, err := net.Dial("unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "\x00AUTH EXTERNAL %x\r\nBEGIN\r\n", fmt.Sprint(os.Getuid())); err != nil {
		t.Fatal(err)
	}
	var answer []byte
	buffer := make([]byte, 256)
	for err == nil {
		var n int
		n, err = c.Read(buffer)
		answer = append(answer, buffer[:n]...)
	}
	if !strings.HasPrefix(string(answer), "OK ") || strings.Count(string(answer), "\n") != 1 {
		t.Errorf("the answer is %q", answer)
	}
}

func TestAnEndpointCannotPermitMoreThanTheBusDoes(t *testing.T) {
	b := startConfigured(t, own("com.example.Allowed"))
	path, _ := b.Addresses()[0].Get("path")
	maker := rawClient(t, path)
	door := makeNode(t, maker, &abi.EndpointMake{Name: ownNode("door"), Policies: []abi.Policy{
		{Name: "com.example", Subtree: true, Access: everybody(abi.PolicyOwn)},
	}})
	for _, w := range worlds {
		c := w.dial(t, "unix:path="+door)
		for name, want := range map[string]bool{"com.example.Allowed": true, "com.example.Other": false, "org.example.Other": false} {
			if got := b.mayOwn(c, name); got != want {
				t.Errorf("%s: may own %s: %v", w.name, name, got)
			}
		}
		c.Close()
		<-c.Done()
	}
	if _, err := maker.Do(&abi.EndpointUpdate{}); err != nil {
		t.Fatal(err)
	}
	if b.mayOwn(worlds[1].dial(t, "unix:path="+door), "com.example.Allowed") {
		t.Error("after an update to nothing: may own")
	}
}

// A process that is root, or whose the bus is, is nobody special at an endpoint.
func TestNobodyIsPrivilegedAtAnEndpoint(t *testing.T) {
	_, path := startBus(t, daemon.Config{})
	door := makeNode(t, rawClient(t, path), &abi.EndpointMake{Name: ownNode("door"), Policies: []abi.Policy{
		{Name: "org.freedesktop.DBus", Access: everybody(abi.PolicyOwn)},
	}})
	for _, w := range worlds {
		c := w.dial(t, "unix:path="+door)
		for _, call := range []struct {
			iface, member string
			args          []any
		}{
			{"org.freedesktop.DBus.Monitoring", "BecomeMonitor", []any{[]string{}, uint32(0)}},
			{"org.freedesktop.DBus", "UpdateActivationEnvironment", []any{map[string]string{"A": "B"}}},
			{"org.freedesktop.DBus", "AddMatch", []any{"eavesdrop='true'"}},
		} {
			_, err := c.Object("org.freedesktop.DBus", "/org/freedesktop/DBus").Call(t.Context(), call.iface+"."+call.member, call.args...)
			if !errors.Is(err, kdbus.ErrAccessDenied) {
				t.Errorf("%s: %s: %v", w.name, call.member, err)
			}
		}
	}
}

func TestNativeClientsAreLoggedWhoAreDeniedWhatOthersMay(t *testing.T) {
	log := make(logLines, 100)
	dir := passable(t)
	path, file := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	text := "<busconfig><listen>unix:path=" + path + `</listen><policy context="default"><allow user="*"/></policy></busconfig>`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := daemon.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	start(t, daemon.Config{File: conf, Log: slog.New(slog.NewTextHandler(log, nil))})
	isRoot := asUser(t, 12345, 54321, func() {
		for name, cmd := range map[string]abi.Command{
			"MONITOR":        &abi.Hello{PoolSize: 1 << 20, Flags: abi.HelloMonitor},
			"ACTIVATOR":      &abi.Hello{PoolSize: 1 << 20, Flags: abi.HelloActivator, Name: "a.b"},
			"POLICY_HOLDER":  &abi.Hello{PoolSize: 1 << 20, Flags: abi.HelloPolicyHolder, Name: "a.b"},
			"pass":           &abi.Hello{PoolSize: 1 << 20, SecLabel: "x"},
			"make endpoints": &abi.EndpointMake{Name: "12345-door"},
		} {
			_, err := rawClient(t, path).Do(cmd)
			wantErrno(t, name, err, syscall.EPERM)
		}
		c := rawClient(t, path)
		if err := c.Hello(abi.Hello{}); err != nil {
			t.Fatal(err)
		}
		_, err := c.Do(&abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemMatchRule, Name: "eavesdrop='true'"}}})
		wantErrno(t, "eavesdropping", err, syscall.EPERM)
	})
	if !isRoot {
		return
	}
	missing := []string{"MONITOR", "ACTIVATOR", "POLICY_HOLDER", "pass for another process", "make endpoints", "eavesdrop"}
	for timeout := time.After(patience); len(missing) > 0; {
		select {
		case line := <-log:
			missing = slices.DeleteFunc(missing, func(want string) bool {
				return strings.Contains(line, want) && strings.Contains(line, "uid=12345")
			})
		case <-timeout:
			t.Fatalf("the log does not tell of %q", missing)
		}
	}
}

// logLines gets what a log says.
type logLines chan string

func (l logLines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default: // nobody is that interested
	}
	return len(p), nil
}

func TestUsersMakeBusesInTheDomainOfRoot(t *testing.T) {
	dir := filepath.Join(passable(t), "domain")
	d, err := daemon.Start(daemon.Config{Domain: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	control := filepath.Join(dir, "control")
	var keeper, endpoints *nativetest.Client
	if !asUser(t, 12345, 54321, func() {
		_, err := rawClient(t, control).Do(&abi.BusMake{Name: "0-theirs", Bloom: abi.DefaultBloom})
		wantErrno(t, "a bus of root", err, syscall.EINVAL)
		_, err = rawClient(t, filepath.Join(dir, "0-system", "bus")).Do(&abi.EndpointMake{Name: "12345-door"})
		if err == nil {
			t.Error("an endpoint of somebody else's bus was made")
		}
		keeper, endpoints = rawClient(t, control), nil
		bus := makeNode(t, keeper, &abi.BusMake{Name: "12345-bus", Bloom: abi.DefaultBloom, AttachFlagsSend: abi.AttachPIDs})
		endpoints = rawClient(t, filepath.Join(bus, "bus"))
		door := makeNode(t, endpoints, &abi.EndpointMake{Name: "12345-door"})
		monitor := rawClient(t, filepath.Join(bus, "bus"))
		if err := monitor.Hello(abi.Hello{Flags: abi.HelloMonitor}); err != nil {
			t.Errorf("the owner of the bus cannot be a monitor: %v", err)
		}
		client := rawClient(t, filepath.Join(bus, "bus"))
		if err := client.Hello(abi.Hello{}); err != nil {
			t.Fatal(err)
		}
		info := abi.BusCreatorInfo{AttachFlags: abi.AttachAll}
		f, err := client.Do(&info)
		if err == nil {
			err = info.DecodeReply(f.Body[:56])
		}
		if err != nil {
			t.Fatal(err)
		}
		var creator abi.Info
		if err := creator.Decode(f.Body[info.Offset:][:info.InfoSize]); err != nil {
			t.Fatal(err)
		}
		if creator.Metadata.Has != abi.AttachPIDs || creator.Metadata.PIDs.PID != uint64(os.Getpid()) || creator.BusName != "12345-bus" {
			t.Errorf("it is told of who made it: %+v", creator)
		}
		for path, want := range map[string]uint32{filepath.Join(bus, "bus"): 12345, door: 12345, bus: 0} {
			info, err := os.Lstat(path)
			if err != nil || info.Sys().(*syscall.Stat_t).Uid != want {
				t.Errorf("%s: %v, %v", path, info, err)
			}
		}
		if err := os.Remove(door); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("the user removes files: %v", err)
		}
		if err := os.Chmod(door, 0o666); err != nil {
			t.Errorf("the user cannot say who may connect: %v", err)
		}
	}) {
		return
	}
	asUser(t, 23456, 23456, func() {
		if _, err := nativetest.Dial(filepath.Join(dir, "12345-bus", "bus")); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("another user connects: %v", err)
		}
		rawClient(t, filepath.Join(dir, "12345-bus", "12345-door")) // chmod
	})
	keeper.Close()
	if _, err := endpoints.ReadFrame(); err == nil {
		t.Error("the endpoint outlives its bus")
	}
}

func TestABusInNoDomainHasAPlaceForEndpoints(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", parent+":/elsewhere")
	d := start(t, daemon.Config{})
	path, _ := d.Addresses()[0].Get("path")
	door := makeNode(t, rawClient(t, path), &abi.EndpointMake{Name: ownNode("door")})
	if below, err := filepath.Rel(parent, door); err != nil || strings.Count(below, "/") != 2 || !strings.HasPrefix(below, "kdbus-") {
		t.Errorf("the endpoint is at %s", door)
	}
	d.Shutdown()
	sameTree(t, parent, map[string]string{})
}

func TestReloadedLimitsHoldAtEndpointsToo(t *testing.T) {
	limit := func(n int) string { return fmt.Sprintf(`<limit name="max_names_per_connection">%d</limit>`, n) }
	b := startConfigured(t, limit(10), own("*"))
	path, _ := b.Addresses()[0].Get("path")
	door := makeNode(t, rawClient(t, path), &abi.EndpointMake{Name: ownNode("door"), Policies: []abi.Policy{
		{Name: "com.example", Subtree: true, Access: everybody(abi.PolicyOwn)},
	}})
	c := worlds[1].dial(t, "unix:path="+door)
	request := func(name string) error {
		_, err := c.RequestName(b.ctx, name, 0)
		return err
	}
	if err := request("com.example.One"); err != nil {
		t.Fatal(err)
	}
	b.write(limit(2), own("*")) // and the unique name is one
	b.reload()
	if err := request("com.example.Two"); err == nil {
		t.Error("after the limit was lowered, there is another name")
	}
}

// footprint is what a process has open.
func footprint(t *testing.T) (goroutines, files int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return runtime.NumGoroutine(), len(entries)
}

// makeAgain makes what somebody had made who has left, as soon as it is gone.
func makeAgain(t *testing.T, socket string, cmd abi.Command) (maker *nativetest.Client, path string) {
	t.Helper()
	for {
		c := rawClient(t, socket)
		f, err := c.Do(cmd)
		if errors.Is(err, syscall.EEXIST) {
			c.Close()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		path, err := abi.DecodePath(f.Body[24:])
		if err != nil {
			t.Fatal(err)
		}
		return c, path
	}
}

// Makers come and go, with clients of what they have made. The daemon does not remember them.
func TestMakersLeaveNothingBehind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "domain")
	d, err := daemon.Start(daemon.Config{Domain: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	visit := func() {
		keeper, made := makeAgain(t, filepath.Join(dir, "control"), &abi.BusMake{Name: ownNode("mine"), Bloom: abi.DefaultBloom})
		inner, innerDoor := makeAgain(t, filepath.Join(made, "bus"), &abi.EndpointMake{Name: ownNode("door")})
		outer, outerDoor := makeAgain(t, filepath.Join(dir, standardBus(), "bus"), &abi.EndpointMake{Name: ownNode("door")})
		var clients []*nativetest.Client
		for _, door := range []string{innerDoor, outerDoor, filepath.Join(made, "bus")} {
			client := rawClient(t, door)
			if err := client.Hello(abi.Hello{}); err != nil {
				t.Fatal(err)
			}
			clients = append(clients, client)
		}
		keeper.Close()
		outer.Close()
		for _, client := range clients {
			for err == nil {
				_, err = client.ReadFrame() // until the bus hangs up
			}
			err = nil
			client.Close()
		}
		for err == nil {
			_, err = inner.ReadFrame()
		}
		err = nil
		inner.Close()
	}
	visit()
	goroutines, files := footprint(t)
	for range 20 {
		visit()
	}
	const slack = 8 // of what is just ending
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		nowGoroutines, nowFiles := footprint(t)
		if nowGoroutines <= goroutines+slack && nowFiles <= files+slack {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d goroutines became %d, and %d files %d", goroutines, nowGoroutines, files, nowFiles)
		}
	}
}
