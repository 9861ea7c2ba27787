package daemon_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// Domains in the file system and the buses that clients make there: kdbus.fs(7), kdbus.bus(7).

// startDomain starts a daemon with a domain, and returns the directory.
func startDomain(t *testing.T, config daemon.Config) (d *daemon.Daemon, dir string) {
	t.Helper()
	config.Domain = filepath.Join(t.TempDir(), "domain")
	d, err := daemon.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	return d, config.Domain
}

// tree returns what is below a directory, and what it is.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		name, _ := filepath.Rel(dir, path)
		found[name] = info.Mode().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func sameTree(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// standardBus is the name of the daemon's own bus.
func standardBus() string {
	if os.Getuid() == 0 {
		return "0-system"
	}
	return ownNode("user")
}

func TestADomainIsLaidOutAsKdbusfsWas(t *testing.T) {
	d, dir := startDomain(t, daemon.Config{})
	standard := standardBus()
	layout := map[string]string{"control": "Srw-rw-rw-", standard: "drwxr-xr-x", standard + "/bus": "Srw-rw-rw-"}
	sameTree(t, dir, layout)
	if path, _ := d.Addresses()[0].Get("path"); path != filepath.Join(dir, standard, "bus") {
		t.Errorf("the address is %s", d.Address())
	}

	type made struct {
		what   abi.Command
		socket string
	}
	var keepers []*nativetest.Client
	for _, m := range []made{
		{&abi.EndpointMake{Name: ownNode("private")}, standard + "/bus"},
		{&abi.EndpointMake{Name: ownNode("group"), Flags: abi.MakeAccessGroup}, standard + "/bus"},
		{&abi.EndpointMake{Name: ownNode("world"), Flags: abi.MakeAccessWorld}, standard + "/bus"},
		{&abi.BusMake{Name: ownNode("mine"), Bloom: abi.DefaultBloom}, "control"},
		{&abi.BusMake{Name: ownNode("ours"), Bloom: abi.DefaultBloom, Flags: abi.MakeAccessGroup}, "control"},
		{&abi.BusMake{Name: ownNode("all"), Bloom: abi.DefaultBloom, Flags: abi.MakeAccessWorld}, "control"},
		{&abi.EndpointMake{Name: ownNode("door")}, ownNode("mine") + "/bus"},
	} {
		c := rawClient(t, filepath.Join(dir, m.socket))
		path := makeNode(t, c, m.what)
		if _, err := os.Lstat(path); err != nil || !strings.HasPrefix(path, dir+"/") {
			t.Errorf("%v: the path is %s, %v", m.what.Cmd(), path, err)
		}
		keepers = append(keepers, c)
	}
	for name, mode := range map[string]string{
		standard + "/" + ownNode("private"): "Srw-------", standard + "/" + ownNode("group"): "Srw-rw----",
		standard + "/" + ownNode("world"): "Srw-rw-rw-",
		ownNode("mine"):                   "drwx--x--x", ownNode("mine") + "/bus": "Srw-------",
		ownNode("mine") + "/" + ownNode("door"): "Srw-------",
		ownNode("ours"):                         "drwxr-x--x", ownNode("ours") + "/bus": "Srw-rw----",
		ownNode("all"): "drwxr-xr-x", ownNode("all") + "/bus": "Srw-rw-rw-",
	} {
		layout[name] = mode
	}
	sameTree(t, dir, layout)

	confined := worlds[0].dial(t, "unix:path="+filepath.Join(dir, ownNode("mine"), ownNode("door")))
	keepers[3].Close() // that of the bus
	<-confined.Done()
	for _, gone := range []string{"", "/bus", "/" + ownNode("door")} {
		delete(layout, ownNode("mine")+gone)
	}
	sameTree(t, dir, layout)

	d.Shutdown()
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("at the end: %v, %v", err, tree(t, dir))
	}
}

