//go:build conformance

// Package driver compares the bus under test with dbus-daemon, exchange by exchange: every
// scenario is played against both, each on a bus of its own, and what all its clients receive, in
// the order they receive it, must be the same. Nothing is written down of what dbus-daemon
// answers; it is asked every time.
//
// A scenario (the scenarios_*_test.go files) is a function that moves a few clients; session_test.go
// records what arrives at them, transcript_test.go writes it down, compare_test.go compares it, and
// deviations_list_test.go has the differences that are on purpose.
package driver

import (
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { testbus.Main(m) }
