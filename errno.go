package kdbus

import "syscall"

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
func errorOfErrno(errno syscall.Errno, noAutoStart bool, text string) *Error {
	name := errnoNames[errno]
	switch {
	case name == "":
		name = ErrFailed.Name
	case name == ErrServiceUnknown.Name && noAutoStart:
		name = ErrNameHasNoOwner.Name
	}
	if text == "" {
		text = errno.Error()
	}
	e := *asError(&Error{Name: name, Message: text})
	e.errno = errno
	return &e
}
