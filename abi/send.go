package abi

// Send sends a [Message], which is a struct of its own: kdbus.message(7),
// "Sending messages".
type Send struct {
	Flags     SendFlags
	Negotiate Negotiation
	// MsgAddress is where in the client's memory the message is; without
	// meaning where there is no such memory.
	MsgAddress uint64
	// CancelFD is a descriptor that ends the waiting for a reply when it is
	// readable (ECANCELED), if HasCancelFD.
	CancelFD    int32
	HasCancelFD bool
	// Reply is filled in by the bus if SendSyncReply is set.
	Reply MsgInfo
}

// Cmd returns CmdSend.
func (*Send) Cmd() Cmd { return CmdSend }

// Decode reads a request. It does not allocate, unless the request negotiates.
func (c *Send) Decode(b []byte) error {
	items, flags, probe, err := sendShape.open(b)
	if err != nil {
		return err
	}
	*c = Send{Flags: SendFlags(flags), Negotiate: Negotiation{Probe: probe}, MsgAddress: u64(b, 24)}
	for it := range items.All() {
		switch it.Type {
		case ItemNegotiate:
			c.Negotiate.set(it.Data)
		case ItemCancelFD:
			c.CancelFD, c.HasCancelFD = int32(u32(it.Data, 0)), true
		}
	}
	return nil
}

// Append appends the struct: as a request, or with what the bus filled in.
func (c *Send) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendU64(appendHead(dst, uint64(c.Flags), c.Negotiate, 0), c.MsgAddress)
	dst = c.Negotiate.append(c.Reply.append(dst))
	if c.HasCancelFD {
		dst = appendFDItem(dst, ItemCancelFD, c.CancelFD)
	}
	return putSize(dst, start)
}

// PutReply writes Reply into the client's own struct, of which b holds the fixed
// part at least.
func (c *Send) PutReply(b []byte) {
	putU64(b, offReturnFlags, 0)
	c.Reply.put(b[32:])
}

// DecodeReply reads Reply, and leaves the rest of c alone.
func (c *Send) DecodeReply(b []byte) error {
	if _, err := sendShape.openReply(b); err != nil {
		return err
	}
	c.Reply = msgInfo(b[32:])
	return nil
}

// Recv takes a message out of the queue: kdbus.message(7), "Receiving messages".
type Recv struct {
	Flags     RecvFlags
	Negotiate Negotiation
	// Priority is the lowest wanted, that is the highest number, if
	// RecvUsePriority is set.
	Priority int64
	// What follows is filled in by the bus, even if there is no message
	// (EAGAIN).
	ReturnFlags RecvReturnFlags
	DroppedMsgs uint64 // lost since the last RECV
	Msg         MsgInfo
}

// Cmd returns CmdRecv.
func (*Recv) Cmd() Cmd { return CmdRecv }

// Decode reads a request.
func (c *Recv) Decode(b []byte) error {
	items, flags, probe, err := recvShape.open(b)
	if err != nil {
		return err
	}
	*c = Recv{
		Flags:     RecvFlags(flags),
		Negotiate: onlyNegotiation(items, probe),
		Priority:  int64(u64(b, 24)),
	}
	const both = RecvDrop | RecvUsePriority
	if !probe && c.Flags&both == both {
		return recvShape.fail(offFlags, "DROP and USE_PRIORITY together")
	}
	return nil
}

// Append appends the struct: as a request, or with what the bus filled in.
func (c *Recv) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendHead(dst, uint64(c.Flags), c.Negotiate, uint64(c.ReturnFlags))
	dst = appendU64(appendU64(dst, uint64(c.Priority)), c.DroppedMsgs)
	return putSize(c.Negotiate.append(c.Msg.append(dst)), start)
}

// PutReply writes ReturnFlags, DroppedMsgs and Msg into the client's own struct,
// of which b holds the fixed part at least.
func (c *Recv) PutReply(b []byte) {
	putU64(b, offReturnFlags, uint64(c.ReturnFlags))
	putU64(b, 32, c.DroppedMsgs)
	c.Msg.put(b[40:])
}

// DecodeReply reads ReturnFlags, DroppedMsgs and Msg, and leaves the rest of c
// alone.
func (c *Recv) DecodeReply(b []byte) error {
	if _, err := recvShape.openReply(b); err != nil {
		return err
	}
	c.ReturnFlags = RecvReturnFlags(u64(b, offReturnFlags))
	c.DroppedMsgs = u64(b, 32)
	c.Msg = msgInfo(b[40:])
	return nil
}
