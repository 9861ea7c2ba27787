package abi

import (
	"strconv"
	"syscall"
)

// Error reports bytes that are no valid command, message or reply.
type Error struct {
	// Errno is what kdbus answers to this. errors.Is finds it.
	Errno syscall.Errno
	// What was decoded: "HELLO", "message", "connection info".
	What string
	// Offset is where in it the fault lies, in bytes from its beginning.
	Offset int
	// Item is the type of the item at fault, or 0 if it is none.
	Item ItemType
	// Reason says what is wrong.
	Reason string
}

func (e *Error) Error() string {
	s := "kdbus: invalid " + e.What + ": at byte " + strconv.Itoa(e.Offset) + ": "
	if e.Item != 0 {
		s += "item " + e.Item.String() + ": "
	}
	return s + e.Reason + " (" + e.Errno.Error() + ")"
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// fault is a reason with its errno, before it is known where it lies. The zero
// fault is none. It is a value, so that judging what is fine costs nothing.
type fault struct {
	errno  syscall.Errno
	reason string
}

func (f fault) at(what string, offset int, item ItemType) *Error {
	return &Error{Errno: f.errno, What: what, Offset: offset, Item: item, Reason: f.reason}
}

// invalid is the errno of most faults.
func invalid(reason string) fault { return fault{syscall.EINVAL, reason} }

func tooLong(reason string) fault { return fault{syscall.ENAMETOOLONG, reason} }

// noSuch says that a command does not exist.
func noSuch(c Cmd) *Error {
	return fault{syscall.ENOTTY, "no such command"}.at(c.String(), 0, 0)
}
