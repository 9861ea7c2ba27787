package activation

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// Service files that have changed since they were read, for callers who know of them before the bus does.

// Appeared reports whether there is a service of a name that was none a moment ago: .service files are
// read again if something has changed in their directories.
func (a *Activation) Appeared(name string) bool {
	a.updating.Lock()
	defer a.updating.Unlock()
	if a.service(name) != nil {
		return true
	}
	a.mu.Lock()
	directories, closed := a.settings.watched(), a.closed
	a.mu.Unlock()
	if closed || !changedSince(a.seen, directories) {
		return false
	}
	a.reload()
	return a.service(name) != nil
}

// glance is what tells whether a directory has changed.
type glance struct {
	path     string
	modified time.Time
	identity string
	at       time.Time
}

// watched returns the directories of .service files and of .busname files.
func (s *Settings) watched() []string {
	paths := make([]string, 0, len(s.Directories)+len(s.BusNames))
	for _, d := range s.Directories {
		paths = append(paths, d.Path)
	}
	return append(paths, s.BusNames...)
}

// look takes a glance at directories.
func look(directories []string) []glance {
	seen := make([]glance, len(directories))
	for i, path := range directories {
		seen[i] = glance{path: path, at: time.Now()}
		if info, err := os.Stat(path); err == nil {
			seen[i].modified = info.ModTime()
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				seen[i].identity = fmt.Sprint(stat.Dev, stat.Ino)
			}
		}
	}
	return seen
}

// clockGrain is more than the time within which two changes of a directory can look like one.
const clockGrain = 100 * time.Millisecond

// changedSince reports whether directories may have changed since they were seen.
func changedSince(seen []glance, directories []string) bool {
	now := look(directories)
	return !slices.EqualFunc(seen, now, func(then, now glance) bool {
		return then.path == now.path && then.identity == now.identity && then.modified.Equal(now.modified) &&
			then.at.Sub(then.modified) > clockGrain
	})
}