func TestADomainIsServedByOneDaemon(t *testing.T) {
	_, dir := startDomain(t, daemon.Config{})
	if _, err := daemon.Start(daemon.Config{Domain: dir}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second one: %v", err)
	}
	rawClient(t, filepath.Join(dir, standardBus(), "bus")) // the first has not lost its socket
}

// bindStale leaves the socket of a process that is gone.
func bindStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestWhatADeadDaemonHasLeftInItsDomainIsRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, bus := range []string{standardBus(), "1000-other"} {
		if err := os.Mkdir(filepath.Join(dir, bus), 0o755); err != nil {
			t.Fatal(err)
		}
		bindStale(t, filepath.Join(dir, bus, "bus"))
		bindStale(t, filepath.Join(dir, bus, "1000-door"))
	}
	bindStale(t, filepath.Join(dir, "control"))
	if err := os.Mkdir(filepath.Join(dir, "documents"), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := daemon.Start(daemon.Config{Domain: dir})
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, dir, map[string]string{
		"control": "Srw-rw-rw-", standardBus(): "drwxr-xr-x", standardBus() + "/bus": "Srw-rw-rw-", "documents": "drwxr-xr-x",
	})
	d.Shutdown()
	sameTree(t, dir, map[string]string{"documents": "drwxr-xr-x"})
}

func TestADomainIsRefused(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"a file":                          func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"a directory that others change":  func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o777)) },
		"no directory above":              func(dir string) error { return os.Remove(filepath.Dir(dir)) },
		"a bus with somebody's documents": func(dir string) error { return os.MkdirAll(filepath.Join(dir, "5-bus", "documents"), 0o755) },
	} {
		dir := filepath.Join(t.TempDir(), "above", "domain")
		if err := errors.Join(os.Mkdir(filepath.Dir(dir), 0o755), prepare(dir)); err != nil {
			t.Fatal(err)
		}
		d, err := daemon.Start(daemon.Config{Domain: dir})
		if err == nil {
			d.Shutdown()
			t.Errorf("%s: it is served", name)
		} else if !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the error does not say where: %v", name, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "control")); err == nil {
			t.Errorf("%s: a socket was left", name)
		}
	}
}

func TestBusesOfOneDomainKnowNothingOfEachOther(t *testing.T) {
	_, dir := startDomain(t, daemon.Config{})
	keeper := rawClient(t, filepath.Join(dir, "control"))
	mine := makeNode(t, keeper, &abi.BusMake{Name: ownNode("mine"), Bloom: abi.DefaultBloom})
	for _, w := range worlds {
		here := w.dial(t, "unix:path="+filepath.Join(mine, "bus"))
		there := w.dial(t, "unix:path="+filepath.Join(dir, standardBus(), "bus"))
		if here.ServerID() == there.ServerID() {
			t.Errorf("%s: they have one identity", w.name)
		}
		name := "com.example.Same" + strings.ReplaceAll(w.name, " ", "")
		for _, c := range []string{"here", "there"} {
			conn := here
			if c == "there" {
				conn = there
			}
			if _, err := conn.RequestName(t.Context(), name, 0); err != nil {
				t.Errorf("%s, %s: %v", w.name, c, err)
			}
		}
	}
}

func TestADaemonIsFoundInItsDomainAndAtItsAddress(t *testing.T) {
	address := "unix:path=" + filepath.Join(t.TempDir(), "bus")
	d, dir := startDomain(t, daemon.Config{Addresses: []string{address}})
	if n := len(d.Addresses()); n != 2 {
		t.Errorf("there are %d addresses", n)
	}
	one := worlds[0].dial(t, address)
	two := worlds[1].dial(t, "unix:path="+filepath.Join(dir, standardBus(), "bus"))
	if _, err := one.RequestName(t.Context(), "com.example.One", 0); err != nil {
		t.Fatal(err)
	}
	if owner, err := two.NameOwner(t.Context(), "com.example.One"); err != nil || owner != one.Name() {
		t.Errorf("the owner is %q, %v", owner, err)
	}
}

