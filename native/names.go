package native

import (
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
)

// nameAcquire asks for a name: kdbus.name(7), "Acquiring a name". Who owns it already, or waits for it,
// changes its flags; that is no error, as in the last kdbus.
func (c *conn) nameAcquire(r *request, n *abi.NameAcquire) error {
	if n.Name == DriverName {
		return refusef(syscall.EPERM, "%s is the bus itself", DriverName)
	}
	flags, err := c.bus.ClaimName(n.Name, bus.NameFlags(n.Flags))
	if err != nil {
		return err
	}
	n.ReturnFlags = abi.NameFlags(flags)
	n.PutReply(r.cmd)
	return nil
}

// nameRelease gives a name up: kdbus.name(7), "Releasing a name".
func (c *conn) nameRelease(r *request, n *abi.NameRelease) error {
	if err := c.ordinary(r); err != nil {
		return err
	}
	return c.bus.ReleaseName(n.Name)
}

// ordinary refuses what monitors and activators cannot do.
func (c *conn) ordinary(r *request) error {
	const special = bus.FlagActivator | bus.FlagPolicyHolder | bus.FlagMonitor
	if c.bus.Flags()&special != 0 || c.bus.IsMonitor() {
		return refusef(syscall.EOPNOTSUPP, "%v is for ordinary connections", r.Cmd)
	}
	return nil
}
