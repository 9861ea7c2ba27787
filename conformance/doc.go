// Package conformance holds no code: the directories below it show that real D-Bus programs run on
// the bus, and that it answers as dbus-daemon does. They are Go tests with the build tag
// "conformance"; "make conformance" installs the Debian packages they need and runs them.
//
//   - programs: command line tools, language bindings and services of others, talking to each
//     other over the bus, each asserting on what it prints.
//   - suites: test suites of others, pointed at the bus.
//   - services: real services and clients of a system and a session, on stock configurations, and
//     what starts dbus-daemon itself, all in a container where the bus has taken its place.
//   - driver: the same scripted exchanges with dbus-daemon and with the bus under test, whose
//     transcripts must be the same.
//   - policy: the same policies, users and messages on dbus-daemon and on the bus under test, with the
//     same outcome.
//   - command: what kdbus prints, compared with busctl.
//   - packaging: make install, and the bus as that of a machine: under systemd, s6 and OpenRC, and where
//     there is nothing but it.
//   - faults: what hostile, dead and numerous clients do to the bus, seen from outside.
//   - internal/testbus starts the buses, internal/program runs other programs,
//     internal/container makes the container, internal/peer is a client without manners.
//
// All but the faults can be pointed at dbus-daemon itself with
// KDBUS_CONFORMANCE_BUS=dbus-daemon, which shows that the tests ask for what is true.
package conformance
