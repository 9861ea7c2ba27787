package testbus

import (
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// Connect gives the test a connection of its own, which is closed when the test ends.
func (b *Bus) Connect(tb testing.TB) *peer.Client {
	tb.Helper()
	c, err := peer.Connect(b.Address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// Eventually waits for what has to come about and tells nobody that it has.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(peer.Timeout); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("in vain: %s", what)
		}
	}
}
