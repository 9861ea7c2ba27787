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
//   - activation: the same services started, or not, by dbus-daemon and by the bus under test, with the
//     same answers.
//   - limits: every limit reached by one user, and what the bus, the log and other users make of it.
//   - faults: what hostile, dead and numerous clients do to the bus, seen from outside.
//   - kdbus: what the manual pages of kdbus promise, sentence by sentence.
//   - gvariant: values that GLib and this module serialise for each other.
//   - sandbox: kdbus sandbox beside xdg-dbus-proxy, and what tries to get out of it.
//   - command: what kdbus prints, compared with busctl.
//   - packaging: make install, and the bus as that of a machine: under systemd, s6 and OpenRC, and where
//     there is nothing but it.
//   - internal: testbus starts the buses, program runs other programs, account is another user,
//     container makes the container, peer is a client without manners.
//
// Those that are about dbus-daemon can be pointed at dbus-daemon itself with
// KDBUS_CONFORMANCE_BUS=dbus-daemon, which shows that the tests ask for what is true: programs, suites,
// services, driver, policy and activation.
package conformance
