// Package dbus1 is the front-end for D-Bus programs: libdbus, sd-bus, GDBus and all others that
// speak version 1 of the protocol over a UNIX socket. It turns their bytes into calls on package
// bus and deliveries back into bytes, and it is org.freedesktop.DBus to them.
//
// How the pieces fit:
//
//   - A [Server] serves the peers of an endpoint by means of package transport, which accepts,
//     authenticates, reads and writes. A peer (peer.go) is the transport.Protocol of one of them.
//   - A peer's first message has to be Hello (hello.go). Each later one is parsed, judged, given its
//     true sender, and handed to the bus or to the driver (dispatch.go).
//   - The driver (driver.go, driver_bus.go, driver_peers.go, properties.go, stats.go) answers the
//     calls to org.freedesktop.DBus: a table of interfaces and methods, from which its introspection
//     data (introspect.go) is made too. It deals with a party (party.go): whoever has a connection,
//     through whatever front-end.
//   - Subscriptions (subscriptions.go) give the bus the match rules of all peers, behind an index
//     (matchrule.go, matchindex.go); other front-ends use them by cookie (rules.go).
//   - Services that do not run are waited for at their activators in the core; the driver's part in
//     that is in activation.go, and who starts them is behind [Activation].
//   - Notifications of the bus become signals and errors (notification.go); its errors become those
//     of D-Bus (errors.go).
//
// What dbus-daemon 1.14 answers is answered here, with the same error names and, where programs
// could depend on it, the same words. Where it and the specification differ, a comment says which
// is followed.
package dbus1
