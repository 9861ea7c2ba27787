package transport_test

import (
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/transport"
)

// dawdler is a protocol whose frames are a length, in four bytes, and text. It tells of each, and goes
// on when it is told to.
type dawdler struct {
	peer    *transport.Peer
	entered chan<- string
	proceed <-chan struct{}
}

func (d *dawdler) HeaderSize() int                              { return 4 }
func (d *dawdler) FrameSize(b []byte) (int, error)              { return 4 + int(binary.BigEndian.Uint32(b)), nil }
func (d *dawdler) MaxFDs() int                                  { return 0 }
func (d *dawdler) Encode(e *transport.Encoding, m *bus.Message) { e.Pieces(m.Payload) }
func (d *dawdler) Frame(raw []byte, owned bool, free func()) error {
	d.peer.TakeLong()
	d.entered <- string(raw[4:])
	<-d.proceed
	return nil
}

// More peers than there can be workers are all being handled at the same time.
func TestWhoTakesLongKeepsNobodyElse(t *testing.T) {
	entered, proceed := make(chan string), make(chan struct{})
	server, err := transport.NewServer(transport.Config{
		Endpoint: bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{}).Endpoint(),
		DBus1:    func(p *transport.Peer) transport.Protocol { return &dawdler{p, entered, proceed} },
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(t.TempDir(), "socket")})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go server.Serve(l, "0123456789abcdef0123456789abcdef")
	peers := 2*runtime.NumCPU() + 2
	for range peers {
		c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		write(t, c, append([]byte("\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"), append(frame("first"), frame("second")...)...))
	}
	for range peers {
		if got := <-entered; got != "first" {
			t.Errorf("%q is handled before the first is done", got)
		}
	}
	close(proceed)
	for range peers {
		if got := <-entered; got != "second" {
			t.Errorf("%q follows the first", got)
		}
	}
	if err := server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
