package daemon_test

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/daemon"
)

// BenchmarkPipeline measures what a message costs the bus when many come together: 64 calls that want
// no answer are written at once and read by their receiver.
func BenchmarkPipeline(b *testing.B) {
	const calls = 64
	for name, connect := range senders {
		b.Run(name, func(b *testing.B) {
			d, err := daemon.Start(daemon.Config{Addresses: []string{"unix:path=" + filepath.Join(b.TempDir(), "bus")}})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Shutdown()
			path, _ := d.Addresses()[0].Get("path")
			from := connect(b, path)
			to := dialUnixReceiver(b, name, path)
			var batch []byte
			for i := range uint64(calls) {
				batch = append(batch, from.signal(i+1, to.id)...)
			}
			out := from.stream()
			if _, err := out.Write(batch); err != nil {
				b.Fatal(err)
			}
			size := to.measure(b, calls)
			buf := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := out.Write(batch); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(to.conn, buf); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*calls), "ns/message")
		})
	}
}

// receiver is a connection whose incoming bytes are only counted.
type receiver struct {
	id   uint64
	conn io.Reader
}

func dialUnixReceiver(b *testing.B, kind, path string) receiver {
	if kind == "native" {
		c := newNativeSender(b, path)
		return receiver{c.ID, c.conn}
	}
	c := newDBusSender(b, path)
	return receiver{2, c.conn}
}

// measure reads what n messages are on the wire, and returns how many bytes that is.
func (r receiver) measure(b *testing.B, n int) (size int) {
	b.Helper()
	seen := 0
	buf := make([]byte, 1<<20)
	for seen < n {
		got, err := r.conn.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; i+len("com.example.Metadata") <= got; i++ {
			if string(buf[i:i+len("com.example.Metadata")]) == "com.example.Metadata" {
				seen++
			}
		}
		size += got
	}
	return size
}
