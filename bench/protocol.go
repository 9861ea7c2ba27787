package bench

// protocol is what a client speaks: messages made in advance, which are patched each time
// they are sent, and the little that has to be looked at in those that are read. There are
// [dbus1] and [native]. Messages are whole ones: with D-Bus 1 its messages, natively frames.
type protocol interface {
	// negotiation returns what to ask for while authenticating, and the answers to expect.
	negotiation() []question
	// hello returns the first message, and welcome takes the answer to it and returns the
	// unique name.
	hello() []byte
	welcome(answer []byte) (name string, err error)

	// size returns the size of the message that b begins with. It is an error if b is shorter
	// than headerSize.
	size(b []byte) (int, error)
	headerSize() int
	// kind says what a whole message is, and failure why it is a kindFailure.
	kind(m []byte) kind
	failure(m []byte) error

	// call returns the call that is measured, with an array of payload bytes as its argument,
	// without an argument if that is 0; reply the empty reply to it, signal the broadcast that
	// is measured, and subscription the call of the bus that asks for it.
	call(peer string, payload int) ([]byte, error)
	reply(peer string) ([]byte, error)
	signal() []byte
	subscription() []byte
	// own returns the call of the bus that takes serviceName.
	own() []byte
	// number gives a message of ours a serial number, and answer makes a reply the one to a
	// call that was read.
	number(m []byte, serial uint32)
	answer(reply, call []byte)
}

// question is one line of a negotiation, and the line that agrees.
type question struct{ ask, agreed string }

// kind is what a message is to a client of the benchmark.
type kind uint8

const (
	kindOther   kind = iota // nothing that matters
	kindCall                // a call, which wants a reply
	kindReply               // the reply to a call, or to a command that the bus was given
	kindSignal              // a signal
	kindFailure             // the bus or the peer says that something went wrong
)
