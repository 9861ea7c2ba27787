//go:build conformance

package suites

import (
	"regexp"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

const libdbusTests = "/usr/lib/dbus-1.0/installed-tests/dbus"

// TestLibdbus runs the tests of libdbus and dbus-daemon that can be pointed at a running bus. A
// failing case ends its program, so each is run in a process of its own. Cases that need a bus
// with a configuration of their own skip themselves.
func TestLibdbus(t *testing.T) {
	for program, atLeast := range map[string]int{
		"test-dbus-daemon": 17, "test-dbus-daemon-eavesdrop": 3, "test-monitor": 12, "test-header-fields": 5, "test-containers": 1,
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			reference, tested := onBoth(t)
			compare(t, libdbusCases(t, reference, program), libdbusCases(t, tested, program), atLeast)
		})
	}
}

func libdbusCases(t *testing.T, bus *testbus.Bus, program string) verdicts {
	env := []string{"DBUS_TEST_DAEMON_ADDRESS=" + bus.Address, "DBUS_TEST_EXEC=" + libdbusTests, "DBUS_TEST_DATA=" + libdbusTests + "/data", "DBUS_TEST_HOMEDIR=" + t.TempDir()}
	dir := t.TempDir()
	list, _ := run(t, bus, dir, env, libdbusTests+"/"+program, "-l")
	result := verdicts{}
	for _, name := range regexp.MustCompile(`(?m)^/.*$`).FindAllString(list, -1) {
		out, code := run(t, bus, dir, env, libdbusTests+"/"+program, "--tap", "-p", name)
		line := regexp.MustCompile(`(?m)^(not )?ok \d+ ` + regexp.QuoteMeta(name) + `( .*)?$`).FindString(out)
		switch {
		case strings.Contains(line, "# SKIP"), strings.Contains(line, "# TODO"):
			result[name] = "skip"
		case strings.HasPrefix(line, "ok ") && code == 0:
			result[name] = "pass"
		default:
			result[name] = "fail"
			if bus.Kind != testbus.DBusDaemon {
				t.Logf("%s %s:\n%s", program, name, tail(out))
			}
		}
	}
	return result
}
