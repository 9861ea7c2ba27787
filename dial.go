package kdbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/address"
)

// Dialer makes connections. The zero value is good for most programs, and is what the
// functions of the same names use.
type Dialer struct {
	// Handlers is how many methods of exported objects may run at a time; 0 means 16. With 1
	// they run one after the other, in the order in which the calls arrived.
	Handlers int
	// QueuedCalls is how many incoming calls may wait for one of the Handlers; 0 means 1024.
	// What comes when all places are taken is answered with the error LimitsExceeded.
	QueuedCalls int
	// Metadata is what the bus is to tell of the senders of messages, see [Message.Metadata]. What
	// nobody asks for is not even looked up. A bus that speaks D-Bus 1 tells nothing.
	Metadata abi.AttachFlags
	// Description tells people what the connection is for: up to 63 letters, digits, '_', and
	// within also '-' and '.'; by default the name of the program. On D-Bus 1 it is not used.
	Description string
	// DBus1 has the connection speak D-Bus 1, even if the bus can do more. KDBUS=0 in the
	// environment does so, and kdbus=0 on the command line of the kernel.
	DBus1 bool
}

const (
	defaultHandlers    = 16
	defaultQueuedCalls = 1024
)

// Addresses where the standard says that buses are, unless the environment says otherwise.
const systemBusAddress = "unix:path=/run/dbus/system_bus_socket"

// Dial connects to the bus at addr; see [Dialer.Dial].
func Dial(ctx context.Context, addr string) (*Conn, error) {
	return new(Dialer).Dial(ctx, addr)
}

// DialSession connects to the bus of the user's session; see [Dialer.DialSession].
func DialSession(ctx context.Context) (*Conn, error) { return new(Dialer).DialSession(ctx) }

// DialSystem connects to the bus of the machine; see [Dialer.DialSystem].
func DialSystem(ctx context.Context) (*Conn, error) { return new(Dialer).DialSystem(ctx) }

// DialSession connects to the bus of the user's session: at the address in
// DBUS_SESSION_BUS_ADDRESS, else at the socket "bus" in the directory XDG_RUNTIME_DIR.
func (d *Dialer) DialSession(ctx context.Context) (*Conn, error) {
	if addr := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); addr != "" {
		return d.dialFrom(ctx, addr, "DBUS_SESSION_BUS_ADDRESS")
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return nil, errors.New("kdbus: where the session bus is, is not known: " +
			"neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set; run this program in a session, or set the first")
	}
	return d.dialFrom(ctx, address.UnixPath(dir+"/bus").String(), "XDG_RUNTIME_DIR")
}

// DialSystem connects to the bus of the machine: at the address in DBUS_SYSTEM_BUS_ADDRESS, else
// at unix:path=/run/dbus/system_bus_socket.
func (d *Dialer) DialSystem(ctx context.Context) (*Conn, error) {
	if addr := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); addr != "" {
		return d.dialFrom(ctx, addr, "DBUS_SYSTEM_BUS_ADDRESS")
	}
	return d.Dial(ctx, systemBusAddress)
}

// dialFrom dials an address that a variable of the environment has led to.
func (d *Dialer) dialFrom(ctx context.Context, addr, variable string) (*Conn, error) {
	c, err := d.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w (the address comes from %s in the environment)", err, variable)
	}
	return c, nil
}

// Dial connects to the bus at addr, a D-Bus address or a list of them separated by semicolons,
// which are tried in order. The context bounds the dialing, not the connection.
func (d *Dialer) Dial(ctx context.Context, addr string) (*Conn, error) {
	list, err := address.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("kdbus: %w", err)
	}
	var failures []error
	for _, a := range list {
		c, err := d.dialOne(ctx, a)
		if err == nil {
			return c, nil
		}
		failures = append(failures, fmt.Errorf("kdbus: no bus at %s: %w", a, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (d *Dialer) dialOne(ctx context.Context, a address.Address) (*Conn, error) {
	s, err := connectSocket(ctx, a)
	if err != nil {
		return nil, err
	}
	native, id, err := d.negotiate(ctx, s, a.GUID())
	if err != nil {
		s.close()
		return nil, err
	}
	var c *Conn
	var join func() error
	if native {
		c = newConn(d)
		frames := newFrames(s, func(n uint64) { c.dropped.Add(n) })
		c.transport, c.registry = frames, &nativeBus{busObject: busObject{c.Object(busName, busPath)}}
		join = func() error { return c.hello(ctx, frames, d) }
	} else {
		c = newConn(d)
		bus := c.Object(busName, busPath)
		c.transport, c.registry = newStream(s), busObject{bus}
		join = func() (err error) {
			c.name, err = Call[string](ctx, bus, busName+".Hello")
			return err
		}
	}
	c.serverID = id
	go c.read()
	if err = join(); err != nil {
		c.fail(ErrClosed)
		<-c.ended
		return nil, fmt.Errorf("say Hello: %w", err)
	}
	return c, nil
}

// negotiate authenticates, until ctx ends, and says whether the bus speaks the native protocol, and
// the id of the server.
func (d *Dialer) negotiate(ctx context.Context, s *socket, guid string) (native bool, id string, err error) {
	stop := context.AfterFunc(ctx, s.shutdown)
	native, id, err = authenticate(s, guid, !d.DBus1 && os.Getenv("KDBUS") != "0" && !kernelSaysNo())
	if !stop() && ctx.Err() != nil {
		return false, "", ctx.Err()
	}
	return native, id, err
}

// kernelSaysNo reports whether the machine was started with kdbus=0.
var kernelSaysNo = sync.OnceValue(func() bool {
	line, err := os.ReadFile("/proc/cmdline")
	return err == nil && slices.Contains(strings.Fields(string(line)), "kdbus=0")
})

// description returns what the connection is called.
func (d *Dialer) description() string {
	if d.Description != "" {
		return d.Description
	}
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.", r)) {
			return r
		}
		return '_'
	}, filepath.Base(os.Args[0]))
	return strings.Trim(name[:min(len(name), abi.SysnameMaxLen)], "-.")
}
