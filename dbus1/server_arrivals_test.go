package dbus1_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/wire"
)

// Peers that have not said Hello, more of them than one user may have: the others wait.

// arrive returns clients that have connected and said nothing, and waits until the server has seen them.
func (s *testServer) arrive(t *testing.T, n, begun, waiting int) []*client {
	t.Helper()
	var all []*client
	for range n {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		all = append(all, c)
	}
	eventually(t, "all have been seen", func() bool {
		for _, count := range s.Arrivals() {
			return count.Begun == begun && count.Waiting == waiting
		}
		return begun == 0
	})
	return all
}

func limitArrivals(n int) func(*dbus1.Config) {
	return func(c *dbus1.Config) { c.Limits.MaxIncompleteConnections = n }
}

// answered reports whether the server answers in time.
func (c *client) answered(within time.Duration) bool {
	c.conn.SetReadDeadline(time.Now().Add(within))
	_, err := io.ReadFull(c.conn, make([]byte, len("REJECTED EXTERNAL\r\n")))
	return err == nil
}

func TestWhoWaitsIsNextWhenTheLimitIsRaised(t *testing.T) {
	s := startServer(t, limitArrivals(1))
	all := s.arrive(t, 3, 1, 2)
	for _, c := range all {
		c.write([]byte("\x00AUTH\r\n"))
	}
	s.SetLimits(dbus1.Limits{MaxIncompleteConnections: 3})
	for _, c := range all {
		if !c.answered(patience) {
			t.Error("one still waits")
		}
	}
	s.arrive(t, 0, 3, 0)
}

func TestWhoWaitsComesInTurn(t *testing.T) {
	s := startServer(t, limitArrivals(1))
	all := s.arrive(t, 4, 1, 3)
	all[2].close() // nobody notices before it is its turn
	for i, c := range all {
		if i == 2 {
			continue
		}
		if err := c.authenticate(false); err != nil {
			t.Fatal(err)
		}
		if err := c.hello(); err != nil {
			t.Fatal(err)
		}
		c.must(t, "GetId")
	}
	s.arrive(t, 0, 0, 0)
}

func TestWhoWaitsIsTurnedAwayWhenTheServerEnds(t *testing.T) {
	s := startServer(t, limitArrivals(1))
	all := s.arrive(t, 3, 1, 2)
	before := openFiles(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if err := c.disconnected(); err != nil {
			t.Error(err)
		}
	}
	if after := openFiles(t); after > before-len(all) {
		t.Errorf("there are %d open files, there were %d with %d connections", after, before, len(all))
	}
}

// What the statistics say of users who have nothing but connections that say nothing.
func TestStatisticsOfPeersThatWait(t *testing.T) {
	s := startServer(t)
	c := s.connect(t)
	s.SetLimits(dbus1.Limits{MaxIncompleteConnections: 2})
	s.arrive(t, 5, 2, 3)
	var stats map[string]wire.Variant
	if err := c.must(t, "Debug.GetStats").Decode(&stats); err != nil {
		t.Fatal(err)
	}
	for _, user := range stats["Users"].Value.(map[uint32]map[string]uint64) {
		if user["IncompleteConnections"] != 2 || user["WaitingConnections"] != 3 || user["LimitsReached"] != 3 {
			t.Errorf("%v", user)
		}
	}
	if got := stats["Limits"].Value.(map[string]int64)["max_incomplete_connections"]; got != 2 {
		t.Errorf("the limit is %d", got)
	}
	reached := stats["LimitsReached"].Value.(map[string]map[string]wire.Variant)["max_incomplete_connections"]
	if reached["Times"].Value != uint64(3) || reached["LastMax"].Value != int64(2) {
		t.Errorf("%v", reached)
	}
}
