package address

import (
	"fmt"
	"strings"
)

// Parse reads a list of addresses separated by semicolons. It returns at least one
// address or an error, which is an [*Error].
//
// It is as strict as the specification: what has to be escaped must be. As in
// libdbus a list may end in a semicolon and an address in a comma. A key that
// occurs twice is refused, because programs disagree on which one counts.
func Parse(list string) ([]Address, error) {
	if list == "" {
		return nil, &Error{Address: list, Part: "the address", Reason: `is empty; write for example "unix:path=/tmp/bus"`}
	}
	var out []Address
	for text := range strings.SplitSeq(strings.TrimSuffix(list, ";"), ";") {
		a, err := parseOne(text)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// ParseOne reads exactly one address.
func ParseOne(text string) (Address, error) {
	list, err := Parse(text)
	if err != nil {
		return Address{}, err
	}
	if len(list) != 1 {
		return Address{}, &Error{
			Address: text, Part: "the list",
			Reason: fmt.Sprintf("has %d addresses where one is wanted", len(list)),
		}
	}
	return list[0], nil
}

func parseOne(text string) (Address, error) {
	fail := func(part, reason string) (Address, error) {
		return Address{}, &Error{Address: text, Part: part, Reason: reason}
	}
	transport, rest, ok := strings.Cut(text, ":")
	if !ok {
		return fail("the transport", `is not followed by a colon; write for example "unix:path=/tmp/bus"`)
	}
	if transport == "" {
		return fail("the transport", "before the colon is empty")
	}
	if bad := strings.IndexFunc(transport, notNameRune); bad >= 0 {
		return fail("the transport", fmt.Sprintf("has the byte %q, which no transport's name has", transport[bad]))
	}
	a := Address{Transport: transport}
	if rest == "" {
		return a, nil
	}
	for pair := range strings.SplitSeq(strings.TrimSuffix(rest, ","), ",") {
		key, escaped, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return fail(fmt.Sprintf("the parameter %q", pair), "has no equals sign; parameters are key=value")
		case key == "":
			return fail(fmt.Sprintf("the parameter %q", pair), "has no key before its equals sign")
		case strings.IndexFunc(key, notNameRune) >= 0:
			return fail(fmt.Sprintf("the key %q", key), "has bytes other than letters, digits, '-' and '_'")
		case escaped == "":
			return fail(fmt.Sprintf("the value of %q", key), "is empty")
		}
		if _, twice := a.Get(key); twice {
			return fail(fmt.Sprintf("the key %q", key), "is given twice")
		}
		value, err := unescape(escaped)
		if err != nil {
			return fail(fmt.Sprintf("the value of %q", key), err.Error())
		}
		a.Params = append(a.Params, Param{Key: key, Value: value})
	}
	return a, nil
}

// notNameRune reports whether r may not stand in a transport or a key. The
// specification gives no grammar for them; all that exist are of these bytes, and
// nothing else is certain to survive other programs' parsers.
func notNameRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}
