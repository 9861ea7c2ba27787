package busconfig

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Key files: sections in brackets, with lines key=value in them. This is the format of desktop
// entries as dbus-daemon reads it in .service files.
//
// Lines end in \n, \r\n or \r. A line that begins with # or has only white space is passed over. A section that
// occurs again and a key that occurs again in its section are allowed, and the first one counts. Keys with a
// locale in brackets are passed over unread. White space before a key is not allowed, after it and after
// the = only blanks are. In values \s \t \n \r and \\ stand for blank, tab, newline, carriage return
// and backslash; nothing else may follow a backslash.

type keyFile struct{ sections []keySection }

type keySection struct {
	name string
	keys []keyValue
}

type keyValue struct {
	key, value string
	line       int
}

// lookup returns the first key of that name in the first section of that name.
func (f *keyFile) lookup(section, key string) (keyValue, bool) {
	for _, s := range f.sections {
		if s.name != section {
			continue
		}
		for _, k := range s.keys {
			if k.key == key {
				return k, true
			}
		}
		break
	}
	return keyValue{}, false
}

func (f *keyFile) has(section string) bool {
	for _, s := range f.sections {
		if s.name == section {
			return true
		}
	}
	return false
}

// parseKeyFile reads data, which is from file.
func parseKeyFile(file string, data []byte) (*keyFile, error) {
	text := string(data)
	if i := strings.IndexByte(text, 0); i >= 0 || !utf8.ValidString(text) {
		return nil, &Error{Source: Source{File: file}, Reason: "is not text in UTF-8; save it as such"}
	}
	f := &keyFile{}
	for line := 1; text != ""; line++ {
		var l string
		l, text = cutLine(text)
		if err := f.line(l, line); err != nil {
			return nil, &Error{Source: Source{file, line}, Reason: err.Error()}
		}
	}
	return f, nil
}

// cutLine cuts the first line off text, without its end.
func cutLine(text string) (line, rest string) {
	i := strings.IndexAny(text, "\r\n")
	if i < 0 {
		return text, ""
	}
	if strings.HasPrefix(text[i:], "\r\n") {
		return text[:i], text[i+2:]
	}
	return text[:i], text[i+1:]
}

func (f *keyFile) line(l string, number int) error {
	switch {
	case l != "" && l[0] == '[':
		return f.section(l)
	case strings.Trim(l, " \t\f") == "", l[0] == '#':
		return nil
	case len(f.sections) == 0:
		return fmt.Errorf("%.40q stands before the first [section]; move it into one", l)
	}
	i := 0
	for i < len(l) && isKeyByte(l[i]) {
		i++
	}
	key, rest := l[:i], l[i:]
	switch {
	case key == "":
		return fmt.Errorf("%.40q does not begin with a key of letters, digits and hyphens", l)
	case strings.HasPrefix(rest, "["):
		return nil // a translation
	}
	rest = strings.TrimLeft(rest, " ")
	if rest == "" {
		return fmt.Errorf("after the key %.40q there is no =", key)
	}
	if rest[0] != '=' {
		return fmt.Errorf("after the key %.40q comes %.10q instead of =", key, rest)
	}
	value, err := unescape(strings.TrimLeft(rest[1:], " "))
	if err != nil {
		return fmt.Errorf("the value of %.40q %w", key, err)
	}
	s := &f.sections[len(f.sections)-1]
	s.keys = append(s.keys, keyValue{key, value, number})
	return nil
}

func (f *keyFile) section(l string) error {
	name := strings.TrimSuffix(l[1:], "]")
	if name == "" || len(name) == len(l)-1 {
		return fmt.Errorf("%.40q is not a section; write [name] and nothing after it", l)
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c < ' ' || c > '~' || c == '[' || c == ']' {
			return fmt.Errorf("the name of the section %.40q has the byte %q", name, c)
		}
	}
	f.sections = append(f.sections, keySection{name: name})
	return nil
}

func isKeyByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-'
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			i++
			if i == len(s) {
				return "", fmt.Errorf(`ends in \; write \\ for a backslash`)
			}
			at := strings.IndexByte(`stnr\`, s[i])
			if at < 0 {
				return "", fmt.Errorf(`has \%c; write \\ for a backslash`, s[i])
			}
			c = " \t\n\r\\"[at]
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}
