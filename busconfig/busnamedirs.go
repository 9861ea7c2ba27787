package busconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// BusNameDirectories returns the directories of .busname files of a "session" or "system" bus in order of
// precedence: those where systemd finds units, of the user or the system (systemd.unit(5)). Other buses have none.
func BusNameDirectories(busType string, lookupEnv func(string) (string, bool)) []string {
	switch busType {
	case "system":
		return []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
	case "session":
		home := homeDirectory(lookupEnv)
		var dirs []string
		add := func(variable, fallback string) {
			dir, ok := lookupEnv(variable)
			if !ok && home != "" && fallback != "" {
				dir = join(home, fallback)
			}
			if strings.HasPrefix(dir, "/") {
				dirs = append(dirs, join(dir, "systemd/user"))
			}
		}
		add("XDG_CONFIG_HOME", ".config")
		dirs = append(dirs, "/etc/systemd/user")
		if dir, ok := lookupEnv("XDG_RUNTIME_DIR"); ok && checkOwned(dir) == "" {
			add("XDG_RUNTIME_DIR", "")
		}
		dirs = append(dirs, "/run/systemd/user")
		add("XDG_DATA_HOME", ".local/share")
		return append(dirs, "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
	}
	return nil
}

// LoadBusNames reads all .busname files in dirs, which are in order of precedence: a file in the first directory hides
// those of the same name in others. One that is empty, or a link to /dev/null, is masked: it counts for
// nothing, and hides others. What is in files NAME.busname.d/*.conf is added to NAME.busname, in the order of their names.
// A directory that does not exist is empty. The names are sorted, and each is there once.
//
// Unlike with systemd, a file need not be enabled: those who did that do not know it any more.
func LoadBusNames(dirs []string, users Users) ([]*BusName, []Warning) {
	r := busNameReader{dirs: dirs, users: users, found: make(map[string]string)}
	for _, dir := range dirs {
		r.find(dir)
	}
	byName := make(map[string]*BusName)
	for _, unit := range slices.Sorted(maps.Keys(r.found)) {
		b, err := r.load(unit)
		switch {
		case err != nil:
			if b = r.failed(b, err); b != nil && byName[b.Name] == nil {
				byName[b.Name] = b
			}
		case b == nil: // masked
		case byName[b.Name] != nil:
			r.warn(b.File, "Name", "%s is that of %s, too; remove one of the files", b.Name, byName[b.Name].File)
		default:
			byName[b.Name] = b
		}
	}
	list := make([]*BusName, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, byName[name])
	}
	return list, r.warnings
}

// busNameReader reads the .busname files of directories.
type busNameReader struct {
	dirs     []string
	users    Users
	found    map[string]string // path by name of the unit
	warnings []Warning
}

// find notes the files in a directory.
func (r *busNameReader) find(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.warn(dir, "", "bus names in it are not found: %v", cause(err))
		}
		return
	}
	for _, entry := range entries {
		unit := entry.Name()
		if entry.IsDir() || !strings.HasSuffix(unit, busNameSuffix) || r.found[unit] != "" {
			continue
		}
		if len(r.found) == MaxServices {
			r.warn(dir, "", "there are more than %d bus names; the others are not found", MaxServices)
			return
		}
		r.found[unit] = join(dir, unit)
	}
}

// load reads a unit with its drop-ins; it is nil if it is masked. With an error it is what was read so far, or nil.
func (r *busNameReader) load(unit string) (*BusName, error) {
	file := r.found[unit]
	if target, err := os.Readlink(file); err == nil && target == "/dev/null" {
		return nil, nil
	}
	data, _, err := readFile(file, MaxServiceFileSize)
	if err != nil {
		return nil, fileError(Source{File: file}, "", "the file", file, err)
	}
	if len(data) == 0 {
		return nil, nil
	}
	b := newBusName(file)
	if err := b.read(file, data, r.users); err != nil {
		return b, err
	}
	for _, dropIn := range r.dropIns(unit) {
		data, _, err := readFile(dropIn, MaxServiceFileSize)
		if err != nil {
			return nil, fileError(Source{File: file}, "", "the drop-in", dropIn, err)
		}
		if err := b.read(dropIn, data, r.users); err != nil {
			return b, err
		}
	}
	return b, b.check()
}

// maxDropIns is how many drop-ins a unit may have.
const maxDropIns = 256

// dropIns returns the paths of a unit's drop-ins in the order in which they count.
func (r *busNameReader) dropIns(unit string) []string {
	paths := make(map[string]string)
	for _, dir := range r.dirs {
		dir = join(dir, unit+".d")
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there is none
		}
		for _, entry := range entries {
			if name := entry.Name(); strings.HasSuffix(name, ".conf") && paths[name] == "" && len(paths) < maxDropIns {
				paths[name] = join(dir, name)
			}
		}
	}
	var ordered []string
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if target, err := os.Readlink(paths[name]); err != nil || target != "/dev/null" {
			ordered = append(ordered, paths[name])
		}
	}
	return ordered
}

// failed notes why a unit does not count. If it is for its policy, the name is root's alone: whoever wrote one did
// not mean it to be open.
func (r *busNameReader) failed(b *BusName, err error) (closed *BusName) {
	w := Warning{Reason: err.Error()}
	if e, ok := errors.AsType[*Error](err); ok {
		w = Warning{e.Source, e.Element, e.Reason}
	}
	if b != nil && strings.HasPrefix(w.Element, allowPrefix) && b.check() == nil {
		w.Reason += "; until that is mended, nobody but root may own " + b.Name + ", or talk to who does, and it is not activated"
		closed = &BusName{File: b.File, Name: b.Name, Access: []NameAccess{{AllowUser, 0, OwnName}}}
	} else {
		w.Reason += "; the bus name is neither activated nor protected"
	}
	r.warnings = append(r.warnings, w)
	return closed
}

func (r *busNameReader) warn(file, element, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{Source{File: file}, element, fmt.Sprintf(format, args...)})
}
