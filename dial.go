package kdbus

import (
	"context"
	"errors"
	"fmt"
	"os"

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
	if err := d.negotiate(ctx, s, a.GUID()); err != nil {
		s.close()
		return nil, err
	}
	c := newConn(newStream(s), d)
	c.registry = busObject{c.Object(busName, busPath)}
	go c.read()
	if c.name, err = Call[string](ctx, c.registry.(busObject).object, busName+".Hello"); err != nil {
		c.fail(ErrClosed)
		<-c.ended
		return nil, fmt.Errorf("the bus did not answer Hello: %w", err)
	}
	return c, nil
}

// negotiate authenticates, until ctx ends.
func (d *Dialer) negotiate(ctx context.Context, s *socket, guid string) error {
	stop := context.AfterFunc(ctx, s.shutdown)
	err := authenticate(s, guid)
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
