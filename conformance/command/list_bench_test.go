//go:build conformance

package command

import (
	"fmt"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// BenchmarkList measures how long it takes to list a bus with a few services, and one with many: kdbus is
// to take no more than 1.2 times as long as busctl. Compare with -benchtime=20x.
func BenchmarkList(b *testing.B) {
	for _, kind := range []testbus.Kind{testbus.KDBus, testbus.DBusDaemon} {
		for _, services := range []int{1, 300} {
			bus := testbus.StartKind(b, kind, testbus.Options{})
			startPlayer(b, bus)
			for i := 1; i < services; i++ {
				conn, err := (&kdbus.Dialer{DBus1: i%2 == 0}).Dial(b.Context(), bus.Address)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { conn.Close() })
				if _, err := conn.RequestName(b.Context(), fmt.Sprintf("com.example.Service%d", i), 0); err != nil {
					b.Fatal(err)
				}
			}
			for _, command := range []struct{ name, path string }{{"busctl", "busctl"}, {"kdbus", kdbusCommand}} {
				b.Run(fmt.Sprintf("on %s/%d services/%s", kind, services, command.name), func(b *testing.B) {
					for b.Loop() {
						run(b, bus, command.path, "list", "--user", "--no-pager")
					}
				})
			}
		}
	}
}
