package daemon_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// BenchmarkMetadata measures one message from one native client to another, on an otherwise idle
// bus, with what the receiver wants to know of the sender. "nobody-asks" and "never-permitted", where
// the bus permits no metadata at all, are the same work: that is what it costs when nobody asks. What
// a kind costs is the difference to that.
//
// All are measured side by side, in turns, so that what else the machine does is the same for all; each
// figure is the median of its turns, in ns for a message.
func BenchmarkMetadata(b *testing.B) {
	const turn = 100 // messages
	type row struct {
		name  string
		pair  *metadataPair
		turns []float64
	}
	rows := []row{
		{"never-permitted", newMetadataPair(b, false, 0, 0), nil},
		{"nobody-asks", newMetadataPair(b, true, 0, 0), nil},
		{"another-asks", newMetadataPair(b, true, 0, abi.AttachAll), nil},
	}
	for kind := abi.AttachTimestamp; kind <= abi.AttachConnDescription; kind <<= 1 {
		rows = append(rows, row{kind.String(), newMetadataPair(b, true, kind, 0), nil})
	}
	rows = append(rows, row{"everything", newMetadataPair(b, true, abi.AttachAll, 0), nil})
	for b.Loop() {
		for i := range rows {
			start := time.Now()
			for range turn {
				rows[i].pair.pass(b)
			}
			rows[i].turns = append(rows[i].turns, float64(time.Since(start).Nanoseconds())/turn)
		}
	}
	for _, r := range rows {
		slices.Sort(r.turns)
		b.ReportMetric(r.turns[len(r.turns)/2], r.name)
	}
	b.ReportMetric(0, "ns/op") // of all of them together: nobody's
}

// metadataPair is a bus with a sender and a receiver.
type metadataPair struct {
	from, to *nativetest.Client
	frame    []byte
}

// newMetadataPair has the receiver ask for some kinds, and a third client, who is sent nothing, for
// others.
func newMetadataPair(b *testing.B, permitted bool, receiver, other abi.AttachFlags) *metadataPair {
	config := daemon.Config{Addresses: []string{"unix:path=" + filepath.Join(b.TempDir(), "bus")}}
	if !permitted {
		config.Metadata = new(meta.Kinds)
	}
	d, err := daemon.Start(config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.Shutdown)
	path, _ := d.Addresses()[0].Get("path")
	dial := func(want abi.AttachFlags) *nativetest.Client {
		c, err := nativetest.Dial(path)
		if err == nil {
			b.Cleanup(c.Close)
			err = c.Hello(abi.Hello{AttachFlagsRecv: want, Description: "benchmark"})
		}
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	p := &metadataPair{to: dial(receiver), from: dial(0)}
	dial(other)
	if _, err := p.from.Do(&abi.NameAcquire{Name: "com.example.Benchmark"}); err != nil {
		b.Fatal(err)
	}
	o := nativetest.Outgoing{Message: abi.Message{DstID: p.to.ID, Cookie: 1}, Body: make([]byte, 100)}
	p.frame, _ = p.from.Request(abi.CmdSend, abi.FrameQuiet, 0, o.Encode()...)
	return p
}

// pass has one message go from one to the other.
func (p *metadataPair) pass(b *testing.B) {
	if err := p.from.Write(p.frame); err != nil {
		b.Fatal(err)
	}
	if _, err := p.to.Recv(); err != nil {
		b.Fatal(fmt.Errorf("receive a message: %w", err))
	}
}
