package kdbus_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/kdbus-go/kdbus"
)

// The benchmarks run on a bus in a process of its own; client and service are in this one, and
// allocations are theirs. godbus is there to compare with.

func BenchmarkCall(b *testing.B) {
	b.Run("kdbus", func(b *testing.B) {
		_, _, obj := serveEcho(b, startBusProcess(b))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := kdbus.Call[string](context.Background(), obj, echoIface+".Say", "hello"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("godbus", func(b *testing.B) {
		obj := godbusEcho(b, startBusProcess(b))
		b.ReportAllocs()
		for b.Loop() {
			var got string
			if err := obj.Call(echoIface+".Say", 0, "hello").Store(&got); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkClient calls the bus itself, so that only one side of the call is the library's.
func BenchmarkClient(b *testing.B) {
	b.Run("kdbus", func(b *testing.B) {
		c := dial(b, startBusProcess(b))
		obj := c.Object("org.freedesktop.DBus", "/org/freedesktop/DBus")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := kdbus.Call[string](context.Background(), obj, "org.freedesktop.DBus.GetNameOwner", "org.freedesktop.DBus"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("godbus", func(b *testing.B) {
		c := godbusConn(b, startBusProcess(b))
		b.ReportAllocs()
		for b.Loop() {
			var got string
			if err := c.BusObject().Call("org.freedesktop.DBus.GetNameOwner", 0, "org.freedesktop.DBus").Store(&got); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkParallelCalls has 64 calls in flight on one connection.
func BenchmarkParallelCalls(b *testing.B) {
	b.Run("kdbus", func(b *testing.B) {
		_, _, obj := serveEcho(b, startBusProcess(b))
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := kdbus.Call[string](context.Background(), obj, echoIface+".Say", "hello"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("godbus", func(b *testing.B) {
		obj := godbusEcho(b, startBusProcess(b))
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				var got string
				if err := obj.Call(echoIface+".Say", 0, "hello").Store(&got); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkPayload calls with an argument of many bytes, which the callee gets and drops: natively,
// where it is a memfd from some size on, and by D-Bus 1.
func BenchmarkPayload(b *testing.B) {
	for _, size := range []int{16 << 10, 64 << 10, 128 << 10, 1 << 20, 16 << 20, 64 << 20} {
		for _, d := range []*kdbus.Dialer{{}, {DBus1: true}} {
			name := "native"
			if d.DBus1 {
				name = "dbus1"
			}
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, name), func(b *testing.B) {
				address := startBusProcess(b)
				c, service := dialWith(b, d, address), dialWith(b, d, address)
				if err := service.Export("/", "a.b", sink{}); err != nil {
					b.Fatal(err)
				}
				payload := make([]byte, size)
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := c.Object(service.Name(), "/").Call(context.Background(), "a.b.Take", payload); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

type sink struct{}

func (sink) Take([]byte) error { return nil }

// BenchmarkSignal emits signals that one subscriber receives.
func BenchmarkSignal(b *testing.B) {
	const window = 64 // signals under way; fewer than any queue holds
	b.Run("kdbus", func(b *testing.B) {
		address := startBusProcess(b)
		emitter, c := dial(b, address), dial(b, address)
		s := must(c.Subscribe(context.Background(), kdbus.Match{Interface: "a.b"}, 2*window))(b)
		b.ReportAllocs()
		sent, got := 0, 0
		for b.Loop() {
			for ; sent < got+window; sent++ {
				if err := emitter.Emit(context.Background(), "/", "a.b.C", "hello"); err != nil {
					b.Fatal(err)
				}
			}
			var text string
			if err := (<-s.Messages()).Decode(&text); err != nil {
				b.Fatal(err)
			}
			got++
		}
	})
	b.Run("godbus", func(b *testing.B) {
		address := startBusProcess(b)
		emitter, c := godbusConn(b, address), godbusConn(b, address)
		if err := c.AddMatchSignal(dbus.WithMatchInterface("a.b")); err != nil {
			b.Fatal(err)
		}
		signals := make(chan *dbus.Signal, 2*window)
		c.Signal(signals)
		b.ReportAllocs()
		sent, got := 0, 0
		for b.Loop() {
			for ; sent < got+window; sent++ {
				if err := emitter.Emit("/", "a.b.C", "hello"); err != nil {
					b.Fatal(err)
				}
			}
			for s := range signals {
				if s.Name == "a.b.C" {
					break
				}
			}
			got++
		}
	})
}

func godbusConn(b *testing.B, address string) *dbus.Conn {
	c, err := dbus.Connect(address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func godbusEcho(b *testing.B, address string) dbus.BusObject {
	service := godbusConn(b, address)
	say := func(text string) (string, *dbus.Error) { return text, nil }
	if err := service.ExportMethodTable(map[string]any{"Say": say}, echoPath, echoIface); err != nil {
		b.Fatal(err)
	}
	if _, err := service.RequestName(echoName, 0); err != nil {
		b.Fatal(err)
	}
	return godbusConn(b, address).Object(echoName, echoPath)
}
