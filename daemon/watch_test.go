package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kdbus-go/kdbus/busconfig"
)

// What comes close together is one change, and what does not end is put off no longer than patience.
func TestSettleWaitsForQuiet(t *testing.T) {
	const quiet, patience = 100 * time.Millisecond, time.Second
	for _, c := range []struct {
		name  string
		signs []time.Duration // since the start
		want  []time.Duration
	}{
		{"nothing", nil, nil},
		{"one", []time.Duration{0}, []time.Duration{quiet}},
		{"several at once", []time.Duration{0, 1, 50 * time.Millisecond}, []time.Duration{150 * time.Millisecond}},
		{"two changes", []time.Duration{0, time.Second}, []time.Duration{quiet, time.Second + quiet}},
		{"no quiet", every(50*time.Millisecond, 30), []time.Duration{time.Second, 1550 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				signs := make(chan struct{})
				go func() {
					for _, at := range c.signs {
						time.Sleep(at - time.Since(begin))
						signs <- struct{}{}
					}
					time.Sleep(time.Minute)
					close(signs)
				}()
				var got []time.Duration
				settle(signs, quiet, patience, func() { got = append(got, time.Since(begin)) })
				if len(got) != len(c.want) {
					t.Fatalf("changes at %v, want %v", got, c.want)
				}
				for i := range got {
					if got[i] != c.want[i] {
						t.Errorf("changes at %v, want %v", got, c.want)
					}
				}
			})
		})
	}
}

// every returns n times with a distance, from 0 on.
func every(distance time.Duration, n int) []time.Duration {
	var list []time.Duration
	for i := range n {
		list = append(list, time.Duration(i)*distance)
	}
	return list
}

func TestWatchNoticesWhatMatters(t *testing.T) {
	root := t.TempDir()
	in := func(name string) string { return filepath.Join(root, name) }
	changed := make(chan struct{})
	w := newWatch(slog.New(slog.DiscardHandler), func() { changed <- struct{}{} })
	t.Cleanup(w.close)
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"conf", "services", "other"} {
		if err := os.Mkdir(in(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	conf := &busconfig.Config{
		ReadAt:             time.Now().Add(time.Hour), // nothing has changed since
		IncludeDirectories: []string{in("conf") + "/"},
		ServiceDirectories: []busconfig.ServiceDirectory{{Path: in("services")}, {Path: in("deep/down/services"), Runtime: true}},
	}
	w.follow(conf)
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"a new file of the configuration", func() { write("conf/a.conf") }},
		{"a changed one", func() { write("conf/a.conf") }},
		{"one that is moved in", func() { write("other/b.conf"); os.Rename(in("other/b.conf"), in("conf/b.conf")) }},
		{"one that is moved away", func() { os.Rename(in("conf/b.conf"), in("other/b.conf")) }},
		{"one that is removed", func() { os.Remove(in("conf/a.conf")) }},
		{"one that may be read now", func() { write("conf/c.conf"); os.Chmod(in("conf/c.conf"), 0o644) }},
		{"a new service", func() { write("services/a.service") }},
		{"a directory that was missing", func() { os.MkdirAll(in("deep/down"), 0o700) }},
	} {
		c.do()
		select {
		case <-changed:
			w.follow(conf) // as after reading it
		case <-t.Context().Done():
			t.Fatal(c.name)
		}
		t.Log(c.name)
	}
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"another file", func() {
			write("conf/c.conf.dpkg-new")
			write("services/.a.service.swp")
			write("services/a.conf")
			write("other/x.conf")
		}},
		{"a neighbour of a missing directory", func() { write("deep/down/service"); write("deep/downtown") }},
	} {
		c.do()
		// What matters comes after it, so that there is no other sign of it.
		write("conf/c.conf")
		<-changed
		select {
		case <-changed:
			t.Errorf("%s is a change", c.name)
		default:
		}
	}
	// What is followed no longer does not matter.
	w.follow(&busconfig.Config{ReadAt: conf.ReadAt, IncludeDirectories: []string{in("other")}})
	write("conf/c.conf")
	write("other/c.conf")
	<-changed
	if list := w.inotify.WatchList(); len(list) != 1 || list[0] != in("other") {
		t.Errorf("watched are %v", list)
	}
}
