//go:build conformance

package suites

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

const libdbusTests = "/usr/lib/dbus-1.0/installed-tests/dbus"

// TestLibdbus runs the installed tests of libdbus and dbus-daemon, which start the bus themselves,
// by dbus-daemon's command line with configurations of their own: the driver, limits, properties,
// monitors, eavesdropping, activation by systemd, users, header fields, --fork. Some cases are for
// root only, some for others, so each of both runs them.
func TestLibdbus(t *testing.T) {
	programs := []struct {
		name                 string
		passRoot, passNobody int // how many cases pass on dbus-daemon at least
	}{
		{"test-dbus-daemon", 33, 34},
		{"test-monitor", 18, 18},
		{"test-sd-activation", 8, 8},
		{"test-header-fields", 5, 5},
		{"test-uid-permissions", 4, 0},
		{"test-dbus-daemon-eavesdrop", 3, 3},
		{"test-dbus-daemon-fork.sh", 3, 3},
		{"test-containers", 2, 2},
		{"test-apparmor-activation", 0, 0},
	}
	for _, user := range []string{"root", "nobody"} {
		t.Run(user, func(t *testing.T) {
			if user == "root" && os.Getuid() != 0 {
				program.CannotTest(t, "only root can run the cases for root")
			}
			for _, p := range programs {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					atLeast := p.passRoot
					if user == "nobody" {
						atLeast = p.passNobody
					}
					want, got := onEach(func(kind testbus.Kind) verdicts { return libdbusCases(t, kind, user, p.name) })
					compare(t, want, got, atLeast)
					for name, verdict := range got {
						if verdict == "fail" {
							t.Errorf("%s failed", name)
						}
					}
				})
			}
		})
	}
}

// libdbusCases runs each case of a program in a process of its own, as a failing case ends its
// program.
func libdbusCases(t *testing.T, kind testbus.Kind, user, program string) verdicts {
	dir, err := os.MkdirTemp("", "libdbus-") // t.TempDir is for this user only
	if err != nil {
		t.Error(err)
		return nil
	}
	defer os.RemoveAll(dir)
	i := invocation{dir: dir, env: append(testbus.Environ(), "DBUS_TEST_DAEMON="+testbus.Program(t, kind), "DBUS_TEST_EXEC="+libdbusTests,
		"DBUS_TEST_DATA="+libdbusTests+"/data", "DBUS_TEST_HOMEDIR="+dir, "HOME="+dir)}
	if user == "nobody" && os.Getuid() == 0 {
		const nobody = 65534
		i.user = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Error(err)
			return nil
		}
	}
	show := func(args []string, out string, code int) {
		if kind != testbus.DBusDaemon {
			t.Logf("%s, exit code %d:\n%s", strings.Join(args, " "), code, tail(out))
		}
	}
	result := verdicts{}
	if filepath.Ext(program) == ".sh" {
		i.argv = []string{libdbusTests + "/" + program}
		out, code := i.run(t)
		for _, m := range regexp.MustCompile(`(?m)^(not )?ok (\d+.*)$`).FindAllStringSubmatch(out, -1) {
			result[m[2]] = verdict(m[0], code)
		}
		if code != 0 {
			result["exit code"] = "fail"
			show(i.argv, out, code)
		}
		return result
	}
	i.argv = []string{libdbusTests + "/" + program, "-l"}
	list, _ := i.run(t)
	for _, name := range regexp.MustCompile(`(?m)^/.*$`).FindAllString(list, -1) {
		i.argv = []string{libdbusTests + "/" + program, "--tap", "-p", name}
		out, code := i.run(t)
		line := regexp.MustCompile(`(?m)^(not )?ok \d+ ` + regexp.QuoteMeta(name) + `( .*)?$`).FindString(out)
		if result[name] = verdict(line, code); result[name] == "fail" {
			show(i.argv, out, code)
		}
	}
	return result
}

// verdict says what a line of the Test Anything Protocol means, of a program that ended with code.
func verdict(line string, code int) string {
	switch {
	case strings.Contains(line, "# SKIP"), strings.Contains(line, "# TODO"):
		return "skip"
	case strings.HasPrefix(line, "ok ") && code == 0:
		return "pass"
	}
	return "fail"
}
