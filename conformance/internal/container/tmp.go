package container

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// OwnTmp is for the TestMain of a package whose tests are those of others, which leave in /tmp what nobody else can
// find, such as the sockets of buses that they have killed: root gets a /tmp that goes with the tests. Everything else
// is as it is outside.
func OwnTmp(m *testing.M) {
	switch {
	case os.Getenv(inside) != "":
		if err := ownTmp(); err != nil {
			fmt.Fprintln(os.Stderr, "making a /tmp for the tests:", err)
			os.Exit(1)
		}
		testbus.Main(m)
	case os.Getuid() != 0:
		testbus.Main(m)
	}
	cmd, err := self(inside + "=tmp")
	if err == nil {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWNS
		err = cmd.Start()
	}
	if errors.Is(err, unix.EPERM) {
		testbus.Main(m) // here nobody may make namespaces
	}
	if err == nil {
		err = cmd.Wait()
	}
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "running the tests with a /tmp of their own:", err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// ownTmp lets this process, in mounts of its own, change /tmp without changing it.
func ownTmp() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	const changes = "/mnt"
	if err := unix.Mount("tmpfs", changes, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mounting %s: %w", changes, err)
	}
	return overlay("/tmp", changes)
}
