// Package bench measures message buses from outside: how long a call takes, how much
// gets through, and what a connection costs. It is the engine of kdbus bench.
//
// # How it measures
//
// Every bus is measured by the same clients (client.go): blocking sockets, plain system
// calls, messages made in advance and patched with a serial, and no look at a message
// that is not needed. What a client costs is part of each number and cannot be taken
// out, so it is kept small and the same for all.
//
// Clients are processes of their own ([Worker], worker.go). [Run] starts them and the
// buses (process.go, server.go, controller.go for dbus-broker), connects the parts of
// one measurement (measure.go), goes through the plan (plan.go) round by round with
// every bus having its turn in each, and makes a [Report]. Measurements of one bus that are
// compared with each other are made directly one after the other. Everything that is started is
// ended by process id, also when the context is done, and dies with this process.
//
// The measurements, by their group:
//
//   - memory: resident memory (Rss, shared pages included) of the bus's process before
//     and after connections that do nothing but Hello, divided by their number.
//   - roundtrip: a caller sends an empty call to a service and waits for the empty
//     reply. 50th and 99th percentile.
//   - inflight: the caller keeps 64 calls under way. Caller and service take all
//     messages one read brings, and answer them with one write.
//   - broadcast: signals to receivers with one match rule each. All receivers are in one
//     process, so that a machine of few CPUs measures the bus rather than its scheduler.
//     The sender writes 32 signals at once and has at most 64 under way.
//   - payload: roundtrip with an array of bytes as the argument of the call; the reply is
//     empty. The service reads all of it. 50th percentile.
//   - native: roundtrip, inflight, broadcast and payload with the native protocol, where a bus
//     speaks it. The payload of each message is the D-Bus message that the D-Bus 1 client
//     sends; that of 128 KiB and more is in a sealed memfd, made once, which the service maps, and
//     reads the first and the last page of. Signals have a bloom filter, and receivers one bloom
//     mask each. Sending is quiet: the bus answers only what fails.
//   - connect: connect, authenticate with EXTERNAL, Hello, close, one after the other.
//
// Pinned measurements have all processes of the measurement on one CPU, the bus
// included; free ones leave it to the kernel. A bus that is started for a pinned
// measurement is started there, so that it knows to have one CPU only; a bus that was
// running is moved there and back. The floor, [Floor], is the same work done by the same
// two processes over a bare UNIX socket pair: two passages of a socket where a bus needs
// four.
//
// What it leaves to others: which flags there are, and where results go (cmd/kdbus).
//
// # JSON
//
// A [Report] in JSON is one object:
//
//	machine      {cpu, kernel: text, cpus: number of CPUs we may use}
//	rounds       how often everything was measured
//	duration_ns  of one measurement, without its warm-up of a fifth of it
//	policies     number of policy files that the buses had, dbus-broker excepted; may be absent
//	buses        list of {name, version, address, native}; all but the name may be absent.
//	             native: it speaks the native protocol, as far as that had to be found out
//	rows         list of
//	  id         such as "roundtrip.pinned.p50"; stable
//	  title      the same for people; may change
//	  unit       "µs" and "KiB", of which less is better, or "/s"
//	  values     by name of bus, and "socket pair": {median, rounds: list of numbers}
//	  ratios     by name of bus: median of kdbus divided by that of the bus
//	  target     {bus, row, at_most or at_least, ratio, met}: a bound on the ratio to the bus
//	             or, for kdbus itself, on the median; with the id of a row, on the ratio of
//	             kdbus's median to its own in that row. ratio is there only then. met is absent
//	             when there is nothing to judge, as the bus or the row was not measured, or
//	             there is no bound
//	missing      list of texts: what was left out, as a program is not installed; may be absent
//	failures     list of texts: what could not be measured and why
package bench
