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
	// Impersonate, if not nil, is who the connection passes for. Only the privileged may, root and the
	// user of the bus (EPERM), and only natively ([ErrNotNative]).
	Impersonate *Impersonation
}

// Impersonation is whom a connection passes for, as a proxy does that acts for its own client: what
// others are told of it, with its messages and by [Conn.PeerMetadata], is this, and what is not
// given here is not told at all (kdbus.connection(7), "Creating connections"). With Creds, the connection and what it sends
// are on the account of their UID. What it may do remains what the process that made it may.
type Impersonation struct {
	Creds *abi.Creds // all eight ids; abi.IDUnset is one that is not known
	PIDs  *abi.PIDs
	// SecLabel is the label of a security module, such as SELinux.
	SecLabel string
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
	if d.Impersonate != nil {
		return d.dial(ctx, addr, "no bus", func(ctx context.Context, c *Conn) error { return c.hello(ctx, d.hello()) })
	}
	return d.dial(ctx, addr, "no bus", nil)
}

// ErrNotNative: what was asked for is not known to D-Bus 1, and the connection does not, or would not,
// speak the native protocol.
var ErrNotNative = errors.New("this takes the native protocol of kdbus, and the connection speaks D-Bus 1")

// joinFunc joins a bus on a connection that is native, in the way that a special kind of connection does.
type joinFunc func(ctx context.Context, c *Conn) error

// dial connects to one of the buses at addr; what failed, if it does, is said by failure. With join, the
// connection is native or there is none.
func (d *Dialer) dial(ctx context.Context, addr, failure string, join joinFunc) (*Conn, error) {
	list, err := address.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("kdbus: %w", err)
	}
	var failures []error
	for _, a := range list {
		c, err := d.dialOne(ctx, a, join)
		if err == nil {
			return c, nil
		}
		failures = append(failures, fmt.Errorf("kdbus: %s at %s: %w", failure, a, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (d *Dialer) dialOne(ctx context.Context, a address.Address, join joinFunc) (*Conn, error) {
	s, err := connectSocket(ctx, a)
	if err != nil {
		return nil, err
	}
	native, id, err := d.negotiate(ctx, s, a.GUID())
	if err == nil && !native && join != nil {
		err = ErrNotNative
	}
	if err != nil {
		s.close()
		return nil, err
	}
	c := newConn(d)
	c.serverID = id
	bus := busObject{c.Object(busName, busPath)}
	switch {
	case native:
		c.transport, c.registry = newFrames(s, c), &nativeBus{busObject: bus}
		if join == nil {
			join = func(ctx context.Context, c *Conn) error { return c.hello(ctx, d.hello()) }
		}
	default:
		c.transport, c.registry = newStream(s), bus
		join = func(ctx context.Context, c *Conn) (err error) {
			if c.name, err = Call[string](ctx, bus.object, busName+".Hello"); err != nil {
				err = fmt.Errorf("say Hello: %w", err)
			}
			return err
		}
	}
	go c.read()
	if err = join(ctx, c); err != nil {
		c.fail(ErrClosed)
		<-c.ended
		return nil, err
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
