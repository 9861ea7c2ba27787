package abi

import "syscall"

// MatchAdd asks for signals and notifications: kdbus.match(7), "Adding a match".
type MatchAdd struct {
	Flags     MatchFlags
	Negotiate Negotiation
	// Cookie is the client's name for the match; several may have the same.
	Cookie uint64
	// Rules must all be met. Without any, all signals of connections and all
	// notifications match.
	Rules []MatchRule
}

// MatchRule is one item of a [MatchAdd]. Which fields count depends on Type.
//
// Rules for signals of connections and rules for notifications of the bus are
// never met by the other, so that a match with both is never met at all.
type MatchRule struct {
	Type ItemType

	// BLOOM_MASK: the signal's filter must have all bits of the mask. There is
	// one mask after the other, one for each generation. Whether they are as
	// long as the bus's filters is the caller's to check (EDOM).
	Mask []byte

	// ID: connection that sends the signal. DST_ID: to whom it is sent. ID_ADD
	// and ID_REMOVE: connection that comes or goes. MatchIDAny is any.
	ID uint64

	// NAME: the sender owns it. NAME_ADD, NAME_REMOVE, NAME_CHANGE: it changes
	// hands, unless AnyName. MATCH_RULE: the rule.
	Name string

	// NAME_ADD, NAME_REMOVE, NAME_CHANGE: the owner before and after;
	// MatchIDAny is any.
	OldID, NewID uint64
	AnyName      bool
}

// Cmd returns CmdMatchAdd.
func (*MatchAdd) Cmd() Cmd { return CmdMatchAdd }

// Decode reads a request.
func (c *MatchAdd) Decode(b []byte) error {
	items, flags, probe, err := matchAddShape.open(b)
	if err != nil {
		return err
	}
	*c = MatchAdd{Flags: MatchFlags(flags), Negotiate: Negotiation{Probe: probe}, Cookie: u64(b, 24)}
	err = matchAddShape.each(items, func(it Item) fault {
		if it.Type == ItemNegotiate {
			c.Negotiate.set(it.Data)
			return fault{}
		}
		if probe {
			return fault{}
		}
		r, f := matchRule(it)
		c.Rules = append(c.Rules, r)
		return f
	})
	if err != nil {
		return err
	}
	return nil
}

func matchRule(it Item) (MatchRule, fault) {
	r := MatchRule{Type: it.Type}
	d := it.Data
	switch it.Type {
	case ItemBloomMask:
		if len(d) == 0 || len(d)%8 != 0 {
			return r, fault{syscall.EDOM, "size is not that of bloom masks"}
		}
		r.Mask = append(r.Mask, d...)
	case ItemID, ItemDstID, ItemIDAdd, ItemIDRemove:
		r.ID = u64(d, 0)
	case ItemName:
		r.Name = text(d)
		return r, checkName(r.Name, false)
	case ItemMatchRule:
		r.Name = text(d)
	case ItemNameAdd, ItemNameRemove, ItemNameChange:
		r.OldID, r.NewID = u64(d, 0), u64(d, 16)
		if len(d) == 32 {
			r.AnyName = true
		} else {
			r.Name = text(d[32:])
		}
	}
	return r, fault{}
}

// Append appends the struct. Rules of a type that is none are left out.
func (c *MatchAdd) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendU64(appendHead(dst, uint64(c.Flags), c.Negotiate, 0), c.Cookie)
	dst = c.Negotiate.append(dst)
	for i := range c.Rules {
		dst = c.Rules[i].append(dst)
	}
	return putSize(dst, start)
}

func (r *MatchRule) append(dst []byte) []byte {
	switch r.Type {
	case ItemBloomMask:
		return AppendItem(dst, r.Type, r.Mask)
	case ItemID, ItemDstID:
		return appendU64Item(dst, r.Type, r.ID)
	case ItemIDAdd, ItemIDRemove:
		return appendU64(appendU64(appendItemHeader(dst, r.Type, 16), r.ID), 0)
	case ItemName, ItemMatchRule:
		return appendStringItem(dst, r.Type, r.Name)
	case ItemNameAdd, ItemNameRemove, ItemNameChange:
		n := Notification{Type: r.Type, Name: r.Name}
		n.Old.ID, n.New.ID = r.OldID, r.NewID
		return n.append(dst, !r.AnyName)
	}
	return dst
}

// MatchRemove withdraws all matches with a cookie: kdbus.match(7), "Removing a
// match".
type MatchRemove struct {
	Negotiate Negotiation
	Cookie    uint64
}

// Cmd returns CmdMatchRemove.
func (*MatchRemove) Cmd() Cmd { return CmdMatchRemove }

// Decode reads a request.
func (c *MatchRemove) Decode(b []byte) error {
	items, _, probe, err := matchRemoveShape.open(b)
	if err != nil {
		return err
	}
	*c = MatchRemove{Negotiate: onlyNegotiation(items, probe), Cookie: u64(b, 24)}
	return nil
}

// Append appends the struct.
func (c *MatchRemove) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendU64(appendHead(dst, 0, c.Negotiate, 0), c.Cookie)
	return putSize(c.Negotiate.append(dst), start)
}
