// Package native is the server's side of the native protocol: the commands of kdbus.h in frames over
// a UNIX socket, which a client gets by asking for NEGOTIATE_KDBUS while it authenticates.
// docs/native-protocol.md describes the protocol for those who write clients.
//
// # How the pieces fit
//
// A [Server] is what all native peers of one bus share. For each peer it makes a
// [transport.Protocol], the connection (conn.go), which takes requests apart, runs the command that
// is asked for and answers:
//
//   - hello.go brings a peer onto the bus, and off it.
//   - send.go takes a message apart. It copies what arrived once, or not at all if it is large, and
//     turns it in place into the frame that receivers get (message.go). Descriptors are judged in
//     descriptors.go.
//   - sync.go remembers who waits for the reply to a synchronous call, and under which tag.
//   - names.go, info.go and match.go are the other commands of a connection.
//   - make.go makes custom endpoints and buses, in place of joining a bus.
//
// handle.go is for who has no socket: a [Handle] runs the same commands, given one by one, and has a pool in place of frames
// (inbox.go). peer.go says what both kinds of peers have in common.
//
// encode.go turns messages from the bus into frames: those of native senders as they are, with what the
// receiver may know of the sender (metadata.go); those of D-Bus 1 senders with their payload as it
// is; and notifications.
//
// A message that some D-Bus 1 peer is interested in, or the driver, has to be looked into. The core
// says when, and form.go does it: it reads the payload as the D-Bus message it has to be, in
// place, even in a memfd, and writes a header that tells the truth.
//
// # What it leaves to others
//
// Codec and static judgement of commands are package abi's; names, routing, quotas, policy and the rights of
// a receiver to metadata are the core's (bus); sockets and credentials are package transport's. What it
// needs of the D-Bus 1 front-end it is handed: [Driver] and [Rules]; and so are those who give what is made a socket:
// [Endpoints] and [Buses].
package native