// With <user> a bus binds its sockets as root, and has to remove them as somebody else.
func TestADomainIsGivenToTheUserOfTheBus(t *testing.T) {
	owner := daemon.Owner{UID: 12345, GID: 54321}
	if os.Geteuid() != 0 {
		owner = daemon.Owner{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	}
	_, dir := startDomain(t, daemon.Config{Owner: &owner})
	for _, name := range []string{"", "control", standardBus(), standardBus() + "/bus"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != owner.UID || stat.Gid != owner.GID {
			t.Errorf("%q belongs to %d:%d", name, stat.Uid, stat.Gid)
		}
	}
}

// A daemon without systemd leaves the directory, which root made and the user of the bus cannot remove.
func TestADomainThatWasGivenIsServedAgain(t *testing.T) {
	owner := daemon.Owner{UID: 12345, GID: 54321}
	if os.Geteuid() != 0 {
		owner = daemon.Owner{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	}
	dir := filepath.Join(t.TempDir(), "domain")
	outside := filepath.Join(t.TempDir(), "outside")
	bindStale(t, outside)
	bus := filepath.Join(dir, "7-bus")
	if err := os.MkdirAll(bus, 0o755); err != nil {
		t.Fatal(err)
	}
	bindStale(t, filepath.Join(bus, "bus"))
	for _, link := range []string{"7-other", "7-bus/7-door"} { // what root must not follow
		if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir, bus} {
		if err := os.Lchown(path, int(owner.UID), int(owner.GID)); err != nil {
			t.Fatal(err)
		}
	}
	of := func() daemon.Owner {
		info, err := os.Lstat(dir)
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		return daemon.Owner{UID: stat.Uid, GID: stat.Gid}
	}

	if _, err := daemon.Start(daemon.Config{Domain: dir, Owner: &owner}); err == nil {
		t.Fatal("something of others in the directory of a bus was removed")
	}
	if got := of(); got != owner {
		t.Errorf("after a start that failed it is of %v", got)
	}
	if err := os.Remove(filepath.Join(bus, "7-door")); err != nil {
		t.Fatal(err)
	}
	d, err := daemon.Start(daemon.Config{Domain: dir, Owner: &owner})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Shutdown)
	if got := of(); got != owner {
		t.Errorf("it is of %v", got)
	}
	if _, err := os.Lstat(bus); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left: %v", err)
	}
	if _, err := os.Lstat(outside); err != nil {
		t.Errorf("a file outside: %v", err)
	}

	// Nobody takes it from a daemon that lives, whoever that is.
	for name, other := range map[string]*daemon.Owner{"another": nil, "another of the same user": &owner} {
		_, err := daemon.Start(daemon.Config{Domain: dir, Owner: other})
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another daemon serves it") {
			t.Errorf("%s: %v", name, err)
		}
		if got := of(); got != owner {
			t.Errorf("%s: it is of %v", name, got)
		}
	}
	rawClient(t, filepath.Join(dir, standardBus(), "bus"))
}

func TestABusIsCalledAfterWhatItIsFor(t *testing.T) {
	for kind, want := range map[string]string{"session": "user", "system": "system"} {
		file := filepath.Join(t.TempDir(), "bus.conf")
		if err := os.WriteFile(file, []byte("<busconfig><type>"+kind+"</type><listen>unix:tmpdir=/tmp</listen></busconfig>"), 0o600); err != nil {
			t.Fatal(err)
		}
		conf, err := daemon.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		_, dir := startDomain(t, daemon.Config{File: conf})
		if _, err := os.Lstat(filepath.Join(dir, ownNode(want), "bus")); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestTheDefaultDomainIsThatOfTheUser(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	want := "/run/user/1000/kdbus"
	if os.Getuid() == 0 {
		want = "/run/kdbus"
	}
	if got := daemon.DefaultDomain(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
