package abi

// Hello makes a connection: kdbus.connection(7), "Creating connections".
type Hello struct {
	Flags     HelloFlags
	Negotiate Negotiation
	// AttachFlagsSend is the metadata that the connection is ready to send.
	AttachFlagsSend AttachFlags
	// AttachFlagsRecv is the metadata that it wants with each message.
	AttachFlagsRecv AttachFlags
	// PoolSize is the size of the pool, in bytes. That it is a multiple of the
	// page size, and not 0, is for the caller to check, if there is to be a
	// pool.
	PoolSize uint64

	// Name and its policy: of activators and policy holders, which need one.
	Name   string
	Access []PolicyAccess
	// Description of the connection, for humans.
	Description string

	// Creds, PIDs and SecLabel let a privileged connection pass for another
	// process; nil and "" if it does not.
	Creds    *Creds
	PIDs     *PIDs
	SecLabel string

	// Reply is filled in by the bus.
	Reply HelloReply
}

// HelloReply is what the bus answers to HELLO.
type HelloReply struct {
	BusFlags MakeFlags
	ID       uint64 // of the connection
	// Offset and ItemsSize are where in the pool there are more items, of
	// which BLOOM_PARAMETER is one. See [BloomParameter.AppendItem].
	Offset    uint64
	ItemsSize uint64
	ID128     [16]byte // of the bus
	// Bloom is an item of the reply itself, where there is no pool. PutReply
	// leaves it out.
	Bloom BloomParameter
}

// Cmd returns CmdHello.
func (*Hello) Cmd() Cmd { return CmdHello }

// Decode reads a request.
func (h *Hello) Decode(b []byte) error {
	items, flags, probe, err := helloShape.open(b)
	if err != nil {
		return err
	}
	*h = Hello{
		Flags:           HelloFlags(flags),
		Negotiate:       Negotiation{Probe: probe},
		AttachFlagsSend: AttachFlags(u64(b, 24)),
		AttachFlagsRecv: AttachFlags(u64(b, 32)),
		PoolSize:        u64(b, 56),
	}
	r := policyReader{max: 1}
	err = helloShape.each(items, func(it Item) fault {
		if probe && it.Type != ItemNegotiate {
			return fault{}
		}
		return h.readItem(it, &r)
	})
	if err != nil {
		return err
	}
	if len(r.policies) > 0 {
		h.Name, h.Access = r.policies[0].Name, r.policies[0].Access
	}
	if probe {
		return nil
	}
	if err := h.check(); err != nil {
		return err
	}
	return nil
}

func (h *Hello) readItem(it Item, r *policyReader) fault {
	switch it.Type {
	case ItemNegotiate:
		h.Negotiate.set(it.Data)
	case ItemConnDescription:
		h.Description = text(it.Data)
	case ItemSecLabel:
		h.SecLabel = text(it.Data)
	case ItemCreds:
		c := creds(it.Data)
		for _, id := range [...]uint64{c.UID, c.EUID, c.SUID, c.FSUID, c.GID, c.EGID, c.SGID, c.FSGID} {
			if id > IDUnset {
				return invalid("no valid user or group")
			}
		}
		h.Creds = &c
	case ItemPIDs:
		p := pids(it.Data)
		h.PIDs = &p
	default:
		return r.read(it)
	}
	return fault{}
}

// check judges what the fields say together, and degrades the attach flags.
func (h *Hello) check() *Error {
	var f fault
	if h.AttachFlagsSend, f = h.AttachFlagsSend.sanitize(); f.errno != 0 {
		return f.at(helloShape.name, 24, 0)
	}
	if h.AttachFlagsRecv, f = h.AttachFlagsRecv.sanitize(); f.errno != 0 {
		return f.at(helloShape.name, 32, 0)
	}
	named := false
	switch h.Flags & (HelloActivator | HelloPolicyHolder | HelloMonitor) {
	case 0, HelloMonitor:
	case HelloActivator:
		named = true
		if n := len(h.Name); n > 2 && h.Name[n-1] == '*' {
			return invalid("an activator cannot have a wildcard").at(helloShape.name, helloShape.size, ItemName)
		}
	case HelloPolicyHolder:
		named = true
	default:
		return helloShape.fail(offFlags, "more than one of ACTIVATOR, POLICY_HOLDER and MONITOR")
	}
	switch {
	case named && h.Name == "":
		return helloShape.fail(offFlags, "an activator or policy holder without a name")
	case !named && h.Name != "":
		return helloShape.fail(offFlags, "a name, but no activator or policy holder")
	}
	return nil
}

// Append appends the struct: as a request, or with what the bus filled in.
func (h *Hello) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendHead(dst, uint64(h.Flags), h.Negotiate, 0)
	for _, v := range [...]uint64{
		uint64(h.AttachFlagsSend), uint64(h.AttachFlagsRecv), uint64(h.Reply.BusFlags), h.Reply.ID, h.PoolSize,
		h.Reply.Offset, h.Reply.ItemsSize,
	} {
		dst = appendU64(dst, v)
	}
	dst = h.Negotiate.append(append(dst, h.Reply.ID128[:]...))
	if h.Name != "" {
		dst = appendPolicies(dst, []Policy{{Name: h.Name, Access: h.Access}})
	}
	if h.Description != "" {
		dst = appendStringItem(dst, ItemConnDescription, h.Description)
	}
	if h.Creds != nil {
		dst = h.Creds.append(dst)
	}
	if h.PIDs != nil {
		dst = h.PIDs.append(dst)
	}
	if h.SecLabel != "" {
		dst = appendStringItem(dst, ItemSecLabel, h.SecLabel)
	}
	if h.Reply.Bloom != (BloomParameter{}) {
		dst = h.Reply.Bloom.AppendItem(dst)
	}
	return putSize(dst, start)
}

// PutReply writes h.Reply, without Bloom, into the client's own struct, of which
// b holds the fixed part at least.
func (h *Hello) PutReply(b []byte) {
	putU64(b, offReturnFlags, 0)
	putU64(b, 40, uint64(h.Reply.BusFlags))
	putU64(b, 48, h.Reply.ID)
	putU64(b, 64, h.Reply.Offset)
	putU64(b, 72, h.Reply.ItemsSize)
	copy(b[80:sizeHello], h.Reply.ID128[:])
}

// DecodeReply reads h.Reply, and leaves the rest of h alone.
func (h *Hello) DecodeReply(b []byte) error {
	items, err := helloShape.openReply(b)
	if err != nil {
		return err
	}
	h.Reply = HelloReply{
		BusFlags:  MakeFlags(u64(b, 40)),
		ID:        u64(b, 48),
		Offset:    u64(b, 64),
		ItemsSize: u64(b, 72),
		ID128:     [16]byte(b[80:96]),
	}
	err = helloShape.each(items, func(it Item) fault {
		if it.Type != ItemBloomParameter {
			return fault{}
		}
		if f := it.check(); f.errno != 0 {
			return f
		}
		h.Reply.Bloom = bloomParameter(it.Data)
		return h.Reply.Bloom.check()
	})
	if err != nil {
		return err
	}
	return nil
}
