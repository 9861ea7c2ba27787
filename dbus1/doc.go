// Package dbus1 is the front-end for D-Bus programs: libdbus, sd-bus, GDBus and all others that
// speak version 1 of the protocol over a UNIX socket. It turns their bytes into calls on package
// bus and deliveries back into bytes, and it is org.freedesktop.DBus to them.
//
// How the pieces fit:
//
//   - A [Server] accepts connections and makes a peer of each.
//   - A peer is driven by one goroutine (peer.go): it authenticates (sasl.go), then reads batches of messages
//     (read.go), hands each to the bus or to the driver (dispatch.go), and flushes once per batch. What arrives for it is
//     written by the goroutine of whoever sent it, as far as the socket takes it without waiting (write.go).
//   - The driver (driver*.go) answers the calls to org.freedesktop.DBus, a table of interfaces and methods from
//     which its introspection data is generated too.
//   - Subscriptions (subscriptions.go) give the bus the match rules of all peers, behind an index (matchrule.go, matchindex.go).
//   - Notifications of the bus become signals and errors (notification.go).
//
// What dbus-daemon 1.14 answers is answered here, with the same error names and, where programs
// could depend on it, the same words. Where it and the specification differ, a comment says which
// is followed.
package dbus1
