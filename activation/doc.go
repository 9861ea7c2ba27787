// Package activation starts services when somebody calls them: the programs that the .service files of
// package busconfig describe, as the D-Bus specification has it under "Message Bus Starting Services", and the units
// of .busname files, with the policies of names that these have.
//
// How the pieces fit:
//
//   - [New] gives each service an activator in the core (bus.Service), which holds what is sent to the
//     name as long as nobody owns it, in order, and then hands it over. A service (service.go) is the
//     other end of that: it is woken when something waits, starts a program, and is told when
//     somebody has taken the name. [Activation.Update] exchanges the services while the bus runs.
//   - What .busname files say becomes services, and policies that their activators hold (busname.go).
//   - How a program is started depends on the bus (start.go): by executing it with the environment of the
//     bus (process.go, environment.go); on a system bus by executing a setuid helper with the name,
//     whose exit code says what went wrong (helper.go); by asking systemd for a unit (systemd.go): that
//     of the service, an instance of a template, or one that it makes for the purpose (transient.go,
//     launcher.go).
//   - When that fails, takes too long, or nobody knows the service any more, everybody who waits gets the
//     error ([Error]) that dbus-daemon gives.
//
// What is left to others: which messages may be sent to a service that does not run is for the policy
// of the bus to say, answers in D-Bus form and the methods of org.freedesktop.DBus are package
// dbus1's, and noticing that files have changed is package daemon's.
//
// # Concurrency
//
// One lock, Activation.mu, guards everything that changes. It is taken with the bus locked, by what the core
// calls, so nobody may call the core with it held.
package activation
