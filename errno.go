package kdbus

import (
	"strings"
	"syscall"

	"github.com/kdbus-go/kdbus/wire"
)

// errnoNames is what a D-Bus bus would have answered where a native one answers with an errno
// (docs/native-protocol.md, "Errors").
var errnoNames = map[syscall.Errno]string{
	syscall.EPERM:         ErrAccessDenied.Name,
	syscall.ESRCH:         ErrServiceUnknown.Name,
	syscall.ENXIO:         ErrServiceUnknown.Name,
	syscall.EADDRNOTAVAIL: ErrServiceUnknown.Name,
	syscall.EREMCHG:       ErrServiceUnknown.Name,
	syscall.EBADSLT:       ErrAccessDenied.Name, // an answer that nobody asked for
	syscall.ECOMM:         ErrNotSupported.Name,
	syscall.EOPNOTSUPP:    ErrNotSupported.Name,
	syscall.ENOTTY:        ErrNotSupported.Name,
	syscall.ENOTUNIQ:      ErrNotSupported.Name,
	syscall.ENOBUFS:       ErrLimitsExceeded.Name,
	syscall.EMFILE:        ErrLimitsExceeded.Name,
	syscall.EMLINK:        ErrLimitsExceeded.Name,
	syscall.E2BIG:         ErrLimitsExceeded.Name,
	syscall.EMSGSIZE:      ErrLimitsExceeded.Name,
	syscall.ETIMEDOUT:     ErrNoReply.Name,
	syscall.EPIPE:         ErrNoReply.Name,
	syscall.ECANCELED:     ErrNoReply.Name,
	syscall.EINVAL:        ErrInvalidArgs.Name,
	syscall.EBADMSG:       ErrInvalidArgs.Name,
	syscall.EDOM:          ErrInvalidArgs.Name,
	syscall.ENAMETOOLONG:  ErrInvalidArgs.Name,
	syscall.ENOTCONN:      errorPrefix + "Disconnected",
	syscall.ESHUTDOWN:     errorPrefix + "Disconnected",
}

// errorOfErrno returns the error that an errno is to a program that speaks D-Bus. The text, for
// people, may be empty.
func errorOfErrno(errno syscall.Errno, text string) *Error {
	name := errnoNames[errno]
	if name == "" {
		name = ErrFailed.Name
	}
	if text == "" {
		text = errno.Error()
	}
	if given, rest, found := strings.Cut(text, ": "); found && wire.CheckErrorName(given) == nil {
		name, text = given, rest // the bus knows better
	}
	e := *asError(&Error{Name: name, Message: text})
	e.errno = errno
	return &e
}

// notStarted returns the error of a call that was not to start a service: D-Bus has another name
// for it.
func notStarted(err error) error {
	if e, ok := err.(*Error); ok && e.errno != 0 && e.Name == ErrServiceUnknown.Name {
		return &Error{Name: ErrNameHasNoOwner.Name, Message: e.Message, errno: e.errno}
	}
	return err
}
