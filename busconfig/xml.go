package busconfig

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// The XML that dbus-daemon's parser (expat) accepts, read with encoding/xml. What the latter lets pass and the
// former does not is checked here: attributes given twice, tags that do not match, text and
// elements outside the root, a late XML declaration. Entities that a DOCTYPE declares are known
// (doctype.go). As with dbus-daemon, files are UTF-8 or obviously UTF-16, whatever encoding they declare.

// attribute is an attribute of an element with its value.
type attribute struct{ name, value string }

// handler is told what is in a document. Whatever it returns ends the reading.
type handler interface {
	// start is called for a start tag on the given line.
	start(name string, attrs []attribute, line int) error
	// text is called for text inside the innermost element, perhaps in several pieces.
	text(s string, line int) error
	// end is called for the end of the innermost element.
	end(line int) error
}

// scanner reads one document.
type scanner struct {
	file    string
	data    []byte
	decoder *xml.Decoder
	handler handler
	open    []tag
	rooted  bool // the root element has begun
	typed   bool // the DOCTYPE was there
}

type tag struct {
	name string
	line int
}

// scanXML reads a whole document.
func scanXML(file string, data []byte, h handler) error {
	s := scanner{file: file, handler: h}
	data, err := toUTF8(data)
	if err != nil {
		return s.fail(1, "", "%v", err)
	}
	s.data = data
	s.decoder = xml.NewDecoder(bytes.NewReader(data))
	s.decoder.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		line, _ := s.decoder.InputPos()
		offset := s.decoder.InputOffset()
		t, err := s.decoder.RawToken()
		if err == io.EOF {
			return s.finish(line)
		}
		if err != nil {
			return s.syntax(err)
		}
		if err := s.token(t, line, offset); err != nil {
			return err
		}
	}
}

func (s *scanner) token(t xml.Token, line int, offset int64) error {
	switch t := t.(type) {
	case xml.StartElement:
		return s.start(t, line)
	case xml.EndElement:
		return s.end(rawName(t.Name), line)
	case xml.CharData:
		return s.text(string(t), line)
	case xml.Directive:
		return s.directive(string(t), line)
	case xml.ProcInst:
		if t.Target == "xml" && offset != 0 {
			return s.fail(line, "", "the XML declaration is not at the very beginning; move it there")
		}
	}
	return nil // comments and processing instructions
}

func (s *scanner) start(t xml.StartElement, line int) error {
	name := rawName(t.Name)
	if s.rooted && len(s.open) == 0 {
		return s.fail(line, name, "follows the end of <busconfig>; there may be one root element only")
	}
	attrs := make([]attribute, len(t.Attr))
	for i, a := range t.Attr {
		attrs[i] = attribute{rawName(a.Name), strings.Map(blank, a.Value)}
		for _, before := range attrs[:i] {
			if before.name == attrs[i].name {
				return s.fail(line, name, "has the attribute %s twice; remove one of them", before.name)
			}
		}
	}
	s.rooted = true
	s.open = append(s.open, tag{name, line})
	return s.handler.start(name, attrs, line)
}

func (s *scanner) end(name string, line int) error {
	if len(s.open) == 0 {
		return s.fail(line, name, "ends here without having begun")
	}
	if top := s.open[len(s.open)-1]; top.name != name {
		return s.fail(line, top.name, "began on line %d, but </%s> comes before </%s>", top.line, name, top.name)
	}
	s.open = s.open[:len(s.open)-1]
	return s.handler.end(line)
}

func (s *scanner) text(text string, line int) error {
	if len(s.open) > 0 {
		return s.handler.text(text, line)
	}
	if !isSpace(text) {
		return s.fail(line, "", "text stands outside of <busconfig>; remove it")
	}
	return nil
}

func (s *scanner) directive(d string, line int) error {
	if !strings.HasPrefix(d, "DOCTYPE") || s.rooted || s.typed {
		return s.fail(line, "", "<!%.20s...> is not allowed here; one DOCTYPE may stand before <busconfig>", d)
	}
	s.typed = true
	entities, err := parseDoctype(d)
	if err != nil {
		return s.fail(line, "", "in the DOCTYPE: %v", err)
	}
	longest := 0
	for _, value := range entities {
		longest = max(longest, len(value))
	}
	if longest > 0 && bytes.Count(s.data, []byte("&")) > MaxFileSize/longest {
		return s.fail(line, "", "the entities of the DOCTYPE would make the text longer than %d bytes", MaxFileSize)
	}
	s.decoder.Entity = entities
	return nil
}

func (s *scanner) finish(line int) error {
	switch {
	case len(s.open) > 0:
		top := s.open[len(s.open)-1]
		return s.fail(top.line, top.name, "is not closed before the file ends on line %d", line)
	case !s.rooted:
		return s.fail(line, "", "there is no element; a configuration is <busconfig> ... </busconfig>")
	}
	return nil
}

// syntax is the error for what encoding/xml says.
func (s *scanner) syntax(err error) error {
	line, _ := s.decoder.InputPos()
	reason := err.Error()
	if e, ok := errors.AsType[*xml.SyntaxError](err); ok {
		line, reason = e.Line, e.Msg
	}
	if strings.Contains(reason, "UTF-8") {
		reason += "; save the file as UTF-8"
	}
	element := ""
	if len(s.open) > 0 {
		element = s.open[len(s.open)-1].name
	}
	return s.fail(line, element, "not well-formed XML: %s", strings.TrimPrefix(reason, "xml: "))
}

func (s *scanner) fail(line int, element, format string, args ...any) error {
	if element != "" {
		element = "<" + element + ">"
	}
	return &Error{Source: Source{s.file, line}, Element: element, Reason: fmt.Sprintf(format, args...)}
}

// rawName is the name as written: to dbus-daemon a prefix is a part of it.
func rawName(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// blank makes a blank of white space in the value of an attribute, as XML wants it.
func blank(r rune) rune {
	if r == '\n' || r == '\t' || r == '\r' {
		return ' '
	}
	return r
}

func isSpace(s string) bool { return strings.Trim(s, " \t\n\r") == "" }

// toUTF8 removes a byte order mark and converts what is UTF-16.
func toUTF8(data []byte) ([]byte, error) {
	high := -1 // where in each pair the high byte is
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:], nil
	case bytes.HasPrefix(data, []byte("\xfe\xff")), bytes.HasPrefix(data, []byte("\x00<")):
		high = 0
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("<\x00")):
		high = 1
	default:
		return data, nil
	}
	if len(data)%2 != 0 {
		return nil, errors.New("the file is UTF-16, but ends within a character")
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 0; i < len(data); i += 2 {
		units = append(units, uint16(data[i+high])<<8|uint16(data[i+1-high]))
	}
	if units[0] == 0xfeff {
		units = units[1:]
	}
	return []byte(string(utf16.Decode(units))), nil
}
