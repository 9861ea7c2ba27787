//go:build conformance

package suites

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestGodbus runs the tests of godbus, which are in the module that this one uses for its own
// tests and benchmarks. The module cache is read-only, so they are run from a copy.
func TestGodbus(t *testing.T) {
	const module = "github.com/godbus/dbus/v5"
	if out, err := exec.Command("go", "mod", "download", module).CombinedOutput(); err != nil {
		t.Fatalf("go mod download: %v\n%s", err, out)
	}
	source, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(source)))); err != nil {
		t.Fatal(err)
	}
	reference, tested := onBoth(t)
	compare(t, goTest(t, reference, dir), goTest(t, tested, dir), 100)
}

// goTest runs all tests of a module. They find the bus in DBUS_SESSION_BUS_ADDRESS and
// DBUS_SYSTEM_BUS_ADDRESS; GOFLAGS of this module are not theirs.
func goTest(t *testing.T, bus *testbus.Bus, dir string) verdicts {
	out, _ := run(t, bus, dir, []string{"GOFLAGS=", "GOWORK=off"}, "go", "test", "-count=1", "-json", "./...")
	result, logs := verdicts{}, map[string]string{}
	for line := range strings.Lines(out) {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal([]byte(line), &e) != nil {
			t.Logf("go test says: %s", line)
			continue
		}
		name := strings.TrimSuffix(e.Package+"."+e.Test, ".")
		switch e.Action {
		case "pass", "fail", "skip":
			result[name] = e.Action
		case "output":
			logs[name] += e.Output
		}
	}
	if bus.Kind != testbus.DBusDaemon {
		for name, verdict := range result {
			if verdict == "fail" {
				t.Logf("%s:\n%s", name, tail(logs[name]))
			}
		}
	}
	return result
}
