//go:build conformance

package suites

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestSDBus runs systemd's tests of sd-bus, with the user's and the system's bus both being the
// one under test. Only the first seven have much to do with a bus; the others are of the library,
// and their passing shows that the programs run at all.
func TestSDBus(t *testing.T) {
	for _, name := range []string{
		"test-bus-chat", "test-bus-cleanup", "test-bus-marshal", "test-bus-match", "test-bus-queue-ref-cycle", "test-bus-track", "test-busctl-introspect",
		"test-bus-address", "test-bus-creds", "test-bus-error", "test-bus-introspect", "test-bus-objects", "test-bus-server", "test-bus-signature",
		"test-bus-util", "test-bus-vtable", "test-bus-vtable-cc", "test-bus-watch-bind",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := "/usr/lib/systemd/tests/" + name
			if _, err := os.Stat(program); err != nil {
				program = filepath.Join("/usr/lib/systemd/tests/manual", name)
			}
			// An exit code of 77 would mean that the program found nothing to test.
			if out, code := run(t, session(t, testbus.UnderTest()), t.TempDir(), []string{"SYSTEMD_LOG_LEVEL=debug"}, program); code != 0 {
				t.Errorf("exit code %d\n%s", code, tail(out))
			}
		})
	}
}
