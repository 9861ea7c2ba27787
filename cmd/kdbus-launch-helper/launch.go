package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/activation/exitcode"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/wire"
)

// failure is why the service is not started, with the exit code that says so.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }

func fail(code int, format string, args ...any) *failure {
	return &failure{code, fmt.Errorf(format, args...)}
}

// world is what launch needs of the system, other than files of the configuration.
type world interface {
	// IDs returns the real and the effective user.
	IDs() (real, effective int)
	// Owner returns to whom the file belongs that the information is about, and its mode.
	Owner(info fs.FileInfo) (uid int, mode fs.FileMode)
	// Become gives up all privileges for those of the account.
	Become(a *account) error
	// Exec makes the process another program. It returns only if that fails.
	Exec(words, environment []string) error
}

// account is who a service runs as.
type account struct {
	uid, gid int
	groups   []int // the supplementary ones
}

// launch becomes the service that the arguments name. It returns why not.
func launch(args []string, w world) *failure {
	if len(args) != 1 {
		return fail(exitcode.InvalidArgs, "there are %d arguments; the only one is the name of a service", len(args))
	}
	name := args[0]
	if err := wire.CheckWellKnownName(name); err != nil {
		return fail(exitcode.NameInvalid, "%w", err)
	}
	conf, err := busconfig.Options{LookupEnv: func(string) (string, bool) { return "", false }}.Parse(configFile)
	if err != nil {
		return fail(exitcode.ConfigInvalid, "%w", err)
	}
	if err := checkCaller(conf, w); err != nil {
		return err
	}
	service, info, err := busconfig.FindHelperService(conf.ServiceDirectories, name)
	if err != nil {
		code := exitcode.FileInvalid
		if errors.Is(err, busconfig.ErrNoService) {
			code = exitcode.ServiceNotFound
		}
		return fail(code, "%w", err)
	}
	words, failed := check(service, info, w)
	if failed != nil {
		return failed
	}
	who, err := lookup(service.User)
	if err == nil {
		err = w.Become(who)
	}
	if err != nil {
		return fail(exitcode.SetupFailed, "become the user %q of %s: %w", service.User, service.File, err)
	}
	err = w.Exec(words, []string{"DBUS_STARTER_ADDRESS=" + starterAddress, "DBUS_STARTER_BUS_TYPE=system"})
	return fail(exitcode.ExecFailed, "execute %s: %w", words[0], err)
}

// checkCaller checks that the bus has called, and that there are privileges to use.
func checkCaller(conf *busconfig.Config, w world) *failure {
	if conf.User == "" {
		return fail(exitcode.ConfigInvalid, "%s names no <user> of the bus", configFile)
	}
	bus, err := lookup(conf.User)
	if err != nil {
		return fail(exitcode.PermissionsInvalid, "find the user of the bus: %w", err)
	}
	real, effective := w.IDs()
	switch {
	case real != bus.uid && real != 0: // root's systemd may start it, too
		return fail(exitcode.PermissionsInvalid, "called by user %d; only %s, who runs the bus, may", real, conf.User)
	case effective != 0:
		return fail(exitcode.PermissionsInvalid, "this program is not setuid root")
	}
	return nil
}

// check judges a service further than package busconfig does, and returns what to execute. It goes by the
// information about the file that was read: others may be able to put another one in its place meanwhile.
func check(service *busconfig.Service, info fs.FileInfo, w world) ([]string, *failure) {
	uid, mode := w.Owner(info)
	switch {
	case uid != 0:
		return nil, fail(exitcode.FileInvalid, "%s belongs to user %d; it has to be root's", service.File, uid)
	case mode&0o002 != 0:
		return nil, fail(exitcode.FileInvalid, "%s can be written by everybody", service.File)
	}
	words, err := service.Command()
	switch {
	case err != nil:
		return nil, fail(exitcode.FileInvalid, "%w", err)
	case !filepath.IsAbs(words[0]):
		return nil, fail(exitcode.FileInvalid, "%s: Exec: %q is not an absolute path", service.File, words[0])
	}
	return words, nil
}

// lookup finds an account by the name, or the number, of a user.
func lookup(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if _, isNumber := strconv.ParseUint(name, 10, 32); isNumber != nil {
			return nil, err
		}
		if u, err = user.LookupId(name); err != nil {
			return nil, err
		}
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	a := new(account)
	if a.uid, err = number(u.Uid); err != nil {
		return nil, err
	}
	if a.gid, err = number(u.Gid); err != nil {
		return nil, err
	}
	for _, id := range ids {
		gid, err := number(id)
		if err != nil {
			return nil, err
		}
		a.groups = append(a.groups, gid)
	}
	return a, nil
}

// number reads the number of a user or group. The highest ones stand for none.
func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil && n >= 1<<32-2 {
		err = fmt.Errorf("%d is nobody's number", n)
	}
	return int(n), err
}

// system is the real world.
type system struct{}

func (system) IDs() (real, effective int) { return os.Getuid(), os.Geteuid() }

func (system) Owner(info fs.FileInfo) (uid int, mode fs.FileMode) {
	return int(info.Sys().(*syscall.Stat_t).Uid), info.Mode()
}

// Become changes all threads of the process: package syscall does, package unix does not.
func (system) Become(a *account) error {
	unprotect("/proc/self/oom_score_adj") // best effort: it is about which process ends first, not about rights
	if err := syscall.Setgroups(a.groups); err != nil {
		return os.NewSyscallError("setgroups", err)
	}
	if err := syscall.Setresgid(a.gid, a.gid, a.gid); err != nil {
		return os.NewSyscallError("setresgid", err)
	}
	if err := syscall.Setresuid(a.uid, a.uid, a.uid); err != nil {
		return os.NewSyscallError("setresuid", err)
	}
	if a.uid != 0 && (syscall.Setuid(0) == nil || syscall.Seteuid(0) == nil) {
		return errors.New("the privileges are still there")
	}
	return nil
}

// unprotect takes away what keeps the bus from being killed when memory is short (proc_pid_oom_score_adj(5)),
// which processes inherit. The bus can do so only for programs that are not setuid.
func unprotect(file string) error {
	b, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(b), "-") {
		return err
	}
	return os.WriteFile(file, []byte("0"), 0)
}

func (system) Exec(words, environment []string) error {
	if err := os.Chdir("/"); err != nil {
		return err
	}
	syscall.Umask(0o022)
	if err := closeOnExec(); err != nil {
		return err
	}
	return syscall.Exec(words[0], words, environment)
}

// closeOnExec has all descriptors but the standard ones closed when another program is executed.
func closeOnExec() error {
	if unix.CloseRange(3, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	// Linux before 5.11 does not know that.
	open, err := os.ReadDir("/proc/self/fd")
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return err
}
