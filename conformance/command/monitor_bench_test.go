//go:build conformance

package command

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// perSecond is how many messages a monitor has to keep up with.
const perSecond = 50_000

// BenchmarkMonitor has a monitor write to a file what somebody emits at that pace, and reports how
// many messages it has missed and how many were printed per second until the last. Run it with
// -benchtime=250000x, which takes five seconds.
func BenchmarkMonitor(b *testing.B) {
	for _, form := range []struct {
		name string
		args []string
	}{{"text", nil}, {"json", []string{"--json=short"}}} {
		b.Run(form.name, func(b *testing.B) {
			bus := testbus.StartKind(b, testbus.KDBus, testbus.Options{})
			conn, err := kdbus.Dial(b.Context(), bus.Address)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			file, err := os.Create(filepath.Join(b.TempDir(), "printed"))
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			monitor := exec.Command(kdbusCommand, append([]string{"monitor", "--user", "--match=interface='a.b'"}, form.args...)...)
			said := output{ready: make(chan struct{})}
			var diagnostics bytes.Buffer
			monitor.Env, monitor.Stdout, monitor.Stderr = environ(bus), file, &both{&said, &diagnostics}
			if err := monitor.Start(); err != nil {
				b.Fatal(err)
			}
			<-said.ready
			b.ResetTimer()
			start := time.Now()
			for sent := 0; sent < b.N; {
				due := min(b.N, int(time.Since(start).Seconds()*perSecond)+1)
				for ; sent < due; sent++ {
					if err := conn.Emit(b.Context(), "/com/example/Player", "a.b.Tick", "a text of some words", uint32(sent)); err != nil {
						b.Fatal(err)
					}
				}
				time.Sleep(time.Millisecond)
			}
			sending := time.Since(start)
			if err := conn.Emit(b.Context(), "/", "a.b.Last"); err != nil {
				b.Fatal(err)
			}
			for !endsWith(b, file, "Last") {
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "printed/s")
			b.ReportMetric(float64(b.N)/sending.Seconds(), "sent/s")
			monitor.Process.Signal(syscall.SIGTERM)
			if err := monitor.Wait(); err != nil {
				b.Fatal(err)
			}
			if bytes.Contains(diagnostics.Bytes(), []byte("missed")) {
				b.Errorf("%s", diagnostics.Bytes())
			}
		})
	}
}

// both writes to two.
type both struct {
	first  *output
	second *bytes.Buffer
}

func (w *both) Write(p []byte) (int, error) {
	w.second.Write(p)
	return w.first.Write(p)
}

// endsWith reports whether text is near the end of a file.
func endsWith(b *testing.B, file *os.File, text string) bool {
	info, err := file.Stat()
	if err != nil {
		b.Fatal(err)
	}
	tail := make([]byte, min(info.Size(), 64<<10))
	if _, err := file.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		b.Fatal(err)
	}
	return bytes.Contains(tail, []byte(text))
}
