package daemon

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/kdbus-go/kdbus/busconfig"
)

// A watch notices when files of the configuration or of services come, go or change: those that
// dbus-daemon watches, which are the directories of <includedir> and of services. The
// files that a configuration names are not watched, so that they can be edited in peace. Unlike in
// dbus-daemon a directory of services may come into being later, and files of other kinds do not count.
type watch struct {
	inotify *fsnotify.Watcher // nil if there is none to be had
	log     *slog.Logger
	signs   chan struct{} // that something has changed; one is as good as many
	ended   chan struct{} // closed when nothing is watched any more

	mu sync.Mutex
	// suffixes are what names end in that matter, by directory.
	suffixes map[string]string
	// missing are directories that do not exist, whose coming matters.
	missing []string
	closed  bool
}

// What names of files end in that matter.
const (
	configSuffix  = ".conf"
	serviceSuffix = ".service"
)

const (
	// watchQuiet is how long nothing has to happen before the configuration is read: installing a
	// package changes many files.
	watchQuiet = 100 * time.Millisecond
	// watchPatience is how long it is put off if there is no quiet.
	watchPatience = 2 * time.Second
)

// newWatch calls changed when something has changed in what follow was told. It is called by one
// goroutine, and may call follow.
func newWatch(log *slog.Logger, changed func()) *watch {
	w := &watch{log: log, signs: make(chan struct{}, 1), ended: make(chan struct{})}
	var err error
	if w.inotify, err = fsnotify.NewWatcher(); err != nil {
		log.Warn("cannot watch the directories of the configuration; after changes, reload it", "error", err)
		close(w.ended)
		return w
	}
	go w.read()
	go func() {
		defer close(w.ended)
		settle(w.signs, watchQuiet, watchPatience, changed)
	}()
	return w
}

// sign notes that something has changed.
func (w *watch) sign() {
	select {
	case w.signs <- struct{}{}:
	default:
	}
}

// close ends the watch and waits until changed has returned if it is called.
func (w *watch) close() {
	w.mu.Lock()
	w.closed = true
	if w.inotify != nil {
		w.inotify.Close()
	}
	w.mu.Unlock()
	<-w.ended
}

// follow watches the directories of conf from now on, and no others. If files of the configuration have changed since
// it was read, where nobody watched until now, that is a change. Services are to be read after it.
func (w *watch) follow(conf *busconfig.Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inotify == nil || w.closed {
		return
	}
	w.suffixes, w.missing = make(map[string]string), nil
	for _, dir := range conf.IncludeDirectories {
		w.suffixes[filepath.Clean(dir)] = configSuffix
	}
	for _, dir := range conf.ServiceDirectories {
		w.suffixes[filepath.Clean(dir.Path)] = serviceSuffix
	}
	before := w.inotify.WatchList()
	var watched []string
	for dir, suffix := range w.suffixes {
		at, err := w.add(dir)
		switch {
		case err != nil:
			w.log.Warn("cannot watch a directory of the configuration; after changes, reload it", "directory", dir, "error", err)
			continue
		case at != dir:
			w.missing = append(w.missing, dir)
		}
		watched = append(watched, at)
		if suffix == configSuffix && !slices.Contains(before, dir) && changedSince(dir, suffix, conf.ReadAt) {
			w.sign()
		}
	}
	for _, old := range before {
		if !slices.Contains(watched, old) {
			w.inotify.Remove(old) // fails if it has just gone by itself
		}
	}
}

// add watches dir, or the closest directory above it that exists.
func (w *watch) add(dir string) (at string, err error) {
	below := "" // at, which was not there
	for at = dir; ; below, at = at, filepath.Dir(at) {
		err = w.inotify.Add(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
		case err == nil && below != "" && exists(below): // it has come before this was watched
			return w.add(dir)
		default:
			return at, err
		}
	}
}

// changedSince reports whether dir, or what is called so in it, has changed at a time or later. What cannot be
// looked at has.
func changedSince(dir, suffix string, when time.Time) bool {
	since := func(info fs.FileInfo, err error) bool {
		if err != nil {
			return true
		}
		changed := info.Sys().(*syscall.Stat_t).Ctim
		return !time.Unix(changed.Unix()).Before(when)
	}
	if since(os.Stat(dir)) {
		return true
	}
	entries, err := os.ReadDir(dir)
	return err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return strings.HasSuffix(e.Name(), suffix) && since(e.Info())
	})
}

// read turns events into signs of change until the watch is closed.
func (w *watch) read() {
	defer close(w.signs)
	for {
		select {
		case event, open := <-w.inotify.Events:
			if !open {
				return
			}
			if w.matters(event) {
				w.sign()
			}
		case err, open := <-w.inotify.Errors:
			if !open {
				return
			}
			// Events have been lost: there may have been some that matter.
			w.log.Warn("watching the directories of the configuration", "error", err)
			w.sign()
		}
	}
}

func (w *watch) matters(event fsnotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ours := w.suffixes[event.Name]; ours {
		return true // a directory came or went
	}
	if suffix, ours := w.suffixes[filepath.Dir(event.Name)]; ours && strings.HasSuffix(event.Name, suffix) {
		return true
	}
	return slices.ContainsFunc(w.missing, func(dir string) bool { return strings.HasPrefix(dir, event.Name+"/") })
}

// settle calls do when there have been signs and then none for the time quiet, or when the first of
// them is as old as patience, until signs is closed.
func settle(signs <-chan struct{}, quiet, patience time.Duration, do func()) {
	timer := time.NewTimer(quiet)
	timer.Stop()
	var first time.Time // of the signs that nothing was done about; zero if there is none
	for {
		select {
		case _, open := <-signs:
			if !open {
				timer.Stop()
				return
			}
			if first.IsZero() {
				first = time.Now()
			}
			timer.Reset(min(quiet, time.Until(first.Add(patience))))
		case <-timer.C:
			first = time.Time{}
			do()
		}
	}
}
