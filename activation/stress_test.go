package activation_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
)

// Whatever services, callers and administrators do, every call gets one answer.
func TestEveryCallIsAnswered(t *testing.T) {
	const (
		callers = 6
		calls   = 60
	)
	services := map[string]string{"com.example.Exits": role("exit", "3"), "com.example.None": "/nowhere"}
	names := []string{"com.example.Exits", "com.example.None", "com.example.Unknown", "com.example.Comes"}
	for i := range 3 {
		name := fmt.Sprint("com.example.Echo", i)
		services[name] = role("echo", name)
		names = append(names, name, name)
	}
	b := newBus(t, options{services: services})
	var running sync.WaitGroup
	for i := range callers {
		c := b.connect()
		random := rand.New(rand.NewPCG(1, uint64(i)))
		running.Go(func() {
			waiting := map[uint32]string{}
			for range calls {
				name := names[random.IntN(len(names))]
				var serial uint32
				switch random.IntN(8) {
				case 0:
					serial = c.send(c.start(name))
				case 1:
					serial = c.send(c.to(name, "Quit"))
				default:
					serial = c.send(c.to(name, "Echo", "x"))
				}
				waiting[serial] = name
				for len(waiting) > random.IntN(10) {
					m := c.next()
					if m == nil {
						t.Error("disconnected")
						return
					}
					if _, mine := waiting[m.ReplySerial]; !mine {
						t.Errorf("an answer to call %d, which has one: %s", m.ReplySerial, describe(m))
						return
					}
					if got := describe(m); strings.HasPrefix(got, "error") && !expectedFailure(got) {
						t.Errorf("%s: %s", waiting[m.ReplySerial], got)
					}
					delete(waiting, m.ReplySerial)
				}
			}
			for len(waiting) > 0 {
				delete(waiting, c.next().ReplySerial)
			}
		})
	}
	done := make(chan struct{})
	var administrator sync.WaitGroup
	administrator.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if i%2 == 0 {
				b.put("com.example.Comes", role("echo", "com.example.Comes"))
			} else if err := os.Remove(b.file("com.example.Comes")); err != nil {
				t.Error(err)
			}
			if err := b.daemon.Reload(); err != nil {
				t.Error(err)
			}
		}
	})
	running.Wait()
	close(done)
	administrator.Wait()
	// Nothing is left of what waited.
	c := b.connect()
	for _, name := range names[4:] {
		if got := c.ask(c.to(name, "Echo", "x")); got != "method_return x" && !expectedFailure(got) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// expectedFailure reports whether an error is one that may come of what happens in TestEveryCallIsAnswered.
func expectedFailure(text string) bool {
	for _, reason := range []string{
		"NoReply Message recipient disconnected from message bus without replying",
		"Spawn.ChildExited Process com.example.Exits exited with status 3",
		"Spawn.ExecFailed Failed to execute program com.example.None",
		"ServiceUnknown The name com.example.",
	} {
		if strings.HasPrefix(text, "error "+reason) {
			return true
		}
	}
	return false
}
