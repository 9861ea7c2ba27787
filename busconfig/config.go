package busconfig

import (
	"slices"
	"time"
)

// Config is a configuration of a message bus. It is not changed after Parse.
type Config struct {
	// File is the one given to Parse, Files all that were read, in the order of their beginnings.
	File  string
	Files []string
	// ReadAt is a moment before any file was read, by the clock that dates files: what has changed since
	// is dated then or later.
	ReadAt time.Time
	// Type is "system", "session", another word, or "" if the configuration does not say.
	Type string
	// User is the name or number of the user to become after the sockets are open; "" for none.
	User string
	// Fork, KeepUmask, Syslog and AllowAnonymous are set if the element is present.
	Fork           bool
	KeepUmask      bool
	Syslog         bool
	AllowAnonymous bool
	// PIDFile is as written: a relative path is relative to the working directory.
	PIDFile string
	// Listen has the addresses as written and in their order; each may be a list with semicolons.
	// dbus-daemon tells its own address with the last one first.
	Listen []string
	// Auth has the names of the SASL mechanisms that are allowed; all are if it is empty.
	Auth []string
	// ListenAt and AuthAt are where what is in Listen and Auth is written. UserAt and AppArmorAt are
	// where User and AppArmor are, if they are anywhere.
	ListenAt, AuthAt   []Source
	UserAt, AppArmorAt Source
	// ServiceDirectories are in order of precedence, each path once.
	ServiceDirectories []ServiceDirectory
	// ServiceHelper is the setuid program that starts services on a system bus; "" for none.
	ServiceHelper string
	Limits        Limits
	// Policy is never nil.
	Policy *Policy
	// AppArmor says whether mediation by AppArmor is demanded. Who cannot mediate must not run a bus
	// with AppArmorRequired.
	AppArmor AppArmorMode
	// Contexts are the <associate> elements, each name once.
	Contexts []Association
	// IncludeDirectories are the directories of includedir elements that exist, for whoever wants to
	// know when files are added.
	IncludeDirectories []string
	Warnings           []Warning
}

// ServiceDirectory is a directory with .service files.
type ServiceDirectory struct {
	Path string
	// Runtime is set for $XDG_RUNTIME_DIR/dbus-1/services: dbus-daemon creates it with mode 0700 if
	// it is missing, does not watch it, and takes only files that are named after their service.
	Runtime bool
}

// AppArmorMode is the attribute mode of <apparmor>.
type AppArmorMode uint8

const (
	AppArmorEnabled  AppArmorMode = iota // mediate if the kernel can, which is the default
	AppArmorDisabled                     // do not mediate
	AppArmorRequired                     // mediate or do not start
)

var appArmorModes = map[string]AppArmorMode{
	"enabled": AppArmorEnabled, "disabled": AppArmorDisabled, "required": AppArmorRequired,
}

func (m AppArmorMode) String() string {
	for name, mode := range appArmorModes {
		if mode == m {
			return name
		}
	}
	return "?"
}

// Association is an <associate> element: the SELinux context with which owning a name is checked.
type Association struct {
	Source
	Name    string // of the bus name
	Context string
}

// addServiceDirectory appends d unless its path is there already. The first place counts, and a
// directory that was named explicitly loses what is special about the runtime directory.
func (c *Config) addServiceDirectory(d ServiceDirectory) {
	for i := range c.ServiceDirectories {
		if old := &c.ServiceDirectories[i]; old.Path == d.Path {
			old.Runtime = old.Runtime && d.Runtime
			return
		}
	}
	c.ServiceDirectories = append(c.ServiceDirectories, d)
}

func (c *Config) addIncludeDirectory(dir string) {
	if !slices.Contains(c.IncludeDirectories, dir) {
		c.IncludeDirectories = append(c.IncludeDirectories, dir)
	}
}

func (c *Config) associate(a Association) {
	for i := range c.Contexts {
		if c.Contexts[i].Name == a.Name {
			c.Contexts[i] = a
			return
		}
	}
	c.Contexts = append(c.Contexts, a)
}

// merge adds what an included file says, at the place where it is included.
func (c *Config) merge(sub *Config) {
	override(&c.Type, sub.Type)
	if sub.User != "" {
		c.User, c.UserAt = sub.User, sub.UserAt
	}
	override(&c.PIDFile, sub.PIDFile)
	override(&c.ServiceHelper, sub.ServiceHelper)
	c.Fork = c.Fork || sub.Fork
	c.KeepUmask = c.KeepUmask || sub.KeepUmask
	c.Syslog = c.Syslog || sub.Syslog
	c.AllowAnonymous = c.AllowAnonymous || sub.AllowAnonymous
	c.Files = append(c.Files, sub.Files...)
	c.Listen, c.ListenAt = append(c.Listen, sub.Listen...), append(c.ListenAt, sub.ListenAt...)
	c.Auth, c.AuthAt = append(c.Auth, sub.Auth...), append(c.AuthAt, sub.AuthAt...)
	for _, d := range sub.ServiceDirectories {
		c.addServiceDirectory(d)
	}
	for _, a := range sub.Contexts {
		c.associate(a)
	}
	for _, d := range sub.IncludeDirectories {
		c.addIncludeDirectory(d)
	}
	c.Warnings = append(c.Warnings, sub.Warnings...)
	// These began with what c had.
	c.Limits, c.AppArmor, c.AppArmorAt = sub.Limits, sub.AppArmor, sub.AppArmorAt
}

func override(s *string, by string) {
	if by != "" {
		*s = by
	}
}
