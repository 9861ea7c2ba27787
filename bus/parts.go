package bus

import "github.com/kdbus-go/kdbus/meta"

// Parts is a set of parts of a message that only some receivers want, and that are made only for
// them. The low bits are kinds of metadata, as they are numbered there.
type Parts uint64

const (
	// PartsMetadata are all kinds of metadata.
	PartsMetadata = Parts(meta.AllKinds)

	// PartView: Message.View is set.
	PartView Parts = 1 << 32
	// PartDBus1: Message.Payload is set, the message as D-Bus 1 has it.
	PartDBus1 Parts = 1 << 33
	// PartBloom: the filter in Message.Extra is set.
	PartBloom Parts = 1 << 34
)

const (
	connectionParts = Parts(meta.ConnectionKinds)
	processParts    = Parts(meta.ProcessKinds)
)

// A Maker makes parts of a message that it sends: the front-end of the sender.
type Maker interface {
	// Make makes those of the missing parts of m that can be made, and leaves the others out. Of
	// metadata it adds process kinds to m.Meta, or replaces that by one which has more. It is called by
	// [Conn.Send] without locks, in the goroutine that sends, before the message has had any effect;
	// once for each part.
	Make(m *Message, missing Parts)
}
