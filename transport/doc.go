// Package transport carries messages between a bus and the sockets of its peers: what the front-ends
// dbus1 and native have in common. Both speak in frames of a known size, with file descriptors
// beside them, over a UNIX stream socket, or, without
// descriptors, over TCP; what is in a frame is theirs.
//
//   - A [Server] accepts connections at an endpoint of a bus, counts them and ends them. There is one for each
//     endpoint.
//   - A [Peer] is one of them: its socket, the authentication (sasl.go), what has arrived of a frame
//     (read.go), and the delivery of what the bus has queued for it (write.go). It knows, from the
//     kernel, who connected and who sent the frame at hand (identity.go).
//   - A [Protocol] is what the peer speaks once it has authenticated: it reads frames and
//     writes messages. Which one is decided during authentication: D-Bus 1, unless the peer
//     asked for kdbus by NEGOTIATE_KDBUS and was agreed to.
//   - A [Poller] waits for all sockets, of all servers that have it, and keeps the accounts of who is
//     not on a bus yet (ledger.go).
//
// Who a peer is, the kernel says, or, over TCP, what it has proved by DBUS_COOKIE_SHA1 (saslcookie.go,
// package keyring).
//
// # Flow
//
// A worker of the poller finds a socket readable and takes the peer's turn: until it gives that back,
// nobody else reads from the peer. It reads a batch, hands each frame to the Protocol, which sends
// messages to the bus, and flushes the peer's [bus.Conn] at the end, or in between if a long batch is for one
// receiver: then that can be at work on another processor meanwhile. Flush wakes the receivers,
// each of which writes by itself, in that same goroutine, as much as its socket takes. What does
// not fit waits for the poller to find space.
//
// There are few workers, so a frame must not keep one for long. Who handles one that might, because it
// is large or because its sender can delay what has to be read, says so by [Peer.TakeLong]: then another
// goroutine becomes the worker.
//
// # Who sent it
//
// The kernel tells with every read who sent those bytes, if it was asked to beforehand
// (SO_PASSCRED and SO_PASSPIDFD). It is asked only while somebody on the bus wants to know: see
// [bus.Receiver]. A read never brings bytes of two senders. A frame that arrived in several reads has a
// sender only if all of them had the same.
//
// What this package leaves to others: where to listen (daemon), what frames mean (dbus1, native), and
// everything that a bus is (bus).
package transport
