// Package bus is the core of kdbus: what the kernel module was. It knows kdbus's objects and rules
// and nothing else: it opens no file, reads no socket, parses no configuration and does not know
// what a D-Bus header is.
//
// The objects:
//
//   - A [Domain] is the root. It counts the buses, endpoints and connections of each user, and numbers messages.
//   - A [Bus] is where connections meet: connections by id, names, subscriptions,
//     monitors, policy.
//   - An [Endpoint] is a door to a bus. Front-ends connect through one. Custom ones let through what their policies
//     permit, and nothing else.
//   - A [Conn] is one peer: an id that is never given again, the names it owns, the
//     calls it waits for, and one receive queue.
//   - A [Message] is what moves; an envelope the core understands around a payload
//     that it does not. What few messages have is in its [Extra].
//
// A front-end (dbus1, native, kdbusfs) turns bytes into calls on a Conn, and gives the core a
// [Receiver] to be told when there is something in that Conn's queue. Driving a Conn takes three
// steps, repeated: read a batch of messages, call [Conn.Send] for each, then [Conn.Flush],
// which wakes every receiver that got something.
//
// # Delivery
//
// Nothing here waits for a peer. Send either puts the message into the queue of its receiver or
// returns an [*Error]; only broadcasts and signals are dropped when a queue is full, and are
// counted then, see [Conn.TakeDropped]. A message is in the queues of all its receivers before the
// next message of anybody who could have reacted to it is routed: unicasts are queued at the
// monitors first, and a broadcast is routed while nothing else is.
//
// A queue is first in, first out, unless senders give priorities: a message with a lower number
// overtakes those that wait with a higher one. How much of a queue one user may fill says the
// [Quota].
//
// What is sent to a name that only has an activator is held there, and goes to whoever takes the
// name: activator.go. Services that the bus itself can start have activators of a kind of their own,
// by which whoever starts them ([Service]) knows that somebody waits: service.go.
//
// # Parts
//
// Peers differ in what they want of a message. Those of D-Bus 1 want it in their format, those of
// kdbus want metadata of the sender, indexes and filters want a parsed form or a bloom filter; and
// often nobody wants any of it. So the front-end of the sender makes what it has anyway, says so in
// [Message].Has, and sends along a [Maker] for the rest. Send finds the receivers, adds up what they
// want ([Parts]), and if something is missing it lets go of all locks, has it made, and begins anew.
// What nobody wants is never made: an ordinary message costs one comparison.
//
// Metadata go where the sender, the bus, the domain and the receiver all agree. What concerns the
// process is the front-end's to collect; what it needs for that it can prepare when
// [Receiver].Wanted tells that somebody is interested.
//
// # Subscriptions
//
// Broadcasts, signals and notifications of names and ids go to those who subscribed: through an
// [Index] that a front-end brings, or by a [Match] of kdbus, which the core evaluates (match.go) and
// finds without trying each (bloom.go). Peers of kdbus need a match even for signals that are
// addressed to them; those of D-Bus 1 do not.
//
// # Policy
//
// What a connection may do, and whom it may know, three parties decide, which all have to permit it: the custom
// endpoint that it came through, if it did (gate.go); the policies that connections hold, with kdbus's implicit rules if the
// bus is strict (access.go); and the [Policy] that the bus was given (policy.go). What a connection does not see
// does not exist for it: sight.go is where all that the bus tells is asked for. Answers to calls are let through.
//
// # Locks
//
// Bus.mu (names, connections, subscriptions, monitors) comes first: unicasts hold it for reading,
// everything else for writing. Conn.mu (queue, calls) comes second, one at a time. Neither is ever
// held across a system call or a call of [Receiver] or [Maker]. [Policy], [Index], [Filter] and
// [Rule] are called with Bus.mu held and must not call back; so is [Service], which may find Conn.mu
// held, too. Bus.telling, which comes before both,
// orders the calls of Receiver.Wanted and is for nothing else. Domain's lock and that of [Excesses] may be taken with any
// other held; nothing is taken with one of them held.
package bus
