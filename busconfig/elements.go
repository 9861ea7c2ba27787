package busconfig

import (
	"maps"
	"slices"
	"strings"
)

// elementKind is what may be done with an element of a certain name.
type elementKind struct {
	parents []string // "" for the document
	attrs   []string
	// start is called when the element begins; nil for nothing to do.
	start func(*parser, element) error
	// end is called with the content, which may not be empty, when the element ends. Where it is nil
	// no content is allowed.
	end   func(p *parser, e element, content string) error
	wants string // the content, for a message
}

// elementKinds are all elements. init fills it, for they refer to it.
var elementKinds map[string]*elementKind

func init() {
	flag := func(set func(*Config)) *elementKind {
		return &elementKind{start: func(p *parser, _ element) error { set(p.conf); return nil }}
	}
	text := func(wants string, set func(c *Config, s string, at Source)) *elementKind {
		return &elementKind{wants: wants, end: func(p *parser, e element, s string) error { set(p.conf, s, p.at(e)); return nil }}
	}
	elementKinds = map[string]*elementKind{
		"type":    text("the type of the bus", func(c *Config, s string, _ Source) { c.Type = s }),
		"user":    text("the name of a user", func(c *Config, s string, at Source) { c.User, c.UserAt = s, at }),
		"pidfile": text("the name of a file", func(c *Config, s string, _ Source) { c.PIDFile = s }),
		"listen": text("an address", func(c *Config, s string, at Source) {
			c.Listen, c.ListenAt = append(c.Listen, s), append(c.ListenAt, at)
		}),
		"auth": text("the name of a mechanism", func(c *Config, s string, at Source) {
			c.Auth, c.AuthAt = append(c.Auth, s), append(c.AuthAt, at)
		}),
		"fork":            flag(func(c *Config) { c.Fork = true }),
		"keep_umask":      flag(func(c *Config) { c.KeepUmask = true }),
		"syslog":          flag(func(c *Config) { c.Syslog = true }),
		"allow_anonymous": flag(func(c *Config) { c.AllowAnonymous = true }),

		"servicedir":                   {wants: "the name of a directory", end: (*parser).serviceDirectory},
		"servicehelper":                {wants: "the name of a program", end: (*parser).serviceHelper},
		"standard_session_servicedirs": {start: (*parser).sessionDirectories},
		"standard_system_servicedirs":  {start: (*parser).systemDirectories},

		"include": {
			attrs: []string{"ignore_missing", "if_selinux_enabled", "selinux_root_relative"},
			start: (*parser).checkInclude, wants: "the name of a file", end: (*parser).include,
		},
		"includedir": {wants: "the name of a directory", end: (*parser).includeDirectory},

		"limit": {
			attrs: []string{"name"}, start: (*parser).checkLimit, wants: "a number", end: (*parser).limit,
		},
		"selinux":   {},
		"associate": {attrs: []string{"own", "context"}, start: (*parser).associate},
		"apparmor":  {attrs: []string{"mode"}, start: (*parser).appArmor},
		"policy":    {attrs: []string{"context", "user", "group", "at_console"}, start: (*parser).policy},
		"allow":     {attrs: ruleAttributes, start: (*parser).rule},
		"deny":      {attrs: ruleAttributes, start: (*parser).rule},
		"busconfig": {},
	}
	for name, kind := range elementKinds {
		switch name {
		case "busconfig":
			kind.parents = []string{""}
		case "allow", "deny":
			kind.parents = []string{"policy"}
		case "associate":
			kind.parents = []string{"selinux"}
		default:
			kind.parents = []string{"busconfig"}
		}
	}
}

func childrenOf(parent string) []string {
	var children []string
	for _, name := range slices.Sorted(maps.Keys(elementKinds)) {
		if slices.Contains(elementKinds[name].parents, parent) {
			children = append(children, "<"+name+">")
		}
	}
	return children
}

func (p *parser) checkLimit(e element) error {
	if _, ok := e.value("name"); !ok {
		return p.fail(e, "has no attribute name; the limits are %s", limitNames())
	}
	return nil
}

func (p *parser) limit(e element, content string) error {
	name, _ := e.value("name")
	complaint, err := p.conf.Limits.set(name, content)
	if err != nil {
		return p.fail(e, "%v", err)
	}
	if complaint != "" {
		p.warn(e, "%s", complaint)
	}
	return nil
}

func (p *parser) associate(e element) error {
	own, ok1 := e.value("own")
	context, ok2 := e.value("context")
	if !ok1 || !ok2 {
		return p.fail(e, `needs the attributes own="bus name" and context="SELinux context"`)
	}
	p.conf.associate(Association{Source: p.at(e), Name: own, Context: context})
	return nil
}

func (p *parser) appArmor(e element) error {
	name, ok := e.value("mode")
	if !ok {
		return nil
	}
	mode, ok := appArmorModes[name]
	if !ok {
		return p.fail(e, `mode is %q, but has to be "enabled", "disabled" or "required"`, name)
	}
	p.conf.AppArmor, p.conf.AppArmorAt = mode, p.at(e)
	return nil
}

func (p *parser) serviceHelper(_ element, content string) error {
	p.conf.ServiceHelper = p.path(content)
	return nil
}

func (p *parser) serviceDirectory(_ element, content string) error {
	p.conf.addServiceDirectory(ServiceDirectory{Path: p.path(content)})
	return nil
}

// policy begins a <policy>: it says whom the rules in it concern.
func (p *parser) policy(e element) error {
	if len(e.attrs) != 1 {
		return p.fail(e, "needs exactly one of the attributes context, user, group and at_console")
	}
	p.context, p.ignored = Context{}, false
	value, found := e.attrs[0].value, true
	p.context.Name = value
	switch e.attrs[0].name {
	case "context":
		mandatory, err := p.either(e, "context", "mandatory", "default", false)
		if err != nil {
			return err
		}
		if mandatory {
			p.context.Kind = Mandatory
		}
	case "at_console":
		at, err := p.either(e, "at_console", "true", "false", false)
		if err != nil {
			return err
		}
		p.context.Kind = NotAtConsole
		if at {
			p.context.Kind = AtConsole
		}
	case "user":
		p.context.Kind = OfUser
		p.context.ID, found = lookupID(value, p.Users.User)
	case "group":
		p.context.Kind = OfGroup
		p.context.ID, found = lookupID(value, p.Users.Group)
	}
	if !found {
		p.ignored = true
		p.warn(e, "there is no %s %q on this system, so the rules in it concern nobody", e.attrs[0].name, value)
	}
	return nil
}

// path makes a full path of one that is written in the file being read.
func (p *parser) path(s string) string {
	if strings.HasPrefix(s, "/") {
		return s
	}
	return join(directoryOf(p.file), s)
}
