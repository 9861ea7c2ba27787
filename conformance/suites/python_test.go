//go:build conformance

package suites

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// TestDBusPython runs the installed tests of dbus-python on a bus that dbus-run-session starts for
// them, with their own configuration, which has the service that they call activated.
func TestDBusPython(t *testing.T) {
	found, err := filepath.Glob("/usr/libexec/installed-tests/dbus-python/python3.*")
	if err != nil || len(found) == 0 {
		t.Fatalf("the tests of dbus-python are not installed: %v", err)
	}
	top := found[0]
	for script, atLeast := range map[string]int{
		"test-client.py": 35, "test-exception-py3.py": 2, "test-import-repeatedly": 1, "test-p2p.py": 4, "test-signals.py": 10,
		"test-standalone.py": 36, "test-unusable-main-loop.py": 1, "run-test.sh": 5,
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			want, got := onEach(func(kind testbus.Kind) verdicts { return dbusPythonCases(t, kind, top, script) })
			compare(t, want, got, atLeast)
		})
	}
}

func dbusPythonCases(t *testing.T, kind testbus.Kind, top, script string) verdicts {
	i := invocation{dir: t.TempDir(), env: append(testbus.Environ(), "PYTHON="+program.Python, "DBUS_TOP_SRCDIR="+top, "DBUS_TOP_BUILDDIR="+top)}
	i.argv = []string{"dbus-run-session", "--dbus-daemon=" + testbus.Program(t, kind), "--config-file=" + top + "/test/tmp-session-bus.conf", "--"}
	if strings.HasSuffix(script, ".py") {
		i.argv = append(i.argv, program.Python, verdictsScript(t))
	}
	i.argv = append(i.argv, filepath.Join(top, "test", script))
	out, code := i.run(t)
	result := verdicts{}
	for _, m := range regexp.MustCompile(`(pass|fail|skip) __main__\.(\S+)\n`).FindAllStringSubmatch(out, -1) {
		result[m[2]] = m[1]
	}
	for _, m := range regexp.MustCompile(`(?m)^(not )?ok \d+ - (.*)$`).FindAllStringSubmatch(out, -1) {
		if !strings.HasSuffix(m[2], "(tap module not available)") {
			result[m[2]] = map[string]string{"": "pass", "not ": "fail"}[m[1]]
		}
	}
	if kind != testbus.DBusDaemon && (code != 0 || strings.Contains(out, "\nnot ok")) {
		t.Logf("%s, exit code %d:\n%s", script, code, tail(out))
	}
	return result
}

// verdictsScript returns the absolute path of the script that makes unittest say what became of each
// case.
func verdictsScript(t *testing.T) string {
	path, err := filepath.Abs("testdata/verdicts.py")
	if err != nil {
		t.Error(err)
	}
	return path
}

// TestJeepney runs the tests that come with jeepney.
func TestJeepney(t *testing.T) {
	const top = "/usr/lib/python3/dist-packages/jeepney"
	cases := func(bus *testbus.Bus) verdicts {
		out, _ := run(t, bus, t.TempDir(), nil, program.Python, "-m", "pytest", "-p", "no:cacheprovider", "--asyncio-mode=auto", "-v", "--color=no",
			top+"/tests", top+"/io/tests", "--ignore="+top+"/io/tests/test_trio.py")
		result := verdicts{}
		for _, m := range regexp.MustCompile(`(?m)^(\S+::\S+) (PASSED|FAILED|ERROR|SKIPPED)`).FindAllStringSubmatch(out, -1) {
			result[m[1]] = map[string]string{"PASSED": "pass", "FAILED": "fail", "ERROR": "fail", "SKIPPED": "skip"}[m[2]]
		}
		if bus.Kind != testbus.DBusDaemon && strings.Contains(out, "FAILED") {
			t.Log(tail(out))
		}
		return result
	}
	reference, tested := onBoth(t)
	compare(t, cases(reference), cases(tested), 40)
}
