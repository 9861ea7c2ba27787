package bus

import (
	"slices"
	"time"

	"github.com/kdbus-go/kdbus/meta"
)

// What is known about the sender of a message. The kinds that concern its process are collected by
// the sender's front-end, its Maker; those of the message and of the connection are added here, and
// those that a privileged peer has given for itself take the place of the former. A message carries
// what its sender, the bus and the domain permit and one of its receivers asked for; each receiver
// is shown what it asked for itself.

// wanted returns the parts of messages that c wants.
func (c *Conn) wanted() Parts { return Parts(c.wants.Load()) }

// attach completes the metadata of m, which c sends and of which wants is wanted. Bus.mu is held in
// any mode, and m is in no queue yet.
func (c *Conn) attach(m *Message, wants Parts) {
	if m.Meta == nil && wants&^m.Has&PartsMetadata == 0 {
		return
	}
	kinds := meta.Kinds(wants) & c.attachable
	own := kinds & meta.ConnectionKinds
	process := m.Meta
	if c.fake != nil {
		process = c.fake
	} else {
		kinds |= c.attachable & meta.ProcessKinds // what was collected for others, too
	}
	if own == 0 && process == m.Meta && (process == nil || process.Has&^c.attachable == 0) {
		return
	}
	data := new(meta.Data)
	if process != nil {
		*data = only(process, kinds&meta.ProcessKinds)
	}
	if own&meta.KindTimestamp != 0 {
		c.bus.attachTimestamp(data, m)
	}
	c.describe(data, own)
	m.Meta = data
	if data.Has == 0 {
		m.Meta = nil
	}
}

// attachTime is attach for messages of the bus itself, of which nothing else is known.
func (b *Bus) attachTime(m *Message, wants Parts) {
	if wants&Parts(meta.KindTimestamp&b.attach) == 0 {
		return
	}
	m.Meta = new(meta.Data)
	b.attachTimestamp(m.Meta, m)
}

func (b *Bus) attachTimestamp(data *meta.Data, m *Message) {
	now := time.Now()
	data.Timestamp = meta.Timestamp{
		Seqnum:      m.Sequence,
		MonotonicNS: b.clock.monotonic(now),
		RealtimeNS:  uint64(now.UnixNano()),
	}
	data.Has |= meta.KindTimestamp
}

// describe adds what the bus knows of c. Bus.mu is held in any mode.
func (c *Conn) describe(data *meta.Data, kinds meta.Kinds) {
	if kinds&meta.KindNames != 0 {
		if data.Names = c.ownedNames(); data.Names != nil {
			data.Has |= meta.KindNames
		}
	}
	if kinds&meta.KindDescription != 0 && c.description != "" {
		data.Description = c.description
		data.Has |= meta.KindDescription
	}
}

// only returns the part of data that is in kinds.
func only(data *meta.Data, kinds meta.Kinds) meta.Data {
	d := *data
	d.Has &= kinds
	if d.Has == data.Has {
		return d
	}
	for _, clear := range [...]struct {
		kind meta.Kinds
		do   func()
	}{
		{meta.KindTimestamp, func() { d.Timestamp = meta.Timestamp{} }},
		{meta.KindCreds, func() { d.Creds = meta.IDs{} }},
		{meta.KindPIDs, func() { d.PIDs = meta.PIDs{} }},
		{meta.KindAuxGroups, func() { d.AuxGroups = nil }},
		{meta.KindNames, func() { d.Names = nil }},
		{meta.KindTIDComm, func() { d.TIDComm = "" }},
		{meta.KindPIDComm, func() { d.PIDComm = "" }},
		{meta.KindExe, func() { d.Exe = "" }},
		{meta.KindCmdline, func() { d.Cmdline = nil }},
		{meta.KindCGroup, func() { d.CGroup = "" }},
		{meta.KindCaps, func() { d.Caps = meta.Caps{} }},
		{meta.KindSecLabel, func() { d.SecLabel = "" }},
		{meta.KindAudit, func() { d.Audit = meta.Audit{} }},
		{meta.KindDescription, func() { d.Description = "" }},
	} {
		if d.Has&clear.kind == 0 {
			clear.do()
		}
	}
	return d
}

