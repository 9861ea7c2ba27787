// Package peer is a D-Bus client that does exactly what it is told, for tests of a bus.
//
// A library for applications refuses to send what is wrong and hides what it thinks is of no
// interest; a test of a bus needs both. So a [Message] is a list of header fields in the order
// they are sent, with the signatures they are sent with, and nothing is checked: required fields
// may be absent, unknown ones present, serials zero, the byte order either. A [Client] hands over
// every message that arrives, in order.
//
// The codec is deliberately not package wire of this module: a mistake made the same way when
// encoding and when decoding would be invisible to a test that used the bus's own codec.
//
// Nothing here is safe for concurrent use, except that one goroutine may send on a Client while
// another receives.
package peer
