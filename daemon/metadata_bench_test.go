package daemon_test

import (
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// BenchmarkMetadata measures one message from one native client to another, on an otherwise idle
// bus, with what the receiver wants to know of the sender. "nobody asks" and "never asked for", where
// the bus permits no metadata at all, are the same work: that is what it costs when nobody asks.
func BenchmarkMetadata(b *testing.B) {
	b.Run("never asked for", func(b *testing.B) { benchmarkMetadata(b, false, 0, 0) })
	b.Run("nobody asks", func(b *testing.B) { benchmarkMetadata(b, true, 0, 0) })
	b.Run("somebody else asks", func(b *testing.B) { benchmarkMetadata(b, true, 0, abi.AttachAll) })
	for kind := abi.AttachTimestamp; kind <= abi.AttachConnDescription; kind <<= 1 {
		b.Run(kind.String(), func(b *testing.B) { benchmarkMetadata(b, true, kind, 0) })
	}
	b.Run("everything", func(b *testing.B) { benchmarkMetadata(b, true, abi.AttachAll, 0) })
}

// benchmarkMetadata has the receiver ask for some kinds, and a third client, who is sent nothing, for
// others.
func benchmarkMetadata(b *testing.B, permitted bool, receiver, other abi.AttachFlags) {
	config := daemon.Config{Addresses: []string{"unix:path=" + filepath.Join(b.TempDir(), "bus")}}
	if !permitted {
		config.Metadata = new(meta.Kinds)
	}
	d, err := daemon.Start(config)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Shutdown()
	path, _ := d.Addresses()[0].Get("path")
	dial := func(want abi.AttachFlags) *nativetest.Client {
		c, err := nativetest.Dial(path)
		if err == nil {
			err = c.Hello(abi.Hello{AttachFlagsRecv: want, Description: "benchmark"})
		}
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	to, from := dial(receiver), dial(0)
	defer to.Close()
	defer from.Close()
	defer dial(other).Close()
	if _, err := from.Do(&abi.NameAcquire{Name: "com.example.Benchmark"}); err != nil {
		b.Fatal(err)
	}
	o := nativetest.Outgoing{Message: abi.Message{DstID: to.ID, Cookie: 1}, Body: make([]byte, 100)}
	frame, _ := from.Request(abi.CmdSend, abi.FrameQuiet, 0, o.Encode()...)
	for b.Loop() {
		if err := from.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := to.Recv(); err != nil {
			b.Fatal(err)
		}
	}
}
