package busconfig

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Unit files: systemd.unit(5), "Description", and systemd.syntax(7). Sections in brackets have lines KEY=VALUE, which
// may be indented, and go on in the next line behind a backslash; lines that begin with # or ; are comments, also
// between a line and the one it goes on in. White space around keys and values does not count.

// unitSetting is one line of a unit file.
type unitSetting struct {
	section, key, value string
	line                int // where it begins
}

// eachUnitSetting calls do for each line of data, which is from file. The error is an [*Error], or do's.
func eachUnitSetting(file string, data []byte, do func(unitSetting) error) error {
	text := string(data)
	if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
		return &Error{Source: Source{File: file}, Reason: "is not text in UTF-8; save it as such"}
	}
	var s unitSetting
	pending, began := "", 0
	for number := 1; text != ""; number++ {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSpace(line)
		if line != "" && (line[0] == '#' || line[0] == ';') {
			continue
		}
		if pending == "" {
			began = number
		}
		if rest, more := strings.CutSuffix(line, `\`); more && text != "" {
			pending += rest + " "
			continue
		}
		line, pending = strings.TrimSpace(pending+line), ""
		if line == "" {
			continue
		}
		if err := s.parse(line, began); err != nil {
			return &Error{Source: Source{file, began}, Reason: err.Error()}
		}
		if s.key == "" {
			continue // a section begins
		}
		if err := do(s); err != nil {
			return err
		}
	}
	return nil
}

// parse reads a line that is not empty: the head of a section, or a setting in the section that s is in.
func (s *unitSetting) parse(line string, number int) error {
	s.key, s.value, s.line = "", "", number
	if line[0] == '[' {
		section, found := strings.CutSuffix(line[1:], "]")
		if !found || section == "" {
			return fmt.Errorf("%.40q is not a section; write [name] and nothing after it", line)
		}
		s.section = section
		return nil
	}
	key, value, found := strings.Cut(line, "=")
	key = strings.TrimSpace(key)
	switch {
	case s.section == "":
		return fmt.Errorf("%.40q stands before the first [section]; move it into one", line)
	case !found:
		return fmt.Errorf("%.40q has no =; write KEY=VALUE", line)
	case key == "":
		return fmt.Errorf("%.40q has no key before the =", line)
	}
	s.key, s.value = key, strings.TrimSpace(value)
	return nil
}
