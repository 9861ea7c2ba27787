package abi

import "pgregory.net/rapid"

// Generators of valid values.
var (
	names        = rapid.StringMatching(`[A-Za-z_-][A-Za-z0-9_-]{0,8}(\.[A-Za-z_-][A-Za-z0-9_-]{0,8}){1,3}`)
	sysnames     = rapid.StringMatching(`[A-Za-z0-9_]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9_])?`)
	texts        = rapid.StringMatching(`[^\x00]{0,12}`)
	u64s         = rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3), rapid.Just(MatchIDAny))
	ids          = rapid.Uint64Range(0, IDUnset)
	attachFlags  = rapid.Map(rapid.Uint64(), func(v uint64) AttachFlags { return AttachFlags(v) & AttachAll })
	itemTypes    = rapid.Map(u64s, func(v uint64) ItemType { return ItemType(v) })
	negotiations = rapid.Custom(func(t *rapid.T) Negotiation {
		return Negotiation{Items: rapid.SliceOfN(itemTypes, 0, 3).Draw(t, "negotiate")}
	})
	accesses = rapid.Custom(func(t *rapid.T) PolicyAccess {
		return PolicyAccess{
			Type:   PolicyAccessType(rapid.IntRange(1, 3).Draw(t, "type")),
			Access: PolicyType(rapid.IntRange(0, 2).Draw(t, "access")),
			ID:     rapid.Uint64Range(0, IDUnset-1).Draw(t, "id"),
		}
	})
	policies = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Policy {
		name := names.Draw(t, "name")
		if rapid.Bool().Draw(t, "wildcard") {
			name += ".*"
		}
		return Policy{Name: name, Access: rapid.SliceOfN(accesses, 0, 3).Draw(t, "access")}
	}), 0, 3)
	// What only custom endpoints have.
	endpointPolicies = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Policy {
		p := Policy{Name: names.Draw(t, "name"), Access: rapid.SliceOfN(accesses, 0, 3).Draw(t, "access")}
		p.Subtree = rapid.Bool().Draw(t, "subtree")
		p.Calls = rapid.SliceOfN(texts, 0, 2).Draw(t, "calls")
		p.Broadcasts = rapid.SliceOfN(texts, 0, 2).Draw(t, "broadcasts")
		return p
	}), 0, 3)
	credentials = rapid.Custom(func(t *rapid.T) Creds {
		return Creds{
			ids.Draw(t, "uid"), ids.Draw(t, "euid"), ids.Draw(t, "suid"), ids.Draw(t, "fsuid"),
			ids.Draw(t, "gid"), ids.Draw(t, "egid"), ids.Draw(t, "sgid"), ids.Draw(t, "fsgid"),
		}
	})
	processes = rapid.Custom(func(t *rapid.T) PIDs {
		return PIDs{u64s.Draw(t, "pid"), u64s.Draw(t, "tid"), u64s.Draw(t, "ppid")}
	})
)

// bytes8 draws bytes, a multiple of 8.
func bytes8(t *rapid.T, least, most int) []byte {
	n := 8 * rapid.IntRange(least, most).Draw(t, "words")
	return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes")
}

// flagsOf draws some of the flags there are.
func flagsOf(t *rapid.T, s *shape) uint64 { return rapid.Uint64().Draw(t, "flags") & s.flags }

