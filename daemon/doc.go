// Package daemon is a whole message bus in one value: a domain with a bus, the D-Bus 1
// front-end before it, and the sockets clients come in by. The command kdbus and the
// package kdbustest are thin around it.
//
//	d, err := daemon.Start(daemon.Config{Addresses: []string{"unix:path=/run/user/1000/bus"}})
//	...
//	fmt.Println(d.Address()) // for DBUS_SESSION_BUS_ADDRESS
//	...
//	d.Shutdown()
//
// [StartPrivate] is for a bus of one's own, at an address it chooses.
//
// A bus can follow a configuration of dbus-daemon(1), as package busconfig reads it:
//
//	conf, err := daemon.Load("/usr/share/dbus-1/session.conf")
//	...
//	d, err := daemon.Start(daemon.Config{File: conf})
//	...
//	err = d.Reload() // when the file has changed
//
// A bus can be in a domain (Config.Domain), where clients can make other buses, and clients can make custom endpoints
// of each bus: a hub (hub.go) is a bus with what its endpoints share. domain.go has the directory, madebus.go
// the buses that clients make in it, node.go the sockets with their modes and owners, privatenodes.go the place for
// endpoints of a bus that is in no domain.
//
// The pieces, one file each: listen.go opens the addresses of package address,
// socketfile.go replaces stale socket files and never live ones, systemd.go takes
// sockets over from systemd, machineid.go finds the machine's identity, daemon.go ties
// them together. Of a configuration, configfile.go refuses what cannot be done, security.go warns of
// what the kernel would have dbus-daemon do, apply.go puts the rest in force, policy*.go its policy,
// activation.go its services, limits.go its limits; reload.go does that anew, and watch.go notices
// that it is time to.
//
// What a process is to do about signals, standard output, logging and the service
// manager is for the caller to say; a Daemon touches nothing of a process but the
// sockets it opened (and, for the address systemd:, the environment variables that
// announce them). Any number of daemons can live in one process.
package daemon
