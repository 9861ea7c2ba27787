package busconfig

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The DOCTYPE of a configuration. Nearly always it just names dbus-daemon's DTD, which nobody reads;
// what matters are entities that it may declare between brackets.

// parseDoctype returns the entities declared in d, which is what stands between "<!" and ">". External
// entities are not known afterwards: who uses one gets an error, since nothing is fetched.
func parseDoctype(d string) (map[string]string, error) {
	subset, ok := internalSubset(d)
	if !ok {
		return nil, nil
	}
	e := entities{declared: map[string]string{}, expanded: map[string]string{}}
	for {
		subset = strings.TrimLeft(subset, " \t\r\n")
		if subset == "" {
			break
		}
		if subset[0] == '%' {
			return nil, errors.New("parameter entities are not supported; write out what they stand for")
		}
		declaration, rest, err := cutDeclaration(subset)
		if err != nil {
			return nil, err
		}
		subset = rest
		if err := e.declare(declaration); err != nil {
			return nil, err
		}
	}
	for name := range e.declared {
		if _, err := e.expand(name, nil); err != nil {
			return nil, err
		}
	}
	return e.expanded, nil
}

// internalSubset returns what is between the brackets.
func internalSubset(d string) (string, bool) {
	from := indexUnquoted(d, '[')
	if from < 0 {
		return "", false
	}
	d = d[from+1:]
	if to := strings.LastIndexByte(d, ']'); to >= 0 {
		d = d[:to]
	}
	return d, true
}

// cutDeclaration cuts one <...> off s.
func cutDeclaration(s string) (declaration, rest string, err error) {
	if strings.HasPrefix(s, "<?") {
		if _, rest, ok := strings.Cut(s, "?>"); ok {
			return "", rest, nil
		}
	}
	if end := indexUnquoted(s, '>'); end >= 0 && s[0] == '<' {
		return s[1:end], s[end+1:], nil
	}
	return "", "", fmt.Errorf("%.20q is not a declaration", s)
}

// entities are those of one DOCTYPE: as declared, and with the references in them replaced.
type entities struct{ declared, expanded map[string]string }

// declare notes the entity that a declaration declares, if it does.
func (e entities) declare(declaration string) error {
	if strings.HasPrefix(declaration, "!ATTLIST") {
		return errors.New("ATTLIST is not supported; write the attributes where they belong")
	}
	body, ok := strings.CutPrefix(declaration, "!ENTITY")
	if !ok {
		return nil
	}
	fields := strings.Fields(body)
	if len(fields) < 2 {
		return fmt.Errorf("<!ENTITY%.40s> declares nothing", body)
	}
	name := fields[0]
	value := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(body), name))
	switch {
	case name == "%", value == "":
		return nil // only of use inside the DTD
	case value[0] != '"' && value[0] != '\'':
		return nil // external
	case len(value) < 2 || value[len(value)-1] != value[0]:
		return fmt.Errorf("the value of the entity %.40q is not closed", name)
	case len(e.declared) == maxEntities:
		return fmt.Errorf("there are more than %d entities", maxEntities)
	}
	if _, known := e.declared[name]; !known { // the first one counts
		e.declared[name] = value[1 : len(value)-1]
	}
	return nil
}

var predefined = map[string]string{"lt": "<", "gt": ">", "amp": "&", "apos": "'", "quot": `"`}

// expand returns the text that the entity name stands for. It is being expanded for those inside.
func (e entities) expand(name string, inside []string) (string, error) {
	if text, ok := e.expanded[name]; ok {
		return text, nil
	}
	if slices.Contains(inside, name) {
		return "", fmt.Errorf("the entity %.40q stands for itself", name)
	}
	value := e.declared[name]
	if strings.Contains(value, "<") {
		return "", fmt.Errorf("the entity %.40q stands for markup, which is not supported; write it out", name)
	}
	var out strings.Builder
	for value != "" {
		plain, rest, found := strings.Cut(value, "&")
		out.WriteString(plain)
		value = ""
		if found {
			reference, after, closed := strings.Cut(rest, ";")
			if !closed {
				return "", fmt.Errorf("the entity %.40q has a reference without a semicolon", name)
			}
			text, err := e.dereference(reference, append(inside, name))
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			value = after
		}
		if out.Len() > maxEntity {
			return "", fmt.Errorf("the entity %.40q is longer than %d bytes", name, maxEntity)
		}
	}
	e.expanded[name] = out.String()
	return out.String(), nil
}

func (e entities) dereference(reference string, inside []string) (string, error) {
	if digits, ok := strings.CutPrefix(reference, "#"); ok {
		base := 10
		if strings.HasPrefix(digits, "x") {
			digits, base = digits[1:], 16
		}
		r, err := strconv.ParseUint(digits, base, 21)
		switch {
		case err != nil, r == 0:
			return "", fmt.Errorf("&%.20s; is not a character", reference)
		case r == '<', r == '&':
			return "", fmt.Errorf("&%.20s; inside an entity would be markup, which is not supported", reference)
		}
		return string(rune(r)), nil
	}
	if text, ok := predefined[reference]; ok {
		return text, nil
	}
	if _, ok := e.declared[reference]; !ok {
		return "", fmt.Errorf("the entity %.40q is not declared", reference)
	}
	return e.expand(reference, inside)
}

// indexUnquoted returns where c is in s outside of quotes, or -1.
func indexUnquoted(s string, c byte) int {
	var quote byte
	for i := 0; i < len(s); i++ {
		switch {
		case quote != 0:
			if s[i] == quote {
				quote = 0
			}
		case s[i] == c:
			return i
		case s[i] == '"' || s[i] == '\'':
			quote = s[i]
		}
	}
	return -1
}
