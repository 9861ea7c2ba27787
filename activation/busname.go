package activation

import (
	"os"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/meta"
)

// Names that .busname files describe: systemd.busname(5), of when systemd supported kdbus. One that activates is a
// service whose unit the file names, beside what a .service file says of the same name. Its policy is held by its
// activator, or, if it does not activate, by a policy holder.

// busNames are what .busname files say, by name.
type busNames map[string]*busconfig.BusName

// readBusNames reads the .busname files.
func (a *Activation) readBusNames(settings *Settings) (busNames, []busconfig.Warning) {
	if len(settings.BusNames) == 0 {
		return nil, nil
	}
	list, warnings := busconfig.LoadBusNames(settings.BusNames, busconfig.SystemUsers{})
	names := make(busNames, len(list))
	for _, n := range list {
		names[n.Name] = n
	}
	return names, warnings
}

// services returns the services there are, by name: those of .service files, and those that names activate.
func (names busNames) services(loaded *busconfig.Services) map[string]*busconfig.Service {
	all := make(map[string]*busconfig.Service, loaded.Len())
	for s := range loaded.All() {
		all[s.Name] = s
	}
	for _, n := range names {
		if !n.Activating {
			continue
		}
		var s busconfig.Service
		if known := all[n.Name]; known != nil {
			s = *known // how it is started without systemd
		}
		s.File, s.Name, s.SystemdService = n.File, n.Name, n.Service
		all[n.Name] = &s
	}
	return all
}

// acceptsFDs reports whether messages with descriptors may wait for a name.
func (names busNames) acceptsFDs(name string) bool {
	n := names[name]
	return n == nil || n.AcceptFileDescriptors
}

// policies returns the policy of a name, none if it is not protected.
func (names busNames) policies(name string) []bus.NamePolicy {
	n := names[name]
	if n == nil || len(n.Access) == 0 {
		return nil
	}
	kinds := [...]bus.AccessKind{
		busconfig.AllowUser: bus.AccessUser, busconfig.AllowGroup: bus.AccessGroup, busconfig.AllowWorld: bus.AccessWorld,
	}
	levels := [...]bus.AccessLevel{
		busconfig.SeeName: bus.AccessSee, busconfig.TalkToName: bus.AccessTalk, busconfig.OwnName: bus.AccessOwn,
	}
	p := bus.NamePolicy{Name: name}
	for _, access := range n.Access {
		p.Access = append(p.Access, bus.Access{Kind: kinds[access.Kind], ID: access.ID, Level: levels[access.Level]})
	}
	return []bus.NamePolicy{p}
}

// protect puts the policies of names in force that do not activate anything. a.updating is held.
func (a *Activation) protect(names busNames) {
	for name, holder := range a.holders {
		if n := names[name]; n == nil || n.Activating || len(n.Access) == 0 {
			holder.Close()
			delete(a.holders, name)
		}
	}
	for name, n := range names {
		if n.Activating || len(n.Access) == 0 {
			continue
		}
		err := error(nil)
		if holder := a.holders[name]; holder != nil {
			err = holder.UpdatePolicies(names.policies(name))
		} else {
			err = a.addHolder(name, names.policies(name))
		}
		if err != nil {
			a.log.Warn("the policy of a name cannot be put in force", "name", name, "file", n.File, "error", err)
		}
	}
}

// addHolder adds a connection that holds a policy.
func (a *Activation) addHolder(name string, policies []bus.NamePolicy) error {
	conn, err := a.config.Endpoint.Connect(bus.ConnConfig{
		UID:         uint32(os.Geteuid()),
		Flags:       bus.FlagPolicyHolder,
		Policies:    policies,
		Receiver:    nobody{},
		Description: "busname",
	})
	if err != nil {
		return err
	}
	if err := conn.Hello(); err != nil {
		conn.Close()
		return err
	}
	conn.Flush()
	a.holders[name] = conn
	return nil
}

// nobody receives nothing, as policy holders do.
type nobody struct{}

// Wake implements bus.Receiver.
func (nobody) Wake() {}

// Wanted implements bus.Receiver.
func (nobody) Wanted(meta.Kinds) {}
