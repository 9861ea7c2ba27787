//go:build conformance

package limits

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// long makes a call of the bus with a body of some length, to which the answer is an error. It arrives all the same.
func long(size int) *peer.Message {
	return peer.DriverCall("NoSuchMethod", "s", strings.Repeat("x", size))
}

// beginning returns a message without its end.
func beginning(m *peer.Message, size int) []byte { return m.Encode()[:size] }

// files returns so many descriptors.
func files(n int) []int {
	fds := make([]int, n)
	for i := range fds {
		fds[i] = int(os.Stdin.Fd())
	}
	return fds
}

// quiet is a message to c that nobody answers.
func quiet(c *peer.Client, size int) *peer.Message {
	return peer.Call(c.Name, "/", "org.example.I", "Call", "s", strings.Repeat("x", size)).WithFlags(1)
}

// fill sends m until a call to the same receiver is refused, and returns the text.
func (w *world) fill(c *peer.Client, m func() *peer.Message) string {
	w.t.Helper()
	for range 10_000 {
		serial, err := c.Send(m())
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := c.Send(peer.DriverCall("GetId", "")); err != nil {
			w.t.Fatal(err)
		}
		for {
			got, err := c.Receive()
			if err != nil {
				w.t.Fatal(err)
			}
			if got.Type == peer.TypeError && got.ReplySerial() == serial {
				return got.ErrorText()
			}
			if got.Type == peer.TypeReply {
				break
			}
		}
	}
	w.t.Fatal("nothing is refused")
	return ""
}

// another connects once more as a user.
func (w *world) another(uid uint32) *peer.Client { w.t.Helper(); return w.as(uid, peer.Connect) }

// hello authenticates and says Hello, and returns the answer.
func (w *world) hello(uid uint32) *peer.Message {
	w.t.Helper()
	c := w.as(uid, peer.Dial)
	answer, err := c.Call(peer.DriverCall("Hello", ""))
	if err != nil {
		w.t.Fatal(err)
	}
	return answer
}

