// Package kdbus talks to message buses: it calls methods of peers, emits and receives signals,
// owns names, and exports Go values as objects. It speaks the native protocol of kdbus to a bus
// that does, and D-Bus 1 to any other; a program need not know which.
//
//	conn, err := kdbus.DialSession(ctx)
//	player := conn.Object("com.example.Player", "/com/example/Player")
//	volume, err := kdbus.Get[float64](ctx, player, "com.example.Player.Volume")
//	_, err = player.Call(ctx, "com.example.Player.Play", "some track")
//
// # How the pieces fit
//
// A [Conn] is a connection, made by [Dial], [DialSession], [DialSystem] or a [Dialer]. What
// belongs to others is an [Object], by bus name and path: [Object.Call] gives the answer as a
// [Message], the functions [Call] and [Get] as a Go value. What belongs to this program is given
// to [Conn.Export]: a Go value, whose methods become methods, whose fields of type [Property]
// become properties, and of type [Signal] signals. Then [Conn.RequestName] makes it known. What
// peers emit comes through a [Subscription], described by a [Match]; [Conn.Monitor] shows the
// traffic of others.
//
// Which Go types are which D-Bus types is told in the comment of package wire. An *os.File as
// argument, result or pointed to by what [Message.Decode] is given is a file descriptor; within
// other values it can be sent, and is received as a [UnixFD], an index into [Message.Files]. There
// is no D-Bus type for int and uint: write int32 or int64.
//
// Below that, a transport carries messages and a registry asks the bus for names and
// subscriptions (transport.go has both interfaces). For D-Bus 1 they are a stream socket and calls
// to org.freedesktop.DBus (registry.go). Natively they are commands of kdbus in frames (frames.go,
// sendframe.go, nativeregistry.go), and what the bus notifies of is made into the signals that a
// D-Bus bus would have sent (notification.go).
//
// # What native connections have
//
// Which of the two it is, is found out while the connection authenticates, and [Conn.Native] tells.
// KDBUS=0 in the environment, kdbus=0 on the command line of the kernel and [Dialer.DBus1] keep to
// D-Bus 1. The differences are
//
//   - metadata: who sent a message, as the bus knows it, see below;
//   - bodies of 128 KiB and more are in a sealed memfd, which nobody copies on the way;
//   - [Conn.Dropped]: the bus says how many signals it had no room for;
//   - a call that nobody waits for any more is cancelled, so that the bus forgets it;
//   - priorities: [Object.WithPriority], [Conn.EmitPriority], [Subscription.Receive];
//   - [Conn.List] and [Conn.BusInfo], which tell more of names, connections and the bus;
//   - a broadcast cannot carry file descriptors, and a connection has at most 256 subscriptions
//     ([ErrLimitsExceeded]).
//
// Root, and the user whose bus it is, can connect as more than an ordinary peer: as an [Activator], to which messages
// come while nobody owns its name; as a [PolicyHolder], which keeps a [NamePolicy] in force; as a monitor
// that nobody sees ([DialMonitor]); and on behalf of somebody else ([Dialer.Impersonate]). What takes
// a native connection is [ErrNotNative] without one.
//
// They can also make what kdbus calls an endpoint, a further door to the bus that lets through what its policies say and
// nothing else ([MakeEndpoint]), to be given to whom one does not trust; and everybody can make buses in a domain
// ([MakeBus]). Both last as long as the value that stands for them.
//
// # Priorities
//
// kdbus lets a receiver choose which message it takes next. This bus sends messages on as soon as there is room
// for them in the receiver's socket, those that wait for room in the order of their priorities, the lowest
// number first. What has arrived waits in this package: calls of exported objects are handled in that order too,
// and [Subscription.Receive] has the flags of RECV, to look at the next message without taking it, to throw it away, and
// to go by priority. There is no USE_PRIORITY for answers: whoever waits for one gets it at once.
//
// # Ownership
//
// Values handed in are written before the function returns and may be changed then, those handed
// out are the caller's. Files that are sent as arguments stay the caller's; those that a
// method of an exported object returns are closed when they are sent. Files received are
// the receiver's to close; those of a message nobody gets are closed by this package.
//
// # Goroutines and order
//
// Everything may be called from any goroutine, from methods of exported objects too (but for
// [Conn.Close]). Per connection there are
//
//   - one goroutine that receives. It never waits for anything but the bus: it hands answers to
//     those who wait for them, puts signals in the queues of subscriptions, and leaves calls to
//   - the handlers: up to Dialer.Handlers goroutines, started when needed, that run the methods
//     of exported objects. Calls start in the order in which they came and run side by side; with
//     one handler, one after the other. Calls that wait are bounded by Dialer.QueuedCalls, and
//     refused beyond;
//   - now and then one that waits until a full socket can be written to.
//
// Who sends writes to the socket itself. While somebody else does, it leaves the message to that
// one and goes on, so that many small messages are one system call; when a megabyte waits to be
// sent, senders wait too, as long as their context lets them. A nil error means that the message
// is on its way, not that it has arrived.
//
// Whoever calls while no other call of the connection waits for its answer receives that itself,
// in the kernel, where that has turned out to be quicker: it comes without a change of goroutines.
// After a few milliseconds the goroutine that receives does. A context that ends ends a call
// within that time. A connection has at most 128 calls under way, which is what buses
// permit; further ones wait.
//
// Messages go out in the order in which the functions that send them were called, as far as
// there is one. Signals of one sender are in a subscription in the order sent; an answer is
// handed out after the signals that came before it are in their queues. Nothing is queued without
// bound: a subscription whose queue is full loses messages and counts them.
//
// # Errors
//
// What a peer or the bus answers is an [*Error], with a D-Bus name: errors.Is compares it with
// the variables of this package, errors.As gets at the message. When a callee vanishes its calls
// end at once with [ErrNoReply]. There is no other limit to waiting than the context. Ends of the
// connection are [ErrClosed] and [ErrDisconnected]. Errors say what was being done to what; those
// of values that are no D-Bus come from package wire.
//
// A panic in a method of an exported object ends the program, as elsewhere in Go.
//
// Natively, an error of the bus also is its errno to errors.Is.
//
// # Who sent it
//
// [Message.Sender] is the unique name of the sender, stamped by the bus. [Message.Metadata] is
// what else the bus says of the sender at the time of sending, of what [Dialer.Metadata] asks for;
// with D-Bus 1 it says nothing, and the method returns nil. [Conn.PeerMetadata] asks either kind of
// bus what it knows of a peer since it connected. None of it is taken from the peer's own word.
package kdbus
