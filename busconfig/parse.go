package busconfig

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options are how to read a configuration. The zero value is the real world.
type Options struct {
	// Users knows names of users and groups; nil means [SystemUsers].
	Users Users
	// LookupEnv returns variables of the environment; nil means [os.LookupEnv]. Used are
	// XDG_RUNTIME_DIR, XDG_DATA_HOME, XDG_DATA_DIRS and HOME.
	LookupEnv func(string) (string, bool)
	// SELinuxRoot is the directory of the SELinux policy, if SELinux is in force and mediated. It is
	// for include with if_selinux_enabled, which is passed over if this is empty.
	SELinuxRoot string
}

// Parse reads the configuration in file, with everything it includes. An error is an [*Error].
func Parse(file string) (*Config, error) { return Options{}.Parse(file) }

// Parse reads the configuration in file, as the function [Parse] does.
func (o Options) Parse(file string) (*Config, error) {
	if o.Users == nil {
		o.Users = SystemUsers{}
	}
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	p := &parser{
		Options: &o,
		read:    &tally{},
		file:    file,
		conf:    &Config{File: file, ReadAt: fileTime(), Limits: DefaultLimits()},
	}
	if err := p.parse(Source{File: file}); err != nil {
		return nil, err
	}
	return p.finish()
}

// fileTime returns the time that a file gets which changes now. That clock stands still between its ticks, so that a
// change after this could seem to come before time.Now.
func fileTime() time.Time {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		return time.Now().Add(-time.Second) // it is finer than that
	}
	return time.Unix(now.Unix())
}

// finish returns what the first file and all others said.
func (p *parser) finish() (*Config, error) {
	if p.read.exceeded != nil {
		return nil, p.read.exceeded
	}
	if len(p.conf.Listen) == 0 {
		return nil, &Error{
			Source: Source{File: p.file}, Element: "<busconfig>",
			Reason: "has no <listen>; add one with an address, such as unix:path=/run/dbus/system_bus_socket",
		}
	}
	p.conf.Policy = NewPolicy(p.rules)
	p.conf.Warnings = append(p.conf.Warnings, p.conf.Policy.warnings()...)
	return p.conf, nil
}

// parser reads one file. Each included file has a parser of its own, whose results are merged if it
// succeeds.
type parser struct {
	*Options
	read      *tally   // of the whole configuration
	file      string   // being read
	including []string // the files on the way here, without the first one
	conf      *Config
	rules     []*Rule

	stack   []element
	content strings.Builder // of the innermost element
	context Context         // of the rules of the current <policy>
	ignored bool            // the current <policy> is of nobody
}

// tally counts what the whole configuration has.
type tally struct {
	files, rules int
	// exceeded is the error of whoever found too many: the configuration is refused then, even if
	// the file is one that may be passed over.
	exceeded error
}

// element is one that is open.
type element struct {
	name  string
	kind  *elementKind
	line  int
	attrs []attribute
}

// parse reads p.file, which somebody at from wants.
func (p *parser) parse(from Source) error {
	data, _, err := readFile(p.file, MaxFileSize)
	if err != nil {
		return fileError(from, "", "the file", p.file, err)
	}
	p.conf.Files = append(p.conf.Files, p.file)
	return scanXML(p.file, data, p)
}

// start, text and end make a parser a handler of its file.

func (p *parser) start(name string, attrs []attribute, line int) error {
	e := element{name: name, line: line, attrs: attrs}
	parent := ""
	if n := len(p.stack); n > 0 {
		parent = p.stack[n-1].name
	}
	kind, known := elementKinds[name]
	if !known || !slices.Contains(kind.parents, parent) {
		return p.misplaced(e, parent, known)
	}
	e.kind = kind
	for _, a := range attrs {
		if !slices.Contains(kind.attrs, a.name) {
			return p.fail(e, "the attribute %s is unknown%s", a.name, choices("; known are ", kind.attrs))
		}
	}
	p.stack = append(p.stack, e)
	p.content.Reset()
	if kind.start != nil {
		return kind.start(p, e)
	}
	return nil
}

func (p *parser) misplaced(e element, parent string, known bool) error {
	switch {
	case parent == "":
		return p.fail(e, "is not <busconfig>, which the first element has to be")
	case known:
		return p.fail(e, "is not allowed inside <%s>; it belongs into <%s>", parent, strings.Join(elementKinds[e.name].parents, "> or <"))
	}
	return p.fail(e, "is unknown; remove it%s", choices(", or use one of ", childrenOf(parent)))
}

func (p *parser) text(s string, line int) error {
	e := p.stack[len(p.stack)-1]
	if e.kind.end != nil {
		p.content.WriteString(s)
		return nil
	}
	if !isSpace(s) {
		e.line = line + strings.Count(s[:strings.IndexFunc(s, func(r rune) bool { return !isSpace(string(r)) })], "\n")
		return p.fail(e, "takes no text, but has %.40q; remove it", strings.TrimSpace(s))
	}
	return nil
}

func (p *parser) end(int) error {
	e := p.stack[len(p.stack)-1]
	p.stack = p.stack[:len(p.stack)-1]
	if e.kind.end == nil {
		return nil
	}
	if p.content.Len() == 0 {
		return p.fail(e, "is empty; write %s between the tags", e.kind.wants)
	}
	return e.kind.end(p, e, p.content.String())
}

func (p *parser) fail(e element, format string, args ...any) error {
	return &Error{Source: p.at(e), Element: e.String(), Reason: fmt.Sprintf(format, args...)}
}

// exceed is fail for what the configuration as a whole has too many of.
func (p *parser) exceed(e element, format string, args ...any) error {
	p.read.exceeded = p.fail(e, format, args...)
	return p.read.exceeded
}

func (p *parser) warn(e element, format string, args ...any) {
	p.conf.Warnings = append(p.conf.Warnings, Warning{Source: p.at(e), Element: e.String(), Reason: fmt.Sprintf(format, args...)})
}

func (p *parser) at(e element) Source { return Source{p.file, e.line} }

func (e element) String() string { return "<" + e.name + ">" }

// value returns the value of an attribute of e.
func (e element) value(name string) (string, bool) {
	for _, a := range e.attrs {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

// yes returns whether the attribute name is "yes". It may be "no" or missing, too.
func (p *parser) yes(e element, name string) (bool, error) {
	return p.either(e, name, "yes", "no", false)
}

// either returns whether the attribute name is yes rather than no, or missing if it is not there.
func (p *parser) either(e element, name, yes, no string, missing bool) (bool, error) {
	value, ok := e.value(name)
	switch {
	case !ok:
		return missing, nil
	case value != yes && value != no:
		return false, p.fail(e, "%s is %q, but has to be %q or %q", name, value, yes, no)
	}
	return value == yes, nil
}

func choices(lead string, of []string) string {
	if len(of) == 0 {
		return ""
	}
	return lead + strings.Join(of, ", ")
}
