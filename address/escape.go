package address

import (
	"errors"
	"fmt"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// Escape returns value as it is written behind a key: every byte that may not stand
// there as itself becomes a percent sign and two hexadecimal digits.
func Escape(value string) string {
	n := 0
	for i := range len(value) {
		if !plain(value[i]) {
			n++
		}
	}
	if n == 0 {
		return value
	}
	var b strings.Builder
	b.Grow(len(value) + 2*n)
	for i := range len(value) {
		if c := value[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

// Unescape is the reverse of [Escape]. It also takes bytes that are escaped without
// need, and digits in either case. A percent sign without two digits, and a byte
// that should have been escaped, are errors of type [*Error].
func Unescape(escaped string) (string, error) {
	value, err := unescape(escaped)
	if err != nil {
		return "", &Error{Address: escaped, Part: "the value", Reason: err.Error()}
	}
	return value, nil
}

// unescape is Unescape with an error that does not name the address yet.
func unescape(escaped string) (string, error) {
	var b strings.Builder
	b.Grow(len(escaped))
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		switch {
		case c == '%':
			if i+2 >= len(escaped) || unhex(escaped[i+1]) < 0 || unhex(escaped[i+2]) < 0 {
				return "", errors.New("has a percent sign without two hexadecimal digits; a percent sign itself is %25")
			}
			b.WriteByte(byte(unhex(escaped[i+1])<<4 | unhex(escaped[i+2])))
			i += 2
		case plain(c) || c == '\\':
			b.WriteByte(c)
		default:
			return "", fmt.Errorf("has the byte %q unescaped; write %%%02X", c, c)
		}
	}
	return b.String(), nil
}

// plain reports whether c is written as itself. The specification's set is
// [-0-9A-Za-z_/.\*], in which the backslash can be read as a member or as an escape
// for the asterisk. libdbus reads it as a member. We read it either way and write
// it escaped, which everybody reads.
func plain(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("-_/.*", c) >= 0
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
