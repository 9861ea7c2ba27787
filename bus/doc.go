// Package bus is the core of kdbus: what the kernel module was. It knows kdbus's objects and rules
// and nothing else: it opens no file, reads no socket, parses no configuration and does not know
// what a D-Bus header is.
//
// The objects:
//
//   - A [Domain] is the root. It counts the connections of each user and numbers messages.
//   - A [Bus] is where connections meet: connections by id, names, subscriptions,
//     monitors, policy.
//   - An [Endpoint] is a door to a bus. Front-ends connect through one.
//   - A [Conn] is one peer: an id that is never given again, the names it owns, the
//     calls it waits for, and one receive queue.
//   - A [Message] is what moves; an envelope the core understands around a payload
//     that it does not.
//
// A front-end (dbus1, native, kdbusfs) turns bytes into calls on a Conn, and gives the core a
// [Receiver] to be told when there is something in that Conn's queue. Driving a Conn takes three
// steps, repeated: read a batch of messages, call [Conn.Send] for each, then [Conn.Flush] once,
// which wakes every receiver that got something.
//
// # Delivery
//
// Nothing here waits for a peer. Send either puts the message into the queue of its receiver or
// returns an [*Error]; only broadcasts and signals are dropped when a queue is full, and are
// counted then. A message is in the queues of all its receivers before the next message of anybody
// who could have reacted to it is routed: unicasts are queued at the monitors first, and a
// broadcast is routed while nothing else is.
//
// # Locks
//
// Bus.mu (names, connections, subscriptions, monitors) comes first: unicasts hold it for reading,
// everything else for writing. Conn.mu (queue, calls) comes second, one at a time. Neither is ever
// held across a system call or a call of [Receiver.Wake]. [Policy], [Index] and [Filter] are called
// with Bus.mu held and must not call back.
package bus
