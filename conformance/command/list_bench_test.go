//go:build conformance

package command

import (
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// BenchmarkList measures how long it takes to list a bus with a few services: kdbus is to take no more
// than 1.2 times as long as busctl. Compare with -benchtime=20x.
func BenchmarkList(b *testing.B) {
	bus := testbus.StartKind(b, testbus.KDBus, testbus.Options{})
	startPlayer(b, bus)
	for _, command := range []struct{ name, path string }{{"busctl", "busctl"}, {"kdbus", kdbusCommand}} {
		b.Run(command.name, func(b *testing.B) {
			for b.Loop() {
				run(b, bus, command.path, "list", "--user", "--no-pager")
			}
		})
	}
}
