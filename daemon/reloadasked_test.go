package daemon

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestReloadsThatManyAskForAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const work = 100 * time.Millisecond
		broken := errors.New("broken")
		var begun []time.Duration // since the start, of each reload
		start := time.Now()
		var written atomic.Int32 // what a reload reads
		var read atomic.Int32
		a := newAskedReloads(func() error {
			begun = append(begun, time.Since(start))
			read.Store(written.Load())
			time.Sleep(work)
			if len(begun) == 2 {
				return broken
			}
			return nil
		}, nil)
		var all sync.WaitGroup
		ask := func(want error) {
			all.Go(func() {
				mine := written.Add(1)
				if err := a.ask(); err != want {
					t.Errorf("asked as number %d: %v, want %v", mine, err, want)
				}
				if read.Load() < mine {
					t.Errorf("what number %d has written was not read", mine)
				}
			})
		}
		ask(nil)
		synctest.Wait()
		for range 100 { // while the first one is under way
			ask(broken)
		}
		all.Wait()
		time.Sleep(time.Minute)
		ask(nil) // after a long time there is no rest to wait for
		all.Wait()
		second := (1 + restPerWork) * work
		want := []time.Duration{0, second, second + work + time.Minute}
		if len(begun) != len(want) || begun[0] != want[0] || begun[1] != want[1] || begun[2] != want[2] {
			t.Errorf("reloads began at %v, want %v", begun, want)
		}
	})
}

// Reading a small configuration takes no time worth mentioning, but putting it in force concerns all clients.
func TestReloadsThatTakeNoTimeAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const asked, interval = 1000, time.Millisecond
		reloads, start := 0, time.Now()
		var begun atomic.Int64 // since start
		a := newAskedReloads(func() error { reloads++; begun.Store(int64(time.Since(start))); return nil }, nil)
		var all sync.WaitGroup
		for range asked {
			all.Go(func() {
				mine := time.Since(start)
				if err, read := a.ask(), time.Duration(begun.Load()); err != nil || read < mine {
					t.Errorf("asked at %v, got %v of a reload at %v", mine, err, read)
				}
			})
			time.Sleep(interval)
		}
		all.Wait()
		if most := int(asked*interval/shortestRest) + 1; reloads > most {
			t.Errorf("%d reloads, want at most %d", reloads, most)
		}
	})
}

func TestReloadThatIsAskedForDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ending := make(chan struct{})
		a := newAskedReloads(func() error { time.Sleep(time.Hour); return nil }, ending)
		if err := a.ask(); err != nil {
			t.Fatal(err)
		}
		failed := make(chan error)
		go func() { failed <- a.ask() }()
		synctest.Wait()
		close(ending)
		begin := time.Now()
		if err := <-failed; err != errEnding || time.Since(begin) > 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}
