//go:build conformance

// Package sandbox compares kdbus sandbox with xdg-dbus-proxy, and looks for ways out of it.
//
// compare_test.go puts a client behind xdg-dbus-proxy, and then behind an endpoint, with the same flags, on
// the same bus, lets it and others do the same, and compares what arrives at everybody. The flags and what
// is done are generated (cases_test.go). Where the two differ on purpose, deviations_test.go says so, and
// why. programs_test.go has real programs inside, and escape_test.go one that tries to get out.
package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { testbus.Main(m) }

// kdbus returns the path of the program under test.
func kdbus(t testing.TB) string {
	t.Helper()
	return filepath.Join(filepath.Dir(testbus.Program(t, testbus.KDBus)), "kdbus")
}

// proxy returns the path of xdg-dbus-proxy.
func proxy(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("xdg-dbus-proxy")
	if err != nil {
		t.Fatalf("%v; conformance/install installs it", err)
	}
	return path
}

// shortTemp returns a directory whose name leaves space for that of a socket.
func shortTemp(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "box-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
