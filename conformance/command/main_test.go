//go:build conformance

// Package command compares the command kdbus with Debian's busctl on the same bus, and shows it with
// real services. What the two print is to be the same; every difference is listed beside the case it
// belongs to, with its reason. Each comparison is made on this bus and on dbus-daemon.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// kdbusCommand is the path of the command under test.
var kdbusCommand string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kdbus-command-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	kdbusCommand = filepath.Join(dir, "kdbus")
	build := exec.Command("go", "build", "-trimpath", "-o", kdbusCommand, "github.com/kdbus-go/kdbus/cmd/kdbus")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building cmd/kdbus: %v\n%s", err, out)
		return 1
	}
	return testbus.Run(m)
}

// limit bounds every program that is run.
const limit = 20 * time.Second

// result is what a program left behind.
type result struct {
	stdout, stderr string
	code           int
}

// environ is the environment of programs on the bus: as if it were that of the session and of the
// machine, too.
func environ(bus *testbus.Bus) []string {
	return append(bus.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+bus.Address, "LANG=C.UTF-8", "SYSTEMD_COLORS=0")
}

// run runs a program on the bus to its end.
func run(t testing.TB, bus *testbus.Bus, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environ(bus), &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || ctx.Err() != nil {
		t.Fatalf("%q: %v\n%s", argv, err, stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// onBothBuses runs a test on this bus and on dbus-daemon.
func onBothBuses(t *testing.T, test func(t *testing.T, bus *testbus.Bus)) {
	for _, kind := range []testbus.Kind{testbus.KDBus, testbus.DBusDaemon} {
		t.Run(string(kind), func(t *testing.T) { test(t, testbus.StartKind(t, kind, testbus.Options{})) })
	}
}

// player is the service that is looked at.
type player struct {
	Volume kdbus.Property[float64] `kdbus:",writable"`
	Tracks kdbus.Property[[]string]
	Build  kdbus.Property[map[string]kdbus.Variant] `kdbus:",const"`
	Cached kdbus.Property[uint32]                   `kdbus:",invalidates"`
	Quiet  kdbus.Property[bool]                     `kdbus:",silent"`
	Ticked kdbus.Signal[string]
}

func (*player) Echo(v kdbus.Variant) (kdbus.Variant, error) { return v, nil }

func (*player) Fail(text string) error {
	return kdbus.NewError("com.example.Error.Bad", "%s", text)
}

func (*player) Many(a []string, b []byte, c [][]int32, d struct {
	A string
	B uint32
}, e float64, f map[string]map[string]string, g bool, o kdbus.ObjectPath, s kdbus.Signature, n int16, q uint16, x int64, u uint64,
) ([]string, []byte, [][]int32, struct {
	A string
	B uint32
}, float64, map[string]map[string]string, bool, kdbus.ObjectPath, kdbus.Signature, int16, uint16, int64, uint64, error) {
	return a, b, c, d, e, f, g, o, s, n, q, x, u, nil
}

// manySignature is that of the method Many.
const manySignature = "asayaai(su)da{sa{ss}}bognqxt"

// startPlayer puts the service on the bus, as a D-Bus 1 peer, so that both commands can know the same.
func startPlayer(t testing.TB, bus *testbus.Bus) {
	t.Helper()
	conn, err := (&kdbus.Dialer{DBus1: true}).Dial(t.Context(), bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := new(player)
	p.Volume.Set(0.5)
	p.Tracks.Set([]string{"one", "zwei\t\"é\"", "a rather long title that fills its column and then some, and goes on"})
	p.Build.Set(map[string]kdbus.Variant{"numbers": {Value: []uint32{1, 2, 3}}, "text": {Value: "x"}})
	for _, path := range []kdbus.ObjectPath{"/com/example/Player", "/com/example/Player/a", "/com/example/Player/a/b", "/com/example/Player/c", "/com/other"} {
		if err := conn.Export(path, "com.example.Player", p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.RequestName(t.Context(), "com.example.Player", kdbus.DoNotQueue); err != nil {
		t.Fatal(err)
	}
}
