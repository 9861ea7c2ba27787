package busconfig

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"syscall"
)

// The standard directories of .service files, dbus-daemon(1) under standard_session_servicedirs and
// standard_system_servicedirs.

const (
	sessionServices = "dbus-1/services"
	systemServices  = "dbus-1/system-services"
	// dataDirectory is where a distribution's dbus-daemon has its own files.
	dataDirectory = "/usr/share"
)

// SessionServiceDirectories returns the standard directories of a session bus in order of precedence. A
// complaint says why $XDG_RUNTIME_DIR is left out, if it is set but not a directory of this
// process's user.
func SessionServiceDirectories(lookupEnv func(string) (string, bool)) (dirs []ServiceDirectory, complaint string) {
	if runtime, ok := lookupEnv("XDG_RUNTIME_DIR"); ok {
		if complaint = checkOwned(runtime); complaint == "" {
			dirs = append(dirs, ServiceDirectory{Path: join(runtime, sessionServices), Runtime: true})
		}
	}
	home, ok := lookupEnv("XDG_DATA_HOME")
	if !ok {
		if h := homeDirectory(lookupEnv); h != "" {
			home = join(h, ".local/share")
		}
	}
	shared, ok := lookupEnv("XDG_DATA_DIRS")
	if !ok {
		shared = "/usr/local/share:/usr/share"
	}
	return appendDirectories(dirs, home+":"+shared+":"+dataDirectory, sessionServices), complaint
}

// SystemServiceDirectories returns the standard directories of a system bus in order of precedence.
func SystemServiceDirectories() []ServiceDirectory {
	return appendDirectories(nil, "/usr/local/share:/usr/share:"+dataDirectory+":/lib", systemServices)
}

// appendDirectories appends the directory sub of each one in a list with colons, unless it is
// there already.
func appendDirectories(dirs []ServiceDirectory, list, sub string) []ServiceDirectory {
	c := Config{ServiceDirectories: dirs}
	for path := range strings.SplitSeq(list, ":") {
		if path = strings.TrimSpace(path); path != "" {
			c.addServiceDirectory(ServiceDirectory{Path: join(path, sub)})
		}
	}
	return c.ServiceDirectories
}

// homeDirectory returns the home of this process's user, "" if nobody knows.
func homeDirectory(lookupEnv func(string) (string, bool)) string {
	if home, ok := lookupEnv("HOME"); ok {
		return home
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

// checkOwned says why dir is not one in which this process should look for what to start. It protects
// from mistakes, such as the environment of another user after su.
func checkOwned(dir string) string {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Sprintf("XDG_RUNTIME_DIR %q cannot be used: %v", dir, cause(err))
	case !info.IsDir():
		return fmt.Sprintf("XDG_RUNTIME_DIR %q is not a directory", dir)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Sprintf("XDG_RUNTIME_DIR %q belongs to user %d, not to user %d who runs the bus", dir, stat.Uid, os.Geteuid())
	}
	return ""
}

func (p *parser) sessionDirectories(e element) error {
	dirs, complaint := SessionServiceDirectories(p.LookupEnv)
	if complaint != "" {
		p.warn(e, "%s; services in it are not found", complaint)
	}
	p.addDirectories(dirs)
	return nil
}

func (p *parser) systemDirectories(element) error {
	p.addDirectories(SystemServiceDirectories())
	return nil
}

func (p *parser) addDirectories(dirs []ServiceDirectory) {
	for _, d := range dirs {
		p.conf.addServiceDirectory(d)
	}
}
