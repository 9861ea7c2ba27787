package native

import (
	"cmp"
	"slices"
	"sync"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/transport"
)

// inbox is what came for a [Handle] and was not taken yet. It is the bus.Receiver of its connection: it takes messages out
// of the queue as they come, since some are replies that somebody waits for, but they stay on the accounts of their
// senders until they are received.
type inbox struct {
	handle *Handle
	bus    *bus.Conn

	mu     sync.Mutex
	closed bool
	serial uint64
	queue  []*queued           // by priority, and then as they came
	held   bool                // messages wait at an activator
	calls  map[uint64]*awaited // synchronous calls, by their tags
}

// queued is a message that waits to be received.
type queued struct {
	message  *bus.Message
	priority int64
	serial   uint64
}

// awaited is a synchronous call.
type awaited struct {
	tag   uint64
	done  chan struct{}
	reply *bus.Message // once done; nil if the connection has ended
}

// Wake implements bus.Receiver.
func (b *inbox) Wake() {
	var batch [32]*bus.Message
	b.mu.Lock()
	for {
		messages := b.bus.Dequeue(batch[:0])
		if len(messages) == 0 {
			break
		}
		for _, m := range messages {
			b.take(m)
		}
	}
	b.mu.Unlock()
	b.handle.config.Changed()
}

// Wanted implements bus.Receiver: who sends is looked at when somebody wants to know.
func (*inbox) Wanted(meta.Kinds) {}

// take files a message. b.mu is held.
func (b *inbox) take(m *bus.Message) {
	if m.Dst == b.bus.ID() || m.Dst == bus.ToName {
		if call, answers := b.handle.conn.calls.end(m); answers {
			if a := b.calls[call.tag]; a != nil {
				delete(b.calls, call.tag)
				a.reply = m
				close(a.done)
				return
			}
		}
	}
	if n := m.Notification; n != nil && (b.closed || notification(n).Type == 0) {
		b.held = b.held || n.Kind == bus.MessagesHeld
		b.bus.Delivered([]*bus.Message{m}) // that messages were dropped, RECV says by a number
		return
	}
	if b.closed {
		b.bus.Delivered([]*bus.Message{m})
		return
	}
	b.serial++
	b.insert(&queued{m, m.Priority(), b.serial})
}

func (b *inbox) insert(q *queued) {
	i, _ := slices.BinarySearchFunc(b.queue, q, func(x, y *queued) int {
		return cmp.Or(cmp.Compare(x.priority, y.priority), cmp.Compare(x.serial, y.serial))
	})
	b.queue = slices.Insert(b.queue, i, q)
}

// next returns the first message whose priority number is not higher than most; with remove, nobody else gets it.
func (b *inbox) next(most int64, remove bool) *queued {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 || b.queue[0].priority > most {
		return nil
	}
	q := b.queue[0]
	if remove {
		b.queue = slices.Delete(b.queue, 0, 1)
	}
	return q
}

// putBack undoes that next has removed a message.
func (b *inbox) putBack(q *queued) {
	b.mu.Lock()
	if b.closed {
		b.bus.Delivered([]*bus.Message{q.message})
	} else {
		b.insert(q)
	}
	b.mu.Unlock()
	b.handle.config.Changed()
}

func (b *inbox) readable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) > 0 || b.held || b.bus.HasDropped()
}

// expect prepares for a reply, before the call is sent.
func (b *inbox) expect(tag uint64) *awaited {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls == nil {
		b.calls = make(map[uint64]*awaited)
	}
	a := &awaited{tag: tag, done: make(chan struct{})}
	b.calls[tag] = a
	return a
}

// forget ends the waiting for a reply that does not come.
func (b *inbox) forget(tag uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.calls, tag)
}

// close gives up all that is there, and what still comes.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, q := range b.queue {
		b.bus.Delivered([]*bus.Message{q.message})
	}
	b.queue = nil
	for _, a := range b.calls {
		close(a.done)
	}
	b.calls = nil
}

// recv takes a message out of the queue: kdbus.message(7), "Receiving messages".
func (h *Handle) recv(x *Exchange) error {
	c := &h.conn
	if c.bus.Flags()&bus.FlagPolicyHolder != 0 {
		return refusef(syscall.EOPNOTSUPP, "RECV on a policy holder")
	}
	var recv abi.Recv
	err := recv.Decode(x.Struct)
	if asks(x.Cmd, x.Struct) {
		probe, err := x.Cmd.Negotiate(x.Struct)
		if x.All = err == nil; probe || err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	const lowest = 1<<63 - 1
	most := int64(lowest)
	if recv.Flags&abi.RecvUsePriority != 0 {
		most = recv.Priority
	}
	recv.Msg = abi.MsgInfo{Offset: x.Pool.Size()}
	recv.DroppedMsgs = c.bus.TakeDropped()
	err = h.receive(x, &recv, most)
	if recv.DroppedMsgs > 0 {
		recv.ReturnFlags |= abi.RecvReturnDroppedMsgs
	}
	recv.PutReply(x.Struct)
	return err
}

// receive does to the first message what the flags of a RECV say.
func (h *Handle) receive(x *Exchange, recv *abi.Recv, most int64) error {
	peek, drop := recv.Flags&abi.RecvPeek != 0, recv.Flags&abi.RecvDrop != 0
	q := h.inbox.next(most, !peek || drop)
	if q == nil {
		return refusef(syscall.EAGAIN, "RECV: there is no message")
	}
	if drop {
		h.conn.bus.Undeliverable(q.message)
		h.conn.bus.Delivered([]*bus.Message{q.message})
		return nil
	}
	var err error
	recv.Msg, err = h.place(x, q.message)
	switch {
	case err != nil && !peek:
		h.inbox.putBack(q)
	case err == nil && !peek:
		x.taken = q
	}
	return err
}

// place puts a message into the pool.
func (h *Handle) place(x *Exchange, m *bus.Message) (abi.MsgInfo, error) {
	var e transport.Encoding
	h.conn.Encode(&e, m)
	pieces, fds := e.Contents()
	size := -abi.FrameHeaderSize
	for _, p := range pieces {
		size += len(p)
	}
	info := abi.MsgInfo{Size: uint64(size)}
	if len(fds) > 0 {
		pieces = withoutDescriptors(pieces)
		info.ReturnFlags |= abi.RecvReturnIncompleteFDs
	}
	var err error
	info.Offset, err = x.Pool.Place(pieces, abi.FrameHeaderSize)
	return info, err
}

// withoutDescriptors returns a frame in which descriptors are -1, which is how kdbus says that one could not be installed.
func withoutDescriptors(pieces [][]byte) [][]byte {
	frame := slices.Concat(pieces...) // it is not ours alone
	kmsg := frame[abi.FrameHeaderSize:]
	kmsg = kmsg[:u64(kmsg)]
	for at := sizeKmsg; at+sizeItem <= len(kmsg); {
		item := kmsg[at:]
		size := int(u64(item))
		at += align8(size)
		switch abi.ItemType(u64(item[offType:])) {
		case abi.ItemPayloadMemfd:
			copy(item[offMemfd:], noDescriptor)
		case abi.ItemFDs:
			for i := sizeItem; i+4 <= size; i += 4 {
				copy(item[i:], noDescriptor)
			}
		}
	}
	return [][]byte{frame}
}

// noDescriptor is -1.
var noDescriptor = []byte{0xff, 0xff, 0xff, 0xff}