func TestLimits(t *testing.T) {
	tests := []struct {
		limit string // name=value
		// reach has mallory reach the limit. It returns the error, "" if mallory is disconnected or waits.
		reach func(w *world) string
		// same has alice do what mallory may not any more; nil if it is a limit for all.
		same func(w *world, c *peer.Client)
		says []string // words that the error (if there is one) and the log have, beside the limit
	}{
		{
			limit: "max_incoming_bytes=100000",
			reach: func(w *world) string {
				c := w.another(mallory)
				c.Write(beginning(long(300_000), 200_000))
				w.gone(c)
				return ""
			},
			same: func(w *world, c *peer.Client) { c.Call(long(90_000)) },
			says: []string{"disconnecting :1.3 of user 64001", "have not arrived in full"},
		},
		{
			limit: "max_incoming_unix_fds=2",
			reach: func(w *world) string {
				c := w.another(mallory)
				c.WriteFDs(beginning(quiet(w.bob, 10).WithFDs(files(3)...), 20), files(3)...)
				w.gone(c)
				return ""
			},
			same: func(w *world, c *peer.Client) { c.Send(quiet(w.bob, 10).WithFDs(files(3)...)) },
			says: []string{"disconnecting :1.3 of user 64001", "3 file descriptors wait"},
		},
		{
			limit: "max_outgoing_bytes=100000",
			reach: func(w *world) string {
				return w.fill(w.another(mallory), func() *peer.Message { return quiet(w.bob, 10_000) })
			},
			same: func(w *world, c *peer.Client) { c.Send(quiet(w.bob, 10_000)) },
			says: []string{"user 64001 already has", "in the queue of connection :1.1 of user 0", "sent by :1.3"},
		},
		{
			limit: "max_outgoing_unix_fds=20",
			reach: func(w *world) string {
				c := w.another(mallory)
				return w.fill(c, func() *peer.Message { return quiet(w.bob, 10_000).WithFDs(files(3)...) })
			},
			same: func(w *world, c *peer.Client) { c.Send(quiet(w.bob, 10).WithFDs(files(3)...)) },
			says: []string{"user 64001 already has 18 file descriptors in the queue of connection :1.1 of user 0", "sent by :1.3"},
		},
		{
			limit: "max_message_size=5000",
			reach: func(w *world) string {
				c := w.another(mallory)
				c.Send(long(6000))
				w.gone(c)
				return ""
			},
			same: func(w *world, c *peer.Client) { c.Call(long(4000)) },
			says: []string{"disconnecting :1.3 of user 64001", "a message has 6"},
		},
		{
			limit: "max_message_unix_fds=2",
			reach: func(w *world) string {
				c := w.another(mallory)
				c.Send(quiet(w.bob, 10).WithFDs(files(3)...))
				w.gone(c)
				return ""
			},
			same: func(w *world, c *peer.Client) { c.Send(quiet(w.bob, 10).WithFDs(files(2)...)) },
			says: []string{"disconnecting :1.3 of user 64001", "3 file descriptors"},
		},
		{
			limit: "auth_timeout=500",
			reach: func(w *world) string {
				w.gone(w.as(mallory, peer.DialRaw))
				return ""
			},
			says: []string{"disconnecting a peer of user 64001", "has not said Hello in time"},
		},
		{
			limit: "pending_fd_timeout=500",
			reach: func(w *world) string {
				c := w.another(mallory)
				c.WriteFDs(beginning(quiet(w.bob, 10).WithFDs(files(1)...), 20), files(1)...)
				w.gone(c)
				return ""
			},
			same: func(w *world, c *peer.Client) { c.Send(quiet(w.bob, 10).WithFDs(files(1)...)) },
			says: []string{"disconnecting :1.3 of user 64001", "descriptors without their message"},
		},
		{
			limit: "max_completed_connections=4",
			reach: func(w *world) string {
				w.another(mallory)
				w.another(mallory)
				return w.hello(mallory).ErrorText()
			},
			says: []string{"4"},
		},
		{
			limit: "max_incomplete_connections=2",
			reach: func(w *world) string {
				for range 3 { // of which one waits
					w.as(mallory, peer.DialRaw)
				}
				return ""
			},
			same: func(w *world, c *peer.Client) { w.works(w.another(alice)) },
			says: []string{"user 64001 has 2 connections that have not said Hello", "the next ones wait"},
		},
		{
			limit: "max_connections_per_user=2",
			reach: func(w *world) string {
				w.another(mallory)
				w.another(mallory)
				return w.hello(mallory).ErrorText()
			},
			same: func(w *world, c *peer.Client) { w.works(w.another(alice)) },
			says: []string{"user 64001 has 2 connections"},
		},
		{
			limit: "max_names_per_connection=3",
			reach: func(w *world) string {
				c := w.another(mallory)
				for n := range 2 {
					c.Call(peer.DriverCall("RequestName", "su", fmt.Sprintf("org.example.N%d", n), uint32(0)))
				}
				return w.refused(c, peer.DriverCall("RequestName", "su", "org.example.M", uint32(0)))
			},
			same: func(w *world, c *peer.Client) {
				answer, err := c.Call(peer.DriverCall("RequestName", "su", "org.example.M", uint32(0)))
				if err != nil || answer.Type != peer.TypeReply {
					w.t.Errorf("alice gets %v, %v", answer, err)
				}
			},
			says: []string{`Connection ":1.3" is not allowed to own more services`, "user 64001", "3"},
		},
		{
			limit: "max_match_rules_per_connection=2",
			reach: func(w *world) string {
				c := w.another(mallory)
				for range 2 {
					c.Call(peer.DriverCall("AddMatch", "s", "type='signal'"))
				}
				return w.refused(c, peer.DriverCall("AddMatch", "s", "type='signal'"))
			},
			same: func(w *world, c *peer.Client) {
				answer, err := c.Call(peer.DriverCall("AddMatch", "s", "type='signal'"))
				if err != nil || answer.Type != peer.TypeReply {
					w.t.Errorf("alice gets %v, %v", answer, err)
				}
			},
			says: []string{`Connection ":1.3" is not allowed to add more match rules`, "user 64001"},
		},
		{
			limit: "max_replies_per_connection=2",
			reach: func(w *world) string {
				c := w.another(mallory)
				for range 2 {
					c.Send(peer.Call(w.bob.Name, "/", "org.example.I", "Call", ""))
				}
				return w.refused(c, peer.Call(w.bob.Name, "/", "org.example.I", "Call", ""))
			},
			same: func(w *world, c *peer.Client) { c.Send(peer.Call(w.bob.Name, "/", "org.example.I", "Call", "")) },
			says: []string{"calls of connection :1.3 of user 64001 wait for a reply", "most of them for :1.1"},
		},
	}
	for _, test := range tests {
		name, _, _ := strings.Cut(test.limit, "=")
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.limit)
			c := w.another(alice)
			w.works(c)
			text := test.reach(w)
			if test.same != nil {
				test.same(w, c)
			}
			for {
				got, err := c.ReceiveWithin(0)
				if err != nil {
					break
				}
				if got.Type == peer.TypeError && !strings.Contains(got.ErrorText(), "UnknownMethod") {
					t.Errorf("alice is told %s", got.ErrorText())
				}
			}
			w.works(c)
			says := append(test.says, name)
			testbus.Eventually(w.t, "the log says all", func() bool {
				for line := range strings.Lines(w.log.String()) {
					if strings.Contains(line, "a limit was reached") && containsAll(strings.ReplaceAll(line, `\"`, `"`), append(says, "uid=64001")) {
						return true
					}
				}
				return false
			})
			if text != "" && !containsAll(text, append(says, test.limit)) {
				t.Errorf("the error is %q\nwant %q in it", text, says)
			}
			if name != "max_completed_connections" {
				if got := w.reached(name); !strings.Contains(got, "64001") {
					t.Errorf("Debug.Stats says %s", got)
				}
			}
		})
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// The bus ends calls that take longer than its configuration permits; who made them waits for no longer.
func TestReplyTimeout(t *testing.T) {
	w := newWorld(t, "reply_timeout=500")
	c := w.another(mallory)
	answer, err := c.Call(peer.Call(w.bob.Name, "/", "org.example.I", "Call", ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.ErrorText(); !strings.Contains(got, "NoReply") || !strings.Contains(got, "Message did not receive a reply (timeout by message bus)") {
		t.Errorf("the answer is %s", got)
	}
	w.works(c)
	w.works(w.bob)
	if got, want := w.reached("reply_timeout"), "connection :1.1 of user 0 has not answered call 2 of connection :1.2 of user 64001 in time"; !strings.Contains(got, want) {
		t.Errorf("Debug.Stats says %s, want %q", got, want)
	}
}

// A reload changes the limits of the connections that are there.
func TestLimitsChangeAtReload(t *testing.T) {
	w := newWorld(t, "max_match_rules_per_connection=1")
	c := w.another(mallory)
	rule := func() *peer.Message { return peer.DriverCall("AddMatch", "s", "type='signal'") }
	c.Call(rule())
	w.refused(c, rule())
	for _, step := range []struct {
		limit string
		more  int // rules that may be added
	}{{"max_match_rules_per_connection=3", 2}, {"max_match_rules_per_connection=2", 0}, {"max_match_rules_per_connection=4", 1}} {
		if err := os.WriteFile(w.file, []byte(configuration(step.limit)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.daemon.Reload(); err != nil {
			t.Fatal(err)
		}
		for range step.more {
			if answer, err := c.Call(rule()); err != nil || answer.Type != peer.TypeReply {
				t.Fatalf("with %s: %v, %v", step.limit, answer, err)
			}
		}
		if got := w.refused(c, rule()); !strings.Contains(got, step.limit) {
			t.Errorf("with %s the error is %s", step.limit, got)
		}
	}
}
