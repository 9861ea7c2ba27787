package dbus1

import (
	"errors"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// The interface org.freedesktop.DBus: names, subscriptions, and the bus itself.

var busMethods = []method{
	{name: "Hello", out: "s", anyPath: true, handle: helloAgain},
	{name: "RequestName", in: "su", out: "u", anyPath: true, handle: requestName},
	{name: "ReleaseName", in: "s", out: "u", anyPath: true, handle: releaseName},
	{name: "StartServiceByName", in: "su", out: "u", anyPath: true, handle: startServiceByName},
	{name: "UpdateActivationEnvironment", in: "a{ss}", privileged: true, handle: updateActivationEnvironment},
	{name: "NameHasOwner", in: "s", out: "b", anyPath: true, handle: nameHasOwner},
	{name: "ListNames", out: "as", anyPath: true, handle: listNames},
	{name: "ListActivatableNames", out: "as", anyPath: true, handle: listActivatableNames},
	{name: "AddMatch", in: "s", anyPath: true, handle: addMatch},
	{name: "RemoveMatch", in: "s", anyPath: true, handle: removeMatch},
	{name: "GetNameOwner", in: "s", out: "s", anyPath: true, handle: getNameOwner},
	{name: "ListQueuedOwners", in: "s", out: "as", anyPath: true, handle: listQueuedOwners},
	{name: "GetConnectionUnixUser", in: "s", out: "u", anyPath: true, handle: getConnectionUnixUser},
	{name: "GetConnectionUnixProcessID", in: "s", out: "u", anyPath: true, handle: getConnectionUnixProcessID},
	{name: "GetAdtAuditSessionData", in: "s", out: "ay", anyPath: true, handle: getAdtAuditSessionData},
	{name: "GetConnectionSELinuxSecurityContext", in: "s", out: "ay", anyPath: true, handle: getConnectionSELinuxSecurityContext},
	{name: "ReloadConfig", anyPath: true, open: true, handle: reloadConfig},
	{name: "GetId", out: "s", anyPath: true, handle: getID},
	{name: "GetConnectionCredentials", in: "s", out: "a{sv}", anyPath: true, handle: getConnectionCredentials},
}

var busProperties = []property{
	{"Features", "as", func(s *Server) any {
		features := []string{"ActivatableServicesChanged", "HeaderFiltering"}
		if a := s.config.Activation; a != nil && a.Systemd() {
			features = append(features, "SystemdActivation")
		}
		return features
	}},
	{"Interfaces", "as", func(*Server) any {
		var listed []string
		for _, in := range interfaces {
			if in.listed {
				listed = append(listed, in.name)
			}
		}
		return listed
	}},
}

var busSignals = []signal{
	{"NameOwnerChanged", []arg{{"", "s"}, {"", "s"}, {"", "s"}}},
	{"NameLost", []arg{{"", "s"}}},
	{"NameAcquired", []arg{{"", "s"}}},
	{"ActivatableServicesChanged", nil},
}

func helloAgain(*call) error {
	return dbusErrorf("Failed", "Already handled an Hello message")
}

// Flags and results of RequestName, ReleaseName and StartServiceByName, as the specification
// numbers them.
const (
	nameFlagAllowReplacement = 1
	nameFlagReplaceExisting  = 2
	nameFlagDoNotQueue       = 4

	releaseNameReleased    = 1
	releaseNameNonExistent = 2
	releaseNameNotOwner    = 3

	startReplySuccess        = 1
	startReplyAlreadyRunning = 2
)

func requestName(c *call) error {
	var name string
	var flags uint32
	if err := c.args(&name, &flags); err != nil {
		return err
	}
	switch {
	case wire.CheckBusName(name) != nil:
		return dbusErrorf("InvalidArgs", "Requested bus name \"%s\" is not valid", name)
	case wire.IsUniqueName(name):
		return dbusErrorf("InvalidArgs", "Cannot acquire a service starting with ':' such as \"%s\"", name)
	case name == driverName:
		return dbusErrorf("InvalidArgs", "Connection \"%s\" is not allowed to own the service \"%s\"because it is reserved for D-Bus' use only",
			c.peer.name, name)
	}
	var f bus.NameFlags
	if flags&nameFlagAllowReplacement != 0 {
		f |= bus.AllowReplacement
	}
	if flags&nameFlagReplaceExisting != 0 {
		f |= bus.ReplaceExisting
	}
	if flags&nameFlagDoNotQueue != 0 {
		f |= bus.DoNotQueue
	}
	result, err := c.peer.conn.AcquireName(name, f)
	switch {
	case errors.Is(err, bus.ErrTooManyNames):
		return exceeded(c.peer.conn, limitNames, c.peer.conn.ClaimCount()+1, c.server.limits.load().MaxNames, "own more services")
	case errors.Is(err, bus.ErrDenied):
		return c.peer.ownDenied(name, err)
	case err != nil:
		return err
	}
	return c.reply(uint32(result))
}

func releaseName(c *call) error {
	var name string
	if err := c.args(&name); err != nil {
		return err
	}
	switch {
	case wire.CheckBusName(name) != nil:
		return dbusErrorf("InvalidArgs", "Given bus name \"%s\" is not valid", name)
	case wire.IsUniqueName(name):
		return dbusErrorf("InvalidArgs", "Cannot release a service starting with ':' such as \"%s\"", name)
	case name == driverName:
		return dbusErrorf("InvalidArgs", "Cannot release the %s service because it is owned by the bus", name)
	}
	result := uint32(releaseNameReleased)
	switch err := c.peer.conn.ReleaseName(name); {
	case errors.Is(err, bus.ErrNoSuchName):
		result = releaseNameNonExistent
	case errors.Is(err, bus.ErrNotOwner):
		result = releaseNameNotOwner
	case err != nil:
		return err
	}
	return c.reply(result)
}

// find returns the connection that has a name, unique or well-known, or nil.
func (c *call) find(name string) *bus.Conn {
	if wire.IsUniqueName(name) {
		return c.peer.conn.LookupID(parseUniqueName(name))
	}
	return c.peer.conn.Lookup(name)
}

func (c *call) hasOwner(name string) bool {
	return name == driverName || c.find(name) != nil
}

func nameHasOwner(c *call) error {
	var name string
	if err := c.args(&name); err != nil {
		return err
	}
	return c.reply(c.hasOwner(name))
}

func listNames(c *call) error {
	names, ids := c.peer.conn.ListNames()
	all := make([]string, 0, 1+len(names)+len(ids))
	all = append(append(all, driverName), names...)
	for _, id := range ids {
		all = append(all, id.String())
	}
	return c.reply(all)
}

func getNameOwner(c *call) error {
	var name string
	if err := c.args(&name); err != nil {
		return err
	}
	if name == driverName {
		return c.reply(name)
	}
	owner := c.find(name)
	if owner == nil {
		return dbusErrorf("NameHasNoOwner", "Could not get owner of name '%s': no such name", name)
	}
	return c.reply(owner.UniqueName())
}

func listQueuedOwners(c *call) error {
	var name string
	if err := c.args(&name); err != nil {
		return err
	}
	if name == driverName {
		return c.reply([]string{name})
	}
	var owners []string
	if wire.IsUniqueName(name) {
		if owner := c.find(name); owner != nil {
			owners = []string{name}
		}
	} else {
		for _, id := range c.peer.conn.ListOwners(name) {
			owners = append(owners, id.String())
		}
	}
	if owners == nil {
		return dbusErrorf("NameHasNoOwner", "Could not get owners of name '%s': no such name", name)
	}
	return c.reply(owners)
}

// reloadConfig does nothing if the bus has no configuration but what its embedder has given it.
func reloadConfig(c *call) error {
	if reload := c.server.config.Reload; reload != nil {
		// Only whoever asks waits.
		if p, ok := c.peer.conn.Peer().(interface{ TakeLong() }); ok {
			p.TakeLong()
		}
		if err := reload(); err != nil {
			return dbusErrorf("Failed", "%v", err)
		}
	}
	return c.reply()
}

func getID(c *call) error { return c.reply(c.server.bus.GUID()) }

func addMatch(c *call) error {
	rule, err := c.matchRule()
	if err != nil {
		return err
	}
	if rule.Eavesdrop && !c.peer.privileged() {
		return c.peer.unprivileged("AddMatch")
	}
	if err := c.server.subs.add(c.peer.conn, rule); err != nil {
		return err
	}
	return c.reply()
}

func removeMatch(c *call) error {
	rule, err := c.matchRule()
	if err != nil {
		return err
	}
	if err := c.server.subs.remove(c.peer.conn, rule); err != nil {
		return err
	}
	return c.reply()
}

// matchRule reads the rule that is the only argument of the call.
func (c *call) matchRule() (*matchRule, error) {
	var text string
	if err := c.args(&text); err != nil {
		return nil, err
	}
	return readRule(text)
}

// becomeMonitor answers first: a monitor gets nothing that is addressed to it.
func becomeMonitor(c *call) error {
	var texts []string
	var flags uint32
	if err := c.args(&texts, &flags); err != nil {
		return err
	}
	if flags != 0 {
		return dbusErrorf("InvalidArgs", "BecomeMonitor does not support any flags yet")
	}
	filter := make(monitorFilter, 0, len(texts))
	for _, text := range texts {
		rule, err := readRule(text)
		if err != nil {
			return err
		}
		filter = append(filter, rule.forMonitor())
	}
	if err := c.reply(); err != nil {
		return err
	}
	return c.peer.conn.BecomeMonitor(filter)
}

func getMachineID(c *call) error {
	if c.server.config.MachineID == "" {
		return dbusErrorf("Failed", "There is no machine id: neither /etc/machine-id nor /var/lib/dbus/machine-id can be read")
	}
	return c.reply(c.server.config.MachineID)
}

func ping(c *call) error { return c.reply() }
