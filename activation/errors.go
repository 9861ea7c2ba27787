package activation

import (
	"fmt"
	"strings"
	"syscall"
)

// Error is why a service was not started, as those who waited for it are told.
type Error struct {
	Name  string        // of the D-Bus error, such as org.freedesktop.DBus.Error.Spawn.ExecFailed
	Text  string        // worded as dbus-daemon words it
	Errno syscall.Errno // what native peers get
}

func (e *Error) Error() string { return e.Text }

// Unwrap makes errors.Is and errors.As find the errno.
func (e *Error) Unwrap() error { return e.Errno }

// ErrorName returns the name of the D-Bus error.
func (e *Error) ErrorName() string { return e.Name }

const errorPrefix = "org.freedesktop.DBus.Error."

// spawnFailed is the errno of all failures to start a program: to kdbus's peers somebody has died who was
// called.
const spawnFailed = syscall.EPIPE

func failure(errno syscall.Errno, name, format string, args ...any) *Error {
	return &Error{errorPrefix + name, fmt.Sprintf(format, args...), errno}
}

func unknownService(name string) *Error {
	return failure(syscall.ESRCH, "ServiceUnknown", "The name %s was not provided by any .service files", name)
}

// strerror words an error of the system as C programs do.
func strerror(err error) string {
	var errno syscall.Errno
	if !asErrno(err, &errno) {
		return err.Error()
	}
	s := errno.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