func drawCommand(t *rapid.T) Command {
	cmd := rapid.SampledFrom(commands).Draw(t, "command")
	n := negotiations.Draw(t, "negotiation")
	flags := flagsOf(t, cmd.shape())
	switch cmd {
	case CmdBusMake:
		return &BusMake{
			Negotiate: n, Flags: MakeFlags(flags), Name: sysnames.Draw(t, "name"),
			Bloom: BloomParameter{
				Size: 8 * rapid.Uint64Range(1, 512).Draw(t, "size"), NHash: rapid.Uint64Min(1).Draw(t, "hashes"),
			},
			AttachFlagsSend: attachFlags.Draw(t, "send"), AttachFlagsRecv: attachFlags.Draw(t, "recv"),
		}
	case CmdEndpointMake:
		return &EndpointMake{
			Negotiate: n, Flags: MakeFlags(flags), Name: sysnames.Draw(t, "name"),
			Policies: endpointPolicies.Draw(t, "policies"),
		}
	case CmdEndpointUpdate:
		return &EndpointUpdate{Negotiate: n, Policies: endpointPolicies.Draw(t, "policies")}
	case CmdHello:
		return drawHello(t, n)
	case CmdUpdate:
		return &Update{
			Negotiate:       n,
			AttachFlagsSend: rapid.Ptr(attachFlags, true).Draw(t, "send"),
			AttachFlagsRecv: rapid.Ptr(attachFlags, true).Draw(t, "recv"),
			Policies:        policies.Filter(func(p []Policy) bool { return len(p) <= 1 }).Draw(t, "policies"),
		}
	case CmdByeBye:
		return &ByeBye{Negotiate: n}
	case CmdFree:
		return &Free{Negotiate: n, Offset: u64s.Draw(t, "offset")}
	case CmdConnInfo:
		c := &ConnInfo{
			Negotiate: n, ID: u64s.Draw(t, "id"), Name: texts.Draw(t, "name"), AttachFlags: attachFlags.Draw(t, "attach"),
		}
		if c.Name == "" {
			c.ID |= 1
		}
		return c
	case CmdBusCreatorInfo:
		return &BusCreatorInfo{Negotiate: n, AttachFlags: attachFlags.Draw(t, "attach")}
	case CmdList:
		return &List{Negotiate: n, Flags: ListFlags(flags)}
	case CmdSend:
		c := &Send{Negotiate: n, Flags: SendFlags(flags), MsgAddress: u64s.Draw(t, "address")}
		if c.HasCancelFD = rapid.Bool().Draw(t, "cancel"); c.HasCancelFD {
			c.CancelFD = rapid.Int32().Draw(t, "fd")
		}
		return c
	case CmdRecv:
		c := &Recv{Negotiate: n, Flags: RecvFlags(flags), Priority: rapid.Int64().Draw(t, "priority")}
		if c.Flags&RecvDrop != 0 {
			c.Flags &^= RecvUsePriority
		}
		return c
	case CmdNameAcquire:
		return &NameAcquire{Negotiate: n, Flags: NameFlags(flags), Name: names.Draw(t, "name")}
	case CmdNameRelease:
		return &NameRelease{Negotiate: n, Name: texts.Draw(t, "name")}
	case CmdMatchAdd:
		return &MatchAdd{
			Negotiate: n, Flags: MatchFlags(flags), Cookie: u64s.Draw(t, "cookie"),
			Rules: rapid.SliceOfN(rapid.Custom(drawRule), 0, 4).Draw(t, "rules"),
		}
	default:
		return &MatchRemove{Negotiate: n, Cookie: u64s.Draw(t, "cookie")}
	}
}

func drawHello(t *rapid.T, n Negotiation) *Hello {
	h := &Hello{
		Negotiate:       n,
		AttachFlagsSend: attachFlags.Draw(t, "send"),
		AttachFlagsRecv: attachFlags.Draw(t, "recv"),
		PoolSize:        u64s.Draw(t, "pool"),
		SecLabel:        texts.Draw(t, "label"),
		Creds:           rapid.Ptr(credentials, true).Draw(t, "creds"),
		PIDs:            rapid.Ptr(processes, true).Draw(t, "pids"),
	}
	if rapid.Bool().Draw(t, "described") {
		h.Description = sysnames.Draw(t, "description")
	}
	h.Flags = rapid.SampledFrom([]HelloFlags{0, HelloActivator, HelloPolicyHolder, HelloMonitor}).Draw(t, "kind")
	if rapid.Bool().Draw(t, "fds") {
		h.Flags |= HelloAcceptFD
	}
	if h.Flags&(HelloActivator|HelloPolicyHolder) != 0 {
		h.Name = names.Draw(t, "name")
		h.Access = rapid.SliceOfN(accesses, 0, 3).Draw(t, "access")
	}
	return h
}

