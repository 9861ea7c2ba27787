package abi

// ConnInfo asks about a connection: kdbus.connection(7), "Retrieving information
// on a connection". The answer is an [Info].
type ConnInfo struct {
	Negotiate Negotiation
	// ID of the connection, or 0 to go by Name. With both, it must own Name.
	ID uint64
	// Name may be any string but the empty one: what is no name has no owner
	// (ESRCH).
	Name string
	// AttachFlags are the kinds of metadata wanted.
	AttachFlags AttachFlags
	// Offset and InfoSize are filled in by the bus: where in the pool the Info
	// is.
	Offset   uint64
	InfoSize uint64
}

// Cmd returns CmdConnInfo.
func (*ConnInfo) Cmd() Cmd { return CmdConnInfo }

// Decode reads a request.
func (c *ConnInfo) Decode(b []byte) error {
	items, _, probe, err := connInfoShape.open(b)
	if err != nil {
		return err
	}
	*c = ConnInfo{Negotiate: Negotiation{Probe: probe}, ID: u64(b, 24), AttachFlags: AttachFlags(u64(b, 32))}
	err = connInfoShape.each(items, func(it Item) fault {
		switch it.Type {
		case ItemNegotiate:
			c.Negotiate.set(it.Data)
		case ItemName:
			if c.Name = text(it.Data); c.Name == "" && !probe {
				return invalid("empty")
			}
		}
		return fault{}
	})
	if err != nil {
		return err
	}
	if probe {
		return nil
	}
	var f fault
	if c.AttachFlags, f = c.AttachFlags.sanitize(); f.errno != 0 {
		return f.at(connInfoShape.name, 32, 0)
	}
	if c.ID == 0 && c.Name == "" {
		return connInfoShape.fail(24, "neither an id nor a name")
	}
	return nil
}

// Append appends the struct: as a request, or with what the bus filled in.
func (c *ConnInfo) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendHead(dst, 0, c.Negotiate, 0)
	for _, v := range [...]uint64{c.ID, uint64(c.AttachFlags), c.Offset, c.InfoSize} {
		dst = appendU64(dst, v)
	}
	dst = c.Negotiate.append(dst)
	if c.Name != "" {
		dst = appendStringItem(dst, ItemName, c.Name)
	}
	return putSize(dst, start)
}

// PutReply writes Offset and InfoSize into the client's own struct, of which b
// holds the fixed part at least.
func (c *ConnInfo) PutReply(b []byte) { putInfoReply(b, c.Offset, c.InfoSize) }

// DecodeReply reads Offset and InfoSize, and leaves the rest of c alone.
func (c *ConnInfo) DecodeReply(b []byte) error {
	if _, err := connInfoShape.openReply(b); err != nil {
		return err
	}
	c.Offset, c.InfoSize = u64(b, 40), u64(b, 48)
	return nil
}

// BusCreatorInfo asks about the bus and who made it: kdbus.connection(7),
// "Retrieving information about a connection's bus creator". The answer is an
// [Info].
type BusCreatorInfo struct {
	Negotiate Negotiation
	// AttachFlags are the kinds of metadata wanted.
	AttachFlags AttachFlags
	// Offset and InfoSize are filled in by the bus: where in the pool the Info
	// is.
	Offset   uint64
	InfoSize uint64
}

// Cmd returns CmdBusCreatorInfo.
func (*BusCreatorInfo) Cmd() Cmd { return CmdBusCreatorInfo }

// Decode reads a request.
func (c *BusCreatorInfo) Decode(b []byte) error {
	items, _, probe, err := busCreatorInfoShape.open(b)
	if err != nil {
		return err
	}
	*c = BusCreatorInfo{Negotiate: onlyNegotiation(items, probe), AttachFlags: AttachFlags(u64(b, 32))}
	if probe {
		return nil
	}
	var f fault
	if c.AttachFlags, f = c.AttachFlags.sanitize(); f.errno != 0 {
		return f.at(busCreatorInfoShape.name, 32, 0)
	}
	return nil
}

// Append appends the struct: as a request, or with what the bus filled in.
func (c *BusCreatorInfo) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendHead(dst, 0, c.Negotiate, 0)
	for _, v := range [...]uint64{0, uint64(c.AttachFlags), c.Offset, c.InfoSize} {
		dst = appendU64(dst, v)
	}
	return putSize(c.Negotiate.append(dst), start)
}

// PutReply writes Offset and InfoSize into the client's own struct, of which b
// holds the fixed part at least.
func (c *BusCreatorInfo) PutReply(b []byte) { putInfoReply(b, c.Offset, c.InfoSize) }

// DecodeReply reads Offset and InfoSize, and leaves the rest of c alone.
func (c *BusCreatorInfo) DecodeReply(b []byte) error {
	if _, err := busCreatorInfoShape.openReply(b); err != nil {
		return err
	}
	c.Offset, c.InfoSize = u64(b, 40), u64(b, 48)
	return nil
}

func putInfoReply(b []byte, offset, size uint64) {
	putU64(b, offReturnFlags, 0)
	putU64(b, 40, offset)
	putU64(b, 48, size)
}

// Info is what a bus tells about a connection, or about itself.
type Info struct {
	ID uint64 // of the connection, or the bus
	// Flags are [HelloFlags] of the connection, or [MakeFlags] of the bus.
	Flags uint64
	// BusName is the name of the bus; empty about connections.
	BusName string
	// Metadata of who made the connection, or the bus, at that time.
	Metadata Metadata
}

// Append appends the struct kdbus_info.
func (i *Info) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendU64(appendU64(appendU64(dst, 0), i.ID), i.Flags)
	if i.BusName != "" {
		dst = appendStringItem(dst, ItemMakeName, i.BusName)
	}
	return putSize(i.Metadata.Append(dst, AttachAll), start)
}

// Decode reads the struct from all of its bytes.
func (i *Info) Decode(b []byte) error {
	const what = "info"
	if len(b) < sizeInfo || u64(b, 0) != uint64(len(b)) {
		return invalid("size is not that of the bytes given").at(what, 0, 0)
	}
	*i = Info{ID: u64(b, 8), Flags: u64(b, 16)}
	seen, err := eachReceived(what, sizeInfo, b[sizeInfo:], func(it Item) fault {
		if it.Type == ItemMakeName {
			i.BusName = text(it.Data)
		} else {
			i.Metadata.set(it)
		}
		return fault{}
	})
	if err != nil {
		return err
	}
	i.Metadata.Has = seen
	return nil
}
