//go:build conformance

// Package activation holds the starting of services against dbus-daemon's: the same configuration, the
// same .service files, the same messages, and the answers have to be the same, error names and words
// included.
package activation

import (
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { testbus.Main(m) }
