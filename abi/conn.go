package abi

// Update changes a connection: kdbus.connection(7), "Updating connection
// details".
type Update struct {
	Negotiate Negotiation
	// AttachFlagsSend and AttachFlagsRecv replace those of HELLO; nil leaves
	// them.
	AttachFlagsSend *AttachFlags
	AttachFlagsRecv *AttachFlags
	// Policies replace those of a policy holder: one at most (E2BIG); nil
	// leaves them.
	Policies []Policy
}

// Cmd returns CmdUpdate.
func (*Update) Cmd() Cmd { return CmdUpdate }

// Decode reads a request.
func (u *Update) Decode(b []byte) error {
	items, _, probe, err := updateShape.open(b)
	if err != nil {
		return err
	}
	*u = Update{Negotiate: Negotiation{Probe: probe}}
	r := policyReader{max: 1}
	err = updateShape.each(items, func(it Item) (f fault) {
		switch {
		case it.Type == ItemNegotiate:
			u.Negotiate.set(it.Data)
		case probe:
		case it.Type == ItemAttachFlagsSend:
			var flags AttachFlags
			flags, f = AttachFlags(u64(it.Data, 0)).sanitize()
			u.AttachFlagsSend = &flags
		case it.Type == ItemAttachFlagsRecv:
			var flags AttachFlags
			flags, f = AttachFlags(u64(it.Data, 0)).sanitize()
			u.AttachFlagsRecv = &flags
		default:
			f = r.read(it)
		}
		return f
	})
	if err != nil {
		return err
	}
	u.Policies = r.policies
	return nil
}

// Append appends the struct.
func (u *Update) Append(dst []byte) []byte {
	start := len(dst)
	dst = u.Negotiate.append(appendHead(dst, 0, u.Negotiate, 0))
	if u.AttachFlagsSend != nil {
		dst = appendU64Item(dst, ItemAttachFlagsSend, uint64(*u.AttachFlagsSend))
	}
	if u.AttachFlagsRecv != nil {
		dst = appendU64Item(dst, ItemAttachFlagsRecv, uint64(*u.AttachFlagsRecv))
	}
	return putSize(appendPolicies(dst, u.Policies), start)
}

// ByeBye ends a connection, if its queue is empty: kdbus.connection(7),
// "Termination of connections".
type ByeBye struct {
	Negotiate Negotiation
}

// Cmd returns CmdByeBye.
func (*ByeBye) Cmd() Cmd { return CmdByeBye }

// Decode reads a request.
func (c *ByeBye) Decode(b []byte) error {
	items, _, probe, err := byeByeShape.open(b)
	if err != nil {
		return err
	}
	*c = ByeBye{Negotiate: onlyNegotiation(items, probe)}
	return nil
}

// Append appends the struct.
func (c *ByeBye) Append(dst []byte) []byte {
	start := len(dst)
	return putSize(c.Negotiate.append(appendHead(dst, 0, c.Negotiate, 0)), start)
}

// Free gives memory of the pool back: kdbus.pool(7).
type Free struct {
	Negotiate Negotiation
	Offset    uint64 // in the pool, as told by another command
}

// Cmd returns CmdFree.
func (*Free) Cmd() Cmd { return CmdFree }

// Decode reads a request.
func (c *Free) Decode(b []byte) error {
	items, _, probe, err := freeShape.open(b)
	if err != nil {
		return err
	}
	*c = Free{Negotiate: onlyNegotiation(items, probe), Offset: u64(b, 24)}
	return nil
}

// Append appends the struct.
func (c *Free) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendU64(appendHead(dst, 0, c.Negotiate, 0), c.Offset)
	return putSize(c.Negotiate.append(dst), start)
}

// onlyNegotiation reads the items of a command that has no others.
func onlyNegotiation(items Items, probe bool) Negotiation {
	n := Negotiation{Probe: probe}
	for it := range items.All() {
		if it.Type == ItemNegotiate {
			n.set(it.Data)
		}
	}
	return n
}
