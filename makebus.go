package kdbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/address"
)

// BusConfig describes a bus to be made.
type BusConfig struct {
	// Domain is the directory of the domain, which `kdbus daemon --domain` serves; "" is [DefaultDomain].
	Domain string
	// Name is the number of this process's user, a hyphen, and anything of letters, digits, '_', and within
	// also '-' and '.': "1000-mine". It is 63 bytes at most, and that of no other bus of the domain.
	Name string
	// Access says who may connect besides the user who makes it: abi.MakeAccessGroup, abi.MakeAccessWorld.
	Access abi.MakeFlags
	// Bloom is the shape of the filters of signals; the zero value is abi.DefaultBloom.
	Bloom abi.BloomParameter
	// Tells is what the bus tells about this process, which made it: see [Conn.BusInfo].
	Tells abi.AttachFlags
	// Required is what peers have to let others learn about them, or the bus does not take them (ECONNREFUSED).
	Required abi.AttachFlags
}

// A Bus is one that this program has made, and that a daemon carries (kdbus.bus(7)). It knows nothing of other buses, has
// no services to start, and kdbus's rules for who may do what: where a [PolicyHolder] says nothing of a name,
// only the same user, root and who made the bus may own it, and talk to its owner. It goes with the Bus: when that is
// closed, or its program ends, everybody on it is disconnected.
type Bus struct {
	special
	path string
}

// MakeBus makes a bus. Errors are EINVAL for a name that does not begin with the user's number, EEXIST for one that
// is in use, EMFILE if the user has as many buses as it may, 16, and what else keeps from connecting to the
// domain.
func MakeBus(ctx context.Context, config BusConfig) (*Bus, error) {
	domain := config.Domain
	if domain == "" {
		var err error
		if domain, err = DefaultDomain(); err != nil {
			return nil, fmt.Errorf("kdbus: make the bus %s: %w", config.Name, err)
		}
	}
	if config.Bloom == (abi.BloomParameter{}) {
		config.Bloom = abi.DefaultBloom
	}
	cmd := &abi.BusMake{
		Flags: config.Access, Name: config.Name, Bloom: config.Bloom, AttachFlagsSend: config.Tells, AttachFlagsRecv: config.Required,
	}
	b := new(Bus)
	var err error
	control := address.UnixPath(filepath.Join(domain, "control")).String()
	b.conn, err = new(Dialer).dial(ctx, control, "no bus "+config.Name, func(ctx context.Context, c *Conn) (err error) {
		b.path, _, err = c.make(ctx, cmd)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Path returns the directory of the bus, in the file system of the daemon. Its default endpoint is the socket "bus" in
// there.
func (b *Bus) Path() string { return b.path }

// Address returns the D-Bus address of the bus.
func (b *Bus) Address() string { return address.UnixPath(filepath.Join(b.path, "bus")).String() }

// DefaultDomain returns the directory of the domain that a process belongs to: /run/kdbus if it is root's,
// else the directory "kdbus" in XDG_RUNTIME_DIR.
func DefaultDomain() (string, error) {
	if os.Geteuid() == 0 {
		return "/run/kdbus", nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return "", errors.New("which domain this process belongs to is not known: XDG_RUNTIME_DIR is not set; " +
			"run this program in a session, or say where the domain is")
	}
	return filepath.Join(dir, "kdbus"), nil
}
