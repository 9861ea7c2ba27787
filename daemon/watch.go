package daemon

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	ended   chan struct{} // closed when nothing is watched any more

	mu sync.Mutex
	// suffixes are what names end in that matter, by directory.
	suffixes map[string]string
	// missing are directories that do not exist, whose coming matters.
	missing []string
	closed  bool
}

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
	w := &watch{log: log, ended: make(chan struct{})}
	var err error
	if w.inotify, err = fsnotify.NewWatcher(); err != nil {
		log.Warn("cannot watch the directories of the configuration; after changes, reload it", "error", err)
		close(w.ended)
		return w
	}
	signs := make(chan struct{})
	go w.read(signs)
	go func() {
		defer close(w.ended)
		settle(signs, watchQuiet, watchPatience, changed)
	}()
	return w
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

// follow watches the directories of conf from now on, and no others.
func (w *watch) follow(conf *busconfig.Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inotify == nil || w.closed {
		return
	}
	w.suffixes, w.missing = make(map[string]string), nil
	for _, dir := range conf.IncludeDirectories {
		w.suffixes[filepath.Clean(dir)] = ".conf"
	}
	for _, dir := range conf.ServiceDirectories {
		w.suffixes[filepath.Clean(dir.Path)] = ".service"
	}
	var watched []string
	for dir := range w.suffixes {
		at, err := w.add(dir)
		switch {
		case err != nil:
			w.log.Warn("cannot watch a directory of the configuration; after changes, reload it", "directory", dir, "error", err)
			continue
		case at != dir:
			w.missing = append(w.missing, dir)
		}
		watched = append(watched, at)
	}
	for _, old := range w.inotify.WatchList() {
		if !slices.Contains(watched, old) {
			w.inotify.Remove(old) // fails if it has just gone by itself
		}
	}
}

// add watches dir, or the closest directory above it that exists.
func (w *watch) add(dir string) (at string, err error) {
	for at = dir; ; at = filepath.Dir(at) {
		err = w.inotify.Add(at)
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return at, err
		}
	}
}

// read turns events into signs of change until the watch is closed.
func (w *watch) read(signs chan<- struct{}) {
	defer close(signs)
	for {
		select {
		case event, open := <-w.inotify.Events:
			if !open {
				return
			}
			if w.matters(event) {
				signs <- struct{}{}
			}
		case err, open := <-w.inotify.Errors:
			if !open {
				return
			}
			// Events have been lost: there may have been some that matter.
			w.log.Warn("watching the directories of the configuration", "error", err)
			signs <- struct{}{}
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
