// Package dbus1 is the front-end for D-Bus programs: libdbus, sd-bus, GDBus and all others that
// speak version 1 of the protocol over a UNIX socket. It turns their bytes into calls on package
// bus and deliveries back into bytes, and it is org.freedesktop.DBus to them.
//
// How the pieces fit:
//
//   - A [Server] accepts connections (listener.go) and makes a peer of each. Its poller (poller.go)
//     watches all sockets with a few workers; there is no goroutine for an idle peer.
//   - Whoever has a peer's turn (peer.go) authenticates it (sasl.go, hello.go), then reads batches of
//     messages (read.go, buffer.go), hands each to the bus or to the driver (dispatch.go), and flushes
//     once per batch. What arrives for a peer is written by the goroutine of whoever sent it, as far
//     as the socket takes it without waiting (write.go); then the poller goes on.
//   - The driver (driver.go, driver_bus.go, driver_peers.go, properties.go, stats.go) answers the
//     calls to org.freedesktop.DBus: a table of interfaces and methods, from which its introspection
//     data (introspect.go) is made too.
//   - Subscriptions (subscriptions.go) give the bus the match rules of all peers, behind an index
//     (matchrule.go, matchindex.go).
//   - Notifications of the bus become signals and errors (notification.go); its errors become those
//     of D-Bus (errors.go).
//
// What dbus-daemon 1.14 answers is answered here, with the same error names and, where programs
// could depend on it, the same words. Where it and the specification differ, a comment says which
// is followed.
package dbus1
