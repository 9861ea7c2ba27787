package wire

import "strconv"

// Every Check function returns nil if its argument is valid and otherwise an
// [*Error]. They do not allocate for a valid argument and do not keep it.

// class of a byte in a name.
const (
	letter = 1 << iota // A-Z a-z _
	digit              // 0-9
	hyphen             // -
)

var classes = func() (t [256]uint8) {
	for c := 'A'; c <= 'Z'; c++ {
		t[c], t[c|0x20] = letter, letter
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = digit
	}
	t['_'], t['-'] = letter, hyphen
	return t
}()

// fault is what is wrong with a name or a signature, and where. The zero fault
// is none. Hot loops return it, and only what turns out bad pays for an error.
type fault struct {
	at     int
	reason string
}

func (f fault) none() bool { return f.reason == "" }

// error makes the fault of s, which is a what, an error.
func (f fault) error(what, s string) error {
	if f.none() {
		return nil
	}
	const enough = 64
	if len(s) > enough {
		s = s[:enough] + "..."
	}
	return &Error{What: what + " " + strconv.Quote(s), Offset: f.at, Reason: f.reason}
}

// dotted judges elements separated by single dots, each beginning with a byte
// of the classes first and going on with bytes of the classes rest.
func dotted(s string, first, rest uint8) (dots int, f fault) {
	for i := 0; ; i++ {
		if i == len(s) || s[i] == '.' {
			return dots, fault{i, "an element is empty"}
		}
		if classes[s[i]]&first == 0 {
			return dots, fault{i, "an element may not begin with " + strconv.QuoteToASCII(s[i:i+1])}
		}
		for i++; i < len(s) && classes[s[i]]&rest != 0; i++ {
		}
		if i == len(s) {
			return dots, fault{}
		}
		if s[i] != '.' {
			return dots, fault{i, strconv.QuoteToASCII(s[i:i+1]) + " is not allowed"}
		}
		dots++
	}
}

func lengthFault(s string) fault {
	switch {
	case s == "":
		return fault{0, "it is empty"}
	case len(s) > MaxNameLength:
		return fault{MaxNameLength, "it is longer than 255 bytes"}
	}
	return fault{}
}

func interfaceFault(s string) fault {
	if f := lengthFault(s); !f.none() {
		return f
	}
	dots, f := dotted(s, letter, letter|digit)
	if f.none() && dots == 0 {
		return fault{len(s), "it has no dot"}
	}
	return f
}

func memberFault(s string) fault {
	if f := lengthFault(s); !f.none() {
		return f
	}
	if classes[s[0]] == digit {
		return fault{0, "it begins with a digit"}
	}
	for i := 0; i < len(s); i++ {
		if classes[s[i]]&(letter|digit) == 0 {
			return fault{i, "only letters, digits and underscores are allowed"}
		}
	}
	return fault{}
}

func wellKnownFault(s string) fault {
	if f := lengthFault(s); !f.none() {
		return f
	}
	dots, f := dotted(s, letter|hyphen, letter|digit|hyphen)
	if f.none() && dots == 0 {
		return fault{len(s), "it has no dot"}
	}
	return f
}

func namespaceFault(s string) fault {
	if f := lengthFault(s); !f.none() {
		return f
	}
	_, f := dotted(s, letter|hyphen, letter|digit|hyphen)
	return f
}

// uniqueFault judges s, which begins with a colon, by the rule of libdbus. It
// is wider than the specification's: no dot is needed, one may follow the
// colon directly, and so may nothing at all. Such a name belongs to nobody, and
// a message to it earns an answer rather than a disconnect.
func uniqueFault(s string) fault {
	if len(s) == 1 || len(s) > MaxNameLength {
		return lengthFault(s)
	}
	begin := 1
	if s[1] == '.' {
		begin = 2
	}
	_, f := dotted(s[begin:], letter|digit|hyphen, letter|digit|hyphen)
	if !f.none() {
		f.at += begin
	}
	return f
}

func busNameFault(s string) fault {
	if IsUniqueName(s) {
		return uniqueFault(s)
	}
	return wellKnownFault(s)
}

func pathFault(s string) fault {
	if s == "" || s[0] != '/' {
		return fault{0, "it does not begin with a slash"}
	}
	if len(s) == 1 {
		return fault{}
	}
	slash := true
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case classes[c]&(letter|digit) != 0:
			slash = false
		case c == '/' && !slash:
			slash = true
		case c == '/':
			return fault{i, "an element is empty"}
		default:
			return fault{i, "only letters, digits, underscores and slashes are allowed"}
		}
	}
	if slash {
		return fault{len(s) - 1, "it ends with a slash"}
	}
	return fault{}
}

// IsUniqueName reports whether s has the form of a unique connection name,
// which begins with a colon. It does not judge the rest.
func IsUniqueName(s string) bool { return s != "" && s[0] == ':' }

// CheckBusName judges a bus name of either kind, section "Bus names".
func CheckBusName(s string) error { return busNameFault(s).error("bus name", s) }

// CheckWellKnownName judges a bus name that can be requested: at least two
// elements, none beginning with a digit.
func CheckWellKnownName(s string) error { return wellKnownFault(s).error("well-known name", s) }

// CheckNamespace judges the value of the key arg0namespace of a match rule: a
// bus name, of which a single element is enough. As in libdbus, a unique name
// will do.
func CheckNamespace(s string) error {
	if IsUniqueName(s) {
		return uniqueFault(s).error("namespace", s)
	}
	return namespaceFault(s).error("namespace", s)
}

// CheckInterface judges an interface name, section "Interface names".
func CheckInterface(s string) error { return interfaceFault(s).error("interface name", s) }

// CheckMember judges the name of a method or signal, section "Member names".
func CheckMember(s string) error { return memberFault(s).error("member name", s) }

// CheckErrorName judges an error name; the rules are those of interfaces.
func CheckErrorName(s string) error { return interfaceFault(s).error("error name", s) }

// CheckObjectPath judges an object path, section "Valid Object Paths". It may
// be of any length.
func CheckObjectPath(s string) error { return pathFault(s).error("object path", s) }