// Attached returns what the connection gets of m.Meta, and which kinds, as things are now: only these may be shown to its
// peer. Of the names it is those that the connection may see. What it returns must not be changed; it is nil if there are no kinds.
func (c *Conn) Attached(m *Message) (*meta.Data, meta.Kinds) {
	if m.Meta == nil {
		return nil, 0
	}
	kinds := m.Meta.Has & meta.Kinds(c.wanted())
	switch {
	case kinds == 0:
		return nil, 0
	case kinds&meta.KindNames == 0:
		return m.Meta, kinds
	}
	names := c.visibleTo(m.Meta.Names)
	switch {
	case len(names) == len(m.Meta.Names):
		return m.Meta, kinds
	case len(names) == 0 && kinds == meta.KindNames:
		return nil, 0
	case len(names) == 0:
		return m.Meta, kinds &^ meta.KindNames
	}
	data := *m.Meta
	data.Names = names
	return &data, kinds
}

// visibleTo returns the names that c may see, without changing the slice.
func (c *Conn) visibleTo(names []meta.OwnedName) []meta.OwnedName {
	c.bus.mu.RLock()
	defer c.bus.mu.RUnlock()
	hidden := func(n meta.OwnedName) bool { return !c.seesName(n.Name) }
	if c.monitor != nil || !slices.ContainsFunc(names, hidden) { // monitors see everything
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), hidden)
}

// InfoFor returns what another connection may learn of c, of the kinds in want: what was known of the process when
// it connected, the names that it owns now, as far as the other may see them, its description.
func (c *Conn) InfoFor(other *Conn, want meta.Kinds) meta.Data {
	data := c.Info(want)
	if data.Names = other.visibleTo(data.Names); len(data.Names) == 0 {
		data.Names, data.Has = nil, data.Has&^meta.KindNames
	}
	return data
}

// Info returns what may be known of the connection by whoever sees everything: as InfoFor, with all names.
func (c *Conn) Info(want meta.Kinds) meta.Data {
	b := c.bus
	b.mu.RLock()
	want &= c.attachable
	b.mu.RUnlock()
	var data meta.Data
	switch process := want & meta.ProcessKinds; {
	case c.fake != nil:
		data = only(c.fake, process)
	case c.metadata != nil:
		data = only(c.metadata, process)
	case c.collect != nil && process != 0:
		data = c.collect(process)
		data = only(&data, process)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	c.describe(&data, want)
	return data
}

func (c *Conn) ownedNames() (names []meta.OwnedName) {
	for _, n := range c.claims {
		if n.primary() == c {
			names = append(names, meta.OwnedName{Name: n.name, Flags: uint64(n.flags(c))})
		}
	}
	return names
}

// Update changes what may be attached to the messages that c sends, and what c wants to be attached
// to those that it receives; nil leaves it as it is.
func (c *Conn) Update(send, receive *meta.Kinds) error {
	b := c.bus
	b.mu.Lock()
	if c.closed {
		b.mu.Unlock()
		return c.gone()
	}
	before := b.audience.parts
	if send != nil {
		c.attachSend = *send
		c.attachable = c.attachSend & b.attach
	}
	if receive != nil {
		old := c.wanted()
		wants := old&^PartsMetadata | Parts(*receive)&PartsMetadata
		c.wants.Store(uint32(wants))
		if c.joined || c.monitor != nil {
			b.audience.remove(old)
			b.audience.add(wants)
		}
		if c.monitor != nil {
			b.instructMonitors()
		}
	}
	changed := wantsChanged(before, b.audience.parts)
	b.mu.Unlock()
	switch {
	case changed:
		b.tellWanted()
	case send != nil:
		b.tellWanted(c)
	}
	return nil
}

// wantsChanged reports whether [Bus.tellWanted] has to be called, given what all connections wanted
// before and what they want now.
func wantsChanged(before, now Parts) bool { return (before^now)&processParts != 0 }

// tellWanted tells those connections (all, if none are given) for which it has changed which process
// kinds of their messages somebody may want. It is called without locks. One call is under way at a
// time, so that the last word is the one that is true.
func (b *Bus) tellWanted(conns ...*Conn) {
	b.telling.Lock()
	defer b.telling.Unlock()
	b.mu.RLock()
	changed := make([]*Conn, 0, len(conns))
	look := func(c *Conn) {
		if want := c.wantedOfIt(); want != c.told {
			c.told = want
			changed = append(changed, c)
		}
	}
	for _, c := range conns {
		look(c)
	}
	if conns == nil {
		for _, c := range b.conns {
			look(c)
		}
	}
	b.mu.RUnlock()
	for _, c := range changed {
		c.receiver.Wanted(c.told)
	}
}

// wantedOfIt returns the process kinds that somebody may want of c's messages. Bus.mu is held.
func (c *Conn) wantedOfIt() meta.Kinds {
	if !c.joined || c.fake != nil {
		return 0
	}
	return meta.Kinds(c.bus.audience.parts) & c.attachable & meta.ProcessKinds
}
