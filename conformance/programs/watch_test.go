//go:build conformance

package programs

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// watcher is a monitor of the bus, by which a test knows how far the programs have come.
type watcher struct{ *peer.Client }

func monitor(t *testing.T, bus *testbus.Bus) watcher {
	t.Helper()
	c := bus.Connect(t)
	r, err := c.Call(peer.Call(peer.DriverName, peer.DriverPath, peer.MonitorIface, "BecomeMonitor", "asu", []string{}, uint32(0)))
	if err != nil || r.Type != peer.TypeReply {
		t.Fatalf("BecomeMonitor: %v, %v", r, err)
	}
	return watcher{c}
}

// await waits until a call or signal with that member has passed.
func (w watcher) await(t *testing.T, member string) *peer.Message {
	t.Helper()
	m, err := w.ReceiveMatching(func(m *peer.Message) bool { return m.Text(peer.FieldMember) == member })
	if err != nil {
		t.Fatalf("waiting for %s: %v", member, err)
	}
	return m
}

// awaitOverheard waits until m prints calls that are not for it.
func awaitOverheard(t *testing.T, bus *testbus.Bus, m *program.Process) {
	t.Helper()
	c := bus.Connect(t)
	testbus.Eventually(t, "calls are overheard", func() bool {
		if _, err := c.Call(peer.Call("com.example.Echo", "/", "com.example.Probe", "Probe", "")); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(m.Text(), "Probe")
	})
}

// busWithoutMonitors returns the address of a relay in front of bus on which the interface
// org.freedesktop.DBus.Monitoring is unknown, as on buses before 2015: it changes the name of the
// interface in whatever the client sends. It passes no file descriptors.
func busWithoutMonitors(t *testing.T, bus *testbus.Bus) (address string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "relay")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", bus.SocketPath())
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				defer client.Close()
				_, _ = io.Copy(client, server)
			}()
			go func() {
				defer server.Close()
				forgetMonitoring(server, client)
			}()
		}
	}()
	return "unix:path=" + path
}

// forgetMonitoring copies what comes until either side ends. Programs write a message at a time, so
// the name is never split between two reads.
func forgetMonitoring(dst io.Writer, src io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		if _, err := dst.Write(bytes.ReplaceAll(buf[:n], []byte("DBus.Monitoring\x00"), []byte("DBus.Monitor_ng\x00"))); err != nil {
			return
		}
	}
}
