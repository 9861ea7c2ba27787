package abi

// checkName judges a well-known name: kdbus.name(7), "Name validity", and the
// dashes that the kernel permits too. A wildcard ends in ".*".
func checkName(name string, wildcard bool) fault {
	if len(name) > NameMaxLen {
		return invalid("name is longer than 255 bytes")
	}
	dots, begin := 0, true // begin: of an element
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if begin {
				return invalid("name has an empty element")
			}
			dots++
			begin = true
			continue
		case isAlpha(c) || c == '_' || c == '-':
		case isDigit(c):
			if begin {
				return invalid("element of the name begins with a digit")
			}
		case c == '*' && wildcard && begin && dots > 0 && i == len(name)-1:
		default:
			return invalid("character that names cannot have")
		}
		begin = false
	}
	if begin {
		return invalid("name ends with an empty element")
	}
	if dots == 0 {
		return invalid("name has one element only")
	}
	return fault{}
}

// CheckName judges a well-known name, as NAME_ACQUIRE and SEND do. The error is
// an [*Error] with EINVAL.
func CheckName(name string) error {
	if f := checkName(name, false); f.errno != 0 {
		return f.at("name", 0, 0)
	}
	return nil
}

// checkSysname judges an item with the name of a bus or an endpoint, or the
// description of a connection.
func checkSysname(data []byte) fault {
	if len(data) < 2 {
		return invalid("empty")
	}
	if len(data) > SysnameMaxLen+1 {
		return tooLong("longer than 63 bytes")
	}
	if f := checkString(data); f.errno != 0 {
		return f
	}
	name := data[:len(data)-1]
	for i, c := range name {
		inside := i > 0 && i < len(name)-1
		if !isAlpha(c) && !isDigit(c) && c != '_' && !(inside && (c == '-' || c == '.')) {
			return invalid("character that it cannot have there")
		}
	}
	return fault{}
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
