package wire

import (
	"errors"
	"fmt"
)

// ErrShort is returned when the bytes given end before the part of the message
// that was to be read. It says nothing about validity: more bytes may help.
var ErrShort = errors.New("wire: the bytes end before the message header does")

// Error reports bytes, a name or a Go value that cannot be valid D-Bus.
type Error struct {
	// What was looked at, such as "message header" or "interface name".
	What string
	// Offset is where in it the fault lies, in bytes from its beginning; -1
	// if there is no such place, as in a Go value.
	Offset int
	// Reason says what is wrong.
	Reason string
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return "wire: invalid " + e.What + ": " + e.Reason
	}
	return fmt.Sprintf("wire: invalid %s: at byte %d: %s", e.What, e.Offset, e.Reason)
}