func drawRule(t *rapid.T) MatchRule {
	r := MatchRule{Type: rapid.SampledFrom(matchAddShape.items).Draw(t, "rule").item}
	switch r.Type {
	case ItemBloomMask:
		r.Mask = bytes8(t, 1, 4)
	case ItemName:
		r.Name = names.Draw(t, "name")
	case ItemMatchRule:
		r.Name = texts.Draw(t, "rule")
	case ItemID, ItemDstID, ItemIDAdd, ItemIDRemove:
		r.ID = u64s.Draw(t, "id")
	default:
		r.OldID, r.NewID = u64s.Draw(t, "old"), u64s.Draw(t, "new")
		if r.AnyName = rapid.Bool().Draw(t, "any"); !r.AnyName {
			r.Name = texts.Draw(t, "name")
		}
	}
	return r
}

// drawMessage draws what sent and received messages have in common.
func drawMessage(t *rapid.T) Message {
	m := Message{
		Flags:       MsgFlags(flagsOf(t, &sentMessageShape)),
		Priority:    rapid.Int64().Draw(t, "priority"),
		DstID:       u64s.Draw(t, "destination"),
		SrcID:       u64s.Draw(t, "source"),
		PayloadType: PayloadType(rapid.Uint64Min(1).Draw(t, "type")),
		Cookie:      rapid.Uint64Min(1).Draw(t, "cookie"),
		FDs:         rapid.SliceOfN(rapid.Int32Min(0), 0, 4).Draw(t, "fds"),
	}
	if m.Flags&MsgSignal != 0 {
		m.Flags &^= MsgExpectReply
		m.Bloom = BloomFilter{u64s.Draw(t, "generation"), bytes8(t, 1, 8)}
	}
	if m.Flags&MsgExpectReply != 0 {
		m.TimeoutNS = rapid.Uint64Min(1).Draw(t, "timeout")
	} else if m.Flags&MsgSignal == 0 {
		m.CookieReply = u64s.Draw(t, "reply")
	}
	return m
}

func drawSentMessage(t *rapid.T) Message {
	m := drawMessage(t)
	if m.DstID == DstIDBroadcast {
		m.FDs = nil
		if m.Flags&MsgSignal == 0 {
			m.DstID = 1
		}
	}
	if m.DstID == DstIDName || m.DstID != DstIDBroadcast && rapid.Bool().Draw(t, "named") {
		m.DstName = names.Draw(t, "name")
	}
	for range rapid.IntRange(0, 4).Draw(t, "pieces") {
		p := Payload{Type: ItemPayloadVec, Offset: u64s.Draw(t, "address"), Size: rapid.Uint64Range(1, 9).Draw(t, "size")}
		if rapid.Bool().Draw(t, "memfd") {
			p.Type = ItemPayloadMemfd
			p.FD = rapid.Int32Min(0).Draw(t, "memfd")
			p.Offset = rapid.Uint64Range(0, 1<<60).Draw(t, "start")
		}
		m.Payload = append(m.Payload, p)
	}
	return m
}

