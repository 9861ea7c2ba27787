package busconfig

import (
	"fmt"
	"strconv"
)

// Source is a place in a file.
type Source struct {
	File string
	Line int // from 1; 0 if the file as a whole is meant
}

// String returns "file:line".
func (s Source) String() string {
	if s.Line == 0 {
		return s.File
	}
	return s.File + ":" + strconv.Itoa(s.Line)
}

// Error is why a configuration or a .service file cannot be used.
type Error struct {
	Source
	// Element is the XML element, such as <limit>, or the key of a .service file, such as Exec. It is
	// "" if the error is about something else.
	Element string
	// Reason says what is wrong and what to do about it.
	Reason string
	// Err is the cause, such as an *fs.PathError, or nil.
	Err error
}

func (e *Error) Error() string { return where(e.Source, e.Element) + e.Reason }

func (e *Error) Unwrap() error { return e.Err }

// Warning is something that does not keep a configuration from being used, but is hardly what its
// author meant.
type Warning struct {
	Source
	Element string // as in Error
	Reason  string
}

func (w Warning) String() string { return where(w.Source, w.Element) + w.Reason }

func where(s Source, element string) string {
	if element == "" {
		return s.String() + ": "
	}
	return s.String() + ": " + element + ": "
}

// fileError is an error of the file system while file was wanted at the place from.
func fileError(from Source, element, what, file string, err error) *Error {
	return &Error{Source: from, Element: element, Reason: fmt.Sprintf("cannot read %s %s: %v", what, file, err), Err: err}
}
