package testbus

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// debianDBusDaemon is what a bus of that kind is; other directories of PATH may have others.
const debianDBusDaemon = "/usr/bin/dbus-daemon"

// Program returns the path of a program named dbus-daemon that takes dbus-daemon's command line
// and is a bus of the given kind: Debian's, or a link to kdbus. Every user may execute it.
func Program(tb testing.TB, kind Kind) string {
	tb.Helper()
	path, err := dbusDaemon(kind)
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

func dbusDaemon(kind Kind) (string, error) {
	if kind == DBusDaemon {
		return debianDBusDaemon, nil
	}
	kdbus, err := kdbusProgram()
	return filepath.Join(filepath.Dir(kdbus), "dbus-daemon"), err
}

// Build builds what takes the place of dbus-daemon in a container: in a directory, which remove
// removes, a bus (kdbus, and a link to it named dbus-daemon) and kdbus-launch-helper. If
// dbus-daemon itself is under test nothing is built and dir is empty.
func Build() (dir string, remove func(), err error) {
	if UnderTest() == DBusDaemon {
		return "", func() {}, nil
	}
	path, err := kdbusProgram()
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Dir(path)
	remove = func() { os.RemoveAll(dir) }
	if err := build(filepath.Join(dir, "kdbus-launch-helper"), "github.com/kdbus-go/kdbus/cmd/kdbus-launch-helper"); err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}

var (
	// kdbusProgram returns the path of the kdbus program, in the directory of programs, beside a
	// link to it named dbus-daemon. If no program is given, the first call builds it.
	kdbusProgram = sync.OnceValues(func() (string, error) {
		dir, err := programs()
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "kdbus")
		if given := os.Getenv("KDBUS_CONFORMANCE_BUS"); filepath.IsAbs(given) {
			err = copyProgram(path, given)
		} else {
			err = build(path, "github.com/kdbus-go/kdbus/cmd/kdbus")
		}
		if err != nil {
			return "", err
		}
		return path, os.Symlink("kdbus", filepath.Join(dir, "dbus-daemon"))
	})

	// programs makes the directory for programs, which Main removes.
	programs = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "kdbus-conformance-")
		if err != nil {
			return "", err
		}
		builtIn = dir
		return dir, os.Chmod(dir, 0o755) // some tests have other users run them
	})
)

var builtIn string

func build(path, pkg string) error {
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}

func copyProgram(path, given string) error {
	src, err := os.Open(given)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}

// Main runs the tests of a package, for its TestMain: it builds the bus under test first, so that
// no test pays for that, and removes it afterwards.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for those who have something to do afterwards. It returns the exit code.
func Run(m *testing.M) int {
	defer func() {
		if builtIn != "" {
			os.RemoveAll(builtIn)
		}
	}()
	if UnderTest() == KDBus {
		if _, err := kdbusProgram(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}
