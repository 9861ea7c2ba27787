package abi

import "iter"

// NameAcquire asks for a well-known name: kdbus.name(7), "Acquiring a name".
type NameAcquire struct {
	Flags     NameFlags
	Negotiate Negotiation
	Name      string
	// ReturnFlags is filled in by the bus: NamePrimary, NameInQueue,
	// NameAcquired.
	ReturnFlags NameFlags
}

// Cmd returns CmdNameAcquire.
func (*NameAcquire) Cmd() Cmd { return CmdNameAcquire }

// Decode reads a request.
func (c *NameAcquire) Decode(b []byte) error {
	items, flags, probe, err := nameAcquireShape.open(b)
	if err != nil {
		return err
	}
	*c = NameAcquire{Flags: NameFlags(flags), Negotiate: Negotiation{Probe: probe}}
	err = nameAcquireShape.each(items, func(it Item) fault {
		switch {
		case it.Type == ItemNegotiate:
			c.Negotiate.set(it.Data)
		case !probe:
			c.Name = text(it.Data)
			return checkName(c.Name, false)
		}
		return fault{}
	})
	if err != nil {
		return err
	}
	return nil
}

// Append appends the struct: as a request, or with what the bus filled in.
func (c *NameAcquire) Append(dst []byte) []byte {
	start := len(dst)
	dst = c.Negotiate.append(appendHead(dst, uint64(c.Flags), c.Negotiate, uint64(c.ReturnFlags)))
	if c.Name != "" {
		dst = appendStringItem(dst, ItemName, c.Name)
	}
	return putSize(dst, start)
}

// PutReply writes ReturnFlags into the client's own struct, of which b holds the
// fixed part at least.
func (c *NameAcquire) PutReply(b []byte) { putU64(b, offReturnFlags, uint64(c.ReturnFlags)) }

// DecodeReply reads ReturnFlags, and leaves the rest of c alone.
func (c *NameAcquire) DecodeReply(b []byte) error {
	if _, err := nameAcquireShape.openReply(b); err != nil {
		return err
	}
	c.ReturnFlags = NameFlags(u64(b, offReturnFlags))
	return nil
}

// NameRelease gives a name up, or leaves the queue for it: kdbus.name(7),
// "Releasing a name".
type NameRelease struct {
	Negotiate Negotiation
	// Name may be any string: one that is no name cannot be owned (ESRCH).
	Name string
}

// Cmd returns CmdNameRelease.
func (*NameRelease) Cmd() Cmd { return CmdNameRelease }

// Decode reads a request.
func (c *NameRelease) Decode(b []byte) error {
	items, _, probe, err := nameReleaseShape.open(b)
	if err != nil {
		return err
	}
	*c = NameRelease{Negotiate: Negotiation{Probe: probe}}
	for it := range items.All() {
		switch it.Type {
		case ItemNegotiate:
			c.Negotiate.set(it.Data)
		case ItemName:
			c.Name = text(it.Data)
		}
	}
	return nil
}

// Append appends the struct.
func (c *NameRelease) Append(dst []byte) []byte {
	start := len(dst)
	dst = c.Negotiate.append(appendHead(dst, 0, c.Negotiate, 0))
	if c.Name != "" || !c.Negotiate.Probe {
		dst = appendStringItem(dst, ItemName, c.Name)
	}
	return putSize(dst, start)
}

// List asks for connections and names: kdbus.name(7), "Dumping the name
// registry".
type List struct {
	Flags     ListFlags
	Negotiate Negotiation
	// Offset and ListSize are filled in by the bus: where in the pool the
	// entries are. See [ListEntries].
	Offset   uint64
	ListSize uint64
}

// Cmd returns CmdList.
func (*List) Cmd() Cmd { return CmdList }

// Decode reads a request.
func (c *List) Decode(b []byte) error {
	items, flags, probe, err := listShape.open(b)
	if err != nil {
		return err
	}
	*c = List{Flags: ListFlags(flags), Negotiate: onlyNegotiation(items, probe)}
	return nil
}

// Append appends the struct: as a request, or with what the bus filled in.
func (c *List) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendHead(dst, uint64(c.Flags), c.Negotiate, 0)
	dst = appendU64(appendU64(dst, c.Offset), c.ListSize)
	return putSize(c.Negotiate.append(dst), start)
}

// PutReply writes Offset and ListSize into the client's own struct, of which b
// holds the fixed part at least.
func (c *List) PutReply(b []byte) {
	putU64(b, offReturnFlags, 0)
	putU64(b, 24, c.Offset)
	putU64(b, 32, c.ListSize)
}

// DecodeReply reads Offset and ListSize, and leaves the rest of c alone.
func (c *List) DecodeReply(b []byte) error {
	if _, err := listShape.openReply(b); err != nil {
		return err
	}
	c.Offset, c.ListSize = u64(b, 24), u64(b, 32)
	return nil
}

// ListEntry is one line of a LIST: a connection, or a name it owns or waits for.
type ListEntry struct {
	ID    uint64
	Flags HelloFlags // of the connection
	// Name is empty in the line of a connection itself.
	Name OwnedName
}

// Append appends the entry to dst, which holds entries only.
func (e ListEntry) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendU64(appendU64(appendU64(dst, 0), e.ID), uint64(e.Flags))
	if e.Name.Name != "" {
		dst = e.Name.append(dst)
	}
	return putSize(dst, start)
}

// ListEntries reads the entries of a list. An error ends it.
func ListEntries(b []byte) iter.Seq2[ListEntry, error] {
	return func(yield func(ListEntry, error) bool) {
		for offset := 0; offset < len(b); {
			e, size, err := listEntry(b[offset:])
			if err != nil {
				err.Offset += offset
				yield(ListEntry{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
			offset += align8(size)
		}
	}
}

func listEntry(b []byte) (ListEntry, int, *Error) {
	const what = "list"
	if len(b) < sizeInfo {
		return ListEntry{}, 0, invalid("fewer bytes left than an entry has").at(what, 0, 0)
	}
	size := u64(b, 0)
	if size < sizeInfo || size > uint64(len(b)) {
		return ListEntry{}, 0, invalid("size of the entry is not within the list").at(what, 0, 0)
	}
	e := ListEntry{ID: u64(b, 8), Flags: HelloFlags(u64(b, 16))}
	_, err := eachReceived(what, sizeInfo, b[sizeInfo:size], func(it Item) fault {
		if it.Type == ItemOwnedName {
			if e.Name.Name != "" {
				return invalid("occurs twice")
			}
			e.Name = ownedName(it.Data)
		}
		return fault{}
	})
	return e, int(size), err
}
