package kdbus

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/kdbus-go/kdbus/wire"
)

// Error is an error with a D-Bus name: what a peer or the bus answered to a call, or what a
// method of an exported object returns to its caller.
//
// errors.Is compares names only, so that errors.Is(err, kdbus.ErrServiceUnknown) holds whatever
// the message says; errors.As gives the whole error.
type Error struct {
	// Name is the error name, such as org.freedesktop.DBus.Error.AccessDenied.
	Name string
	// Message is for humans: the first value of the error's body, if that is a string.
	Message string
	// Body holds the values that follow Message, or all values if the first is not a string.
	// Most errors have none.
	Body []any

	errno syscall.Errno // what a native bus said; 0 if it said nothing
}

// Unwrap returns the errno that a native bus has answered with, if the error is one of those: so
// errors.Is finds it.
func (e *Error) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// NewError returns an error that exported methods can return; the message is formatted as by
// fmt.Sprintf.
func NewError(name, format string, args ...any) *Error {
	return &Error{Name: name, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Name
	}
	return e.Name + ": " + strings.TrimRight(e.Message, "\n")
}

// Is reports whether target is an *Error with the same name.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Name == e.Name
}

const errorPrefix = "org.freedesktop.DBus.Error."

// Errors that the bus, the libraries and many services answer with; compare with errors.Is.
// None of them may be changed.
var (
	ErrFailed                           = &Error{Name: errorPrefix + "Failed"}
	ErrServiceUnknown                   = &Error{Name: errorPrefix + "ServiceUnknown"}
	ErrNameHasNoOwner                   = &Error{Name: errorPrefix + "NameHasNoOwner"}
	ErrNoReply                          = &Error{Name: errorPrefix + "NoReply"}
	ErrAccessDenied                     = &Error{Name: errorPrefix + "AccessDenied"}
	ErrInteractiveAuthorizationRequired = &Error{Name: errorPrefix + "InteractiveAuthorizationRequired"}
	ErrNotSupported                     = &Error{Name: errorPrefix + "NotSupported"}
	ErrLimitsExceeded                   = &Error{Name: errorPrefix + "LimitsExceeded"}
	ErrInvalidArgs                      = &Error{Name: errorPrefix + "InvalidArgs"}
	ErrUnknownObject                    = &Error{Name: errorPrefix + "UnknownObject"}
	ErrUnknownInterface                 = &Error{Name: errorPrefix + "UnknownInterface"}
	ErrUnknownMethod                    = &Error{Name: errorPrefix + "UnknownMethod"}
	ErrUnknownProperty                  = &Error{Name: errorPrefix + "UnknownProperty"}
	ErrPropertyReadOnly                 = &Error{Name: errorPrefix + "PropertyReadOnly"}
	ErrTimeout                          = &Error{Name: errorPrefix + "Timeout"}
)

// What the connection itself has to say. They are wrapped with more detail.
var (
	// ErrClosed: this program closed the connection.
	ErrClosed = errors.New("the connection to the bus was closed by this program")
	// ErrDisconnected: the bus ended the connection, or what it sent was not D-Bus.
	ErrDisconnected = errors.New("the connection to the bus was lost")
	// ErrNameTaken: the name has an owner that does not give it up, and DoNotQueue was asked for.
	ErrNameTaken = errors.New("the name is owned by another connection")
	// ErrMonitor: the connection is a monitor, which can only listen.
	ErrMonitor = errors.New("the connection is a monitor and cannot send")
)

// errorOf makes an Error of an error message. Nothing of it is part of the message.
func errorOf(m *Message) *Error {
	e := &Error{Name: strings.Clone(m.header.ErrorName), errno: m.errno}
	values, err := m.Values()
	if err != nil {
		return e
	}
	if len(values) > 0 {
		if text, ok := values[0].(string); ok {
			e.Message, values = text, values[1:]
		}
	}
	if len(values) > 0 {
		e.Body = values
	}
	return e
}

// asError returns how err is told to the caller of an exported method: an *Error anywhere in
// it gives the name, and the message is that of err as a whole unless the *Error is all there is.
func asError(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		e = &Error{Name: ErrFailed.Name, Message: err.Error()}
	case error(e) != err:
		e = &Error{Name: e.Name, Message: err.Error(), Body: e.Body}
	}
	if wire.CheckErrorName(e.Name) != nil {
		e = &Error{Name: ErrFailed.Name, Message: e.Error(), Body: e.Body}
	}
	if !utf8.ValidString(e.Message) || strings.IndexByte(e.Message, 0) >= 0 {
		clean := strings.ReplaceAll(strings.ToValidUTF8(e.Message, "\uFFFD"), "\x00", "\uFFFD")
		e = &Error{Name: e.Name, Message: clean, Body: e.Body}
	}
	return e
}
