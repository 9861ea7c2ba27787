package bus

import (
	"fmt"
	"syscall"
)

// Error is the error of every operation of the core. Errno is the number that kdbus documents for
// it, which is how front-ends tell errors apart (each has one table from it to its own form);
// Detail says what was wrong, for people.
type Error struct {
	Errno  syscall.Errno
	Detail string
}

func (e *Error) Error() string { return e.Detail }

// Is makes errors.Is(err, syscall.ESRCH) and the like work.
func (e *Error) Is(target error) bool { return target == e.Errno }

// gone is the error for what a closed connection is asked to do.
func (c *Conn) gone() *Error {
	return errorf(ErrDisconnected, "connection %s is closed", c.UniqueName())
}

func errorf(errno syscall.Errno, format string, args ...any) *Error {
	return &Error{Errno: errno, Detail: fmt.Sprintf(format, args...)}
}

// The errnos of the core, with what each means.
const (
	ErrInvalid        = syscall.EINVAL        // the message cannot be meant like this
	ErrNoSuchConn     = syscall.ENXIO         // no connection has this id
	ErrNoSuchName     = syscall.ESRCH         // nobody owns this name
	ErrNotOwner       = syscall.EADDRINUSE    // the name belongs to others
	ErrDenied         = syscall.EPERM         // a policy refused
	ErrUnrequested    = syscall.EBADSLT       // a reply that nobody waits for
	ErrDuplicateCall  = syscall.EEXIST        // a call with this cookie is already waiting for this callee
	ErrQueueFull      = syscall.ENOBUFS       // the sender's share of the receiver's queue is used up
	ErrTooManyFDs     = syscall.EMFILE        // the sender's descriptors in the receiver's queue are used up
	ErrNoFDs          = syscall.ECOMM         // the receiver takes no descriptors
	ErrTooManyCalls   = syscall.EMLINK        // too many calls of this connection wait for replies
	ErrTooManyNames   = syscall.E2BIG         // the connection has as many names as it may
	ErrNotUnique      = syscall.ENOTUNIQ      // a message to many that can only be one to one
	ErrExists         = syscall.EEXIST        // somebody else has it
	ErrInactive       = syscall.EADDRNOTAVAIL // nobody has the name but its activator, which the message must not wake
	ErrMoved          = syscall.EREMCHG       // the name belongs to another connection than the one given
	ErrRequired       = syscall.ECONNREFUSED  // the connection withholds metadata that the bus requires
	ErrNoSuchMatch    = syscall.EBADSLT       // the connection has no match with this cookie
	ErrTooManyMatches = syscall.EMFILE        // the connection has as many matches as it may
	ErrBloomSize      = syscall.EDOM          // a bloom filter or mask is not as long as the bus wants it
	ErrUnsupported    = syscall.EOPNOTSUPP    // this kind of connection, or this bus, has no such thing
	ErrTooManyConns   = syscall.EUSERS        // the user has as many connections as it may
	ErrMonitor        = syscall.EOPNOTSUPP    // monitors send nothing and own nothing
	ErrDisconnected   = syscall.ENOTCONN      // the connection was closed
	ErrShutDown       = syscall.ESHUTDOWN     // the bus, or the endpoint, was closed
	ErrTooManyBuses   = syscall.EMFILE        // the user has as many buses as it may

	// ErrTooManyEndpoints: the user has as many custom endpoints as it may.
	ErrTooManyEndpoints = syscall.EMFILE
	ErrMissingPayload   = syscall.EBADMSG   // the message has nothing to deliver
	ErrTimedOut         = syscall.ETIMEDOUT // the deadline of a synchronous call had passed when it was sent
)
