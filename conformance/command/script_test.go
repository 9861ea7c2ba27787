//go:build conformance

package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts of cmd/kdbus that ask nothing of a bus that only kdbus has, on dbus-daemon.
func TestScriptsOnDBusDaemon(t *testing.T) {
	dir := t.TempDir()
	programs := filepath.Join(dir, "bin")
	if out, err := exec.Command("go", "test", "-c", "-o", filepath.Join(programs, "kdbus"), "github.com/kdbus-go/kdbus/cmd/kdbus").CombinedOutput(); err != nil {
		t.Fatalf("building the tests of cmd/kdbus: %v\n%s", err, out)
	}
	for _, name := range []string{"with-service", "during"} { // which it is, too, by these names
		if err := os.Symlink("kdbus", filepath.Join(programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	scripts := filepath.Join(dir, "scripts")
	if err := os.Mkdir(scripts, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"call", "property", "introspect", "tree", "emit-wait", "dbus1"} {
		text, err := os.ReadFile(filepath.Join("../../cmd/kdbus/testdata/script", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		// dbus-daemon may say something about the machine.
		script := strings.NewReplacer("kdbus run -- ", "dbus-run-session -- ", "\n! stderr .\n", "\n").Replace(string(text))
		if err := os.WriteFile(filepath.Join(scripts, name+".txtar"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:      scripts,
		Deadline: time.Now().Add(time.Minute),
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"} {
				env.Setenv(name, "")
			}
			env.Setenv("PATH", programs+":"+os.Getenv("PATH"))
			return nil
		},
	})
}