// drawReceivedMessage draws a message and the bytes of its payload.
func drawReceivedMessage(t *rapid.T) (Message, int) {
	m := drawMessage(t)
	m.DstName = texts.Draw(t, "name")
	meta := drawMetadata(t)
	m.Metadata = meta.Append(nil, AttachAll)
	m.Notification = drawNotification(t)
	pieces := rapid.IntRange(0, 4).Draw(t, "pieces")
	for range pieces {
		m.Payload = append(m.Payload, Payload{
			Type: rapid.SampledFrom([]ItemType{ItemPayloadOff, ItemPayloadMemfd}).Draw(t, "piece"),
			Size: rapid.Uint64Range(1, 9).Draw(t, "size"),
		})
	}
	offset := m.Size()
	for i := range m.Payload {
		switch p := &m.Payload[i]; {
		case p.Type == ItemPayloadMemfd:
			p.FD = rapid.Int32Min(-1).Draw(t, "memfd")
			p.Offset = u64s.Draw(t, "start")
		case rapid.Bool().Draw(t, "zeros"):
			p.Offset = ZerosOffset
		default:
			p.Offset = uint64(offset)
			offset += int(p.Size)
		}
	}
	return m, offset - m.Size()
}

func drawNotification(t *rapid.T) Notification {
	types := []ItemType{
		0, ItemNameAdd, ItemNameRemove, ItemNameChange, ItemIDAdd, ItemIDRemove, ItemReplyTimeout, ItemReplyDead,
	}
	n := Notification{Type: rapid.SampledFrom(types).Draw(t, "notification")}
	parties := rapid.Custom(func(t *rapid.T) Party { return Party{u64s.Draw(t, "id"), u64s.Draw(t, "flags")} })
	switch n.Type {
	case ItemNameAdd, ItemNameRemove, ItemNameChange:
		n.Old, n.New, n.Name = parties.Draw(t, "old"), parties.Draw(t, "new"), names.Draw(t, "name")
	case ItemIDAdd:
		n.New = parties.Draw(t, "new")
	case ItemIDRemove:
		n.Old = parties.Draw(t, "old")
	case ItemReplyTimeout, ItemReplyDead:
		if rapid.Bool().Draw(t, "reason") {
			n.Reason = Reason{1 + u64s.Draw(t, "errno")>>1, names.Draw(t, "error"), texts.Draw(t, "text")}
		}
	}
	return n
}

// drawMetadata draws metadata of some kinds.
func drawMetadata(t *rapid.T) Metadata {
	all := drawFullMetadata(t)
	// What is left out must not be found again.
	var m Metadata
	if err := m.Decode(all.Append(nil, attachFlags.Draw(t, "kinds"))); err != nil {
		t.Fatal(err)
	}
	return m
}

// drawFullMetadata draws metadata of all kinds.
func drawFullMetadata(t *rapid.T) Metadata {
	all := Metadata{
		Has:       AttachAll,
		Timestamp: Timestamp{u64s.Draw(t, "seqnum"), u64s.Draw(t, "monotonic"), u64s.Draw(t, "realtime")},
		Creds:     credentials.Draw(t, "creds"),
		PIDs:      processes.Draw(t, "pids"),
		AuxGroups: rapid.SliceOfN(u64s, 0, 3).Draw(t, "groups"),
		Names: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) OwnedName {
			return OwnedName{names.Draw(t, "name"), NameFlags(u64s.Draw(t, "flags"))}
		}), 1, 3).Draw(t, "names"),
		TIDComm:     texts.Draw(t, "tid comm"),
		PIDComm:     texts.Draw(t, "pid comm"),
		Exe:         texts.Draw(t, "exe"),
		Cmdline:     rapid.SliceOfN(texts, 1, 3).Draw(t, "cmdline"),
		CGroup:      texts.Draw(t, "cgroup"),
		Caps:        Caps{LastCap: rapid.Uint32Range(0, 63).Draw(t, "last cap")},
		SecLabel:    texts.Draw(t, "label"),
		Audit:       Audit{rapid.Uint32().Draw(t, "session"), rapid.Uint32().Draw(t, "login")},
		Description: sysnames.Draw(t, "description"),
	}
	for _, set := range []*uint64{
		&all.Caps.Inheritable, &all.Caps.Permitted, &all.Caps.Effective, &all.Caps.Bounding,
	} {
		*set = rapid.Uint64().Draw(t, "caps") & all.Caps.mask()
	}
	return all
}
