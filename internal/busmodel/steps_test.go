package busmodel

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// Few of everything, so that there is a crowd at each.
var (
	someNames     = []string{"a.b.c", "a.b.d", "a.b", "o.n.e"}
	someEntries   = append([]string{"a.b.*", "a.*", "o.*"}, someNames...)
	someUsers     = []uint32{0, busOwner, 7, 8, 9}
	someGroups    = []uint32{20, 21}
	someCookies   = []uint64{1, 1, 2, 3, 0}
	someSizes     = []int{0, 1, 100, 205, 206, 300, 700}
	somePriority  = []int64{0, 0, 0, 0, 0, -1, 1, -5}
	someReceived  = []meta.Kinds{0, 0, meta.KindTimestamp, meta.KindNames | meta.KindCreds, meta.KindDescription, meta.AllKinds}
	someSent      = []meta.Kinds{meta.AllKinds, meta.AllKinds, required, required | meta.KindTimestamp | meta.KindPIDs, required | meta.KindNames}
	someFilters   = [][]byte{nil, {0, 0, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 0}, {3, 0, 0, 0, 0, 0, 0, 128}, {2, 0, 0, 0, 0, 0, 0, 128}}
	fairLimits    = bus.Limits{Quota: bus.Quota{Bytes: 6000, Messages: 5, FDs: 2, Memfds: 2, Fair: true}, MaxNames: 3, MaxCalls: 3, MaxMatches: 3}
	dbusLimits    = bus.Limits{Quota: bus.Quota{Bytes: 900, FDs: 2, Memfds: 2}, MaxNames: 2, MaxCalls: 4, MaxMatches: 3}
	roomyLimits   = bus.Limits{Quota: bus.Quota{Bytes: 1 << 30, FDs: 1 << 10, Memfds: 1 << 10}, MaxNames: 1 << 10, MaxCalls: 1 << 10, MaxMatches: 1 << 10}
	someLimits    = []bus.Limits{fairLimits, fairLimits, dbusLimits, roomyLimits}
	oneIn         = func(t *rapid.T, n int, what string) bool { return rapid.IntRange(1, n).Draw(t, what) == n }
	anyConnFlags  = []bus.ConnFlags{bus.FlagActivator | bus.FlagPolicyHolder, bus.FlagActivator | bus.FlagMonitor, bus.FlagMonitor | bus.FlagPolicyHolder, bus.FlagActivator}
	specialFlags  = []bus.ConnFlags{bus.FlagActivator, bus.FlagActivator, bus.FlagPolicyHolder, bus.FlagPolicyHolder, bus.FlagMonitor}
	acquireFlags  = []bus.NameFlags{bus.ReplaceExisting, bus.AllowReplacement, bus.Queue, bus.DoNotQueue}
	messagesFlags = []bus.Flags{0, 0, 0, bus.ExpectReply, bus.ExpectReply, bus.ExpectReply, bus.Signal, bus.Signal, bus.Signal | bus.ExpectReply}
)

func pick[T any](t *rapid.T, from []T, what string) T {
	return rapid.SampledFrom(from).Draw(t, what)
}

// anybody picks a connection, one that is closed now and then; nil if there is none.
func (w *world) anybody(t *rapid.T, what string) *peer {
	from := w.active()
	if !oneIn(t, 16, "may be closed") {
		from = w.open()
	}
	if len(from) == 0 {
		return nil
	}
	return pick(t, from, what)
}

func (w *world) open() []*peer {
	return slices.DeleteFunc(w.active(), func(p *peer) bool { return p.model.closed })
}

func (w *world) active() []*peer {
	return slices.DeleteFunc(slices.Clone(w.peers), func(p *peer) bool { return p.passive })
}

// somebody picks one that can send, mostly.
func (w *world) somebody(t *rapid.T, what string) *peer {
	from := slices.DeleteFunc(w.open(), func(p *peer) bool { return !p.model.ordinary() || p.model.monitor })
	if len(from) == 0 || oneIn(t, 12, "anybody") {
		return w.anybody(t, what)
	}
	return pick(t, from, what)
}

func drawEntries(t *rapid.T) (entries []bus.NamePolicy) {
	for range rapid.IntRange(0, 2).Draw(t, "entries") {
		e := bus.NamePolicy{Name: pick(t, someEntries, "name")}
		for range rapid.IntRange(0, 2).Draw(t, "accesses") {
			e.Access = append(e.Access, drawAccess(t))
		}
		entries = append(entries, e)
	}
	return entries
}

// drawPolicies draws what an endpoint lets through.
func drawPolicies(t *rapid.T) (policies []bus.NamePolicy) {
	for range rapid.IntRange(0, 3).Draw(t, "policies") {
		p := bus.NamePolicy{Name: pick(t, append([]string{"a", "o.n"}, someEntries...), "name")}
		p.Subtree = !strings.HasSuffix(p.Name, ".*") && rapid.Bool().Draw(t, "subtree")
		for range rapid.IntRange(0, 2).Draw(t, "accesses") {
			p.Access = append(p.Access, drawAccess(t))
		}
		if oneIn(t, 3, "calls") {
			p.Calls = []bus.Rule{cookieRule(pick(t, someCookies, "cookie"))}
		}
		if oneIn(t, 2, "broadcasts") {
			p.Broadcasts = []bus.Rule{cookieRule(pick(t, someCookies, "cookie"))}
		}
		policies = append(policies, p)
	}
	return policies
}

func drawAccess(t *rapid.T) bus.Access {
	a := bus.Access{
		Kind:  bus.AccessKind(rapid.IntRange(1, 3).Draw(t, "kind")),
		Level: bus.AccessLevel(rapid.IntRange(1, 3).Draw(t, "level")),
	}
	if a.Kind == bus.AccessUser {
		a.ID = pick(t, someUsers, "user")
	} else {
		a.ID = pick(t, someGroups, "group")
	}
	if oneIn(t, 30, "wrong") {
		a.Level = 4
	}
	return a
}

func drawSpec(t *rapid.T) (s spec) {
	s = spec{
		uid:         pick(t, someUsers, "user"),
		anonymous:   oneIn(t, 12, "anonymous"),
		dbus1:       rapid.Bool().Draw(t, "of D-Bus 1"),
		tellDropped: rapid.Bool().Draw(t, "told of drops"),
		limits:      pick(t, someLimits, "limits"),
		send:        pick(t, someSent, "sent metadata"),
		receive:     pick(t, someReceived, "wanted metadata"),
		description: pick(t, []string{"", "somebody"}, "description"),
		slow:        oneIn(t, 3, "slow"),
	}
	s.tellOwn = s.dbus1 && rapid.Bool().Draw(t, "told of its names")
	if !oneIn(t, 4, "no descriptors") {
		s.flags = bus.FlagAcceptFDs
	}
	if oneIn(t, 3, "in a group") {
		s.groups = []uint32{pick(t, someGroups, "group")}
	}
	if oneIn(t, 8, "impersonates") {
		fake := pick(t, []meta.Kinds{0, meta.KindCreds, meta.KindCreds | meta.KindPIDs | meta.KindSecLabel}, "fake")
		s.fake, s.fakedUser = &fake, pick(t, someUsers, "user that it passes for")
	}
	if oneIn(t, 20, "withholds") {
		s.send = 0
	}
	if oneIn(t, 3, "special") {
		kind := pick(t, specialFlags, "kind")
		s.flags |= kind
		if kind == bus.FlagActivator {
			s.activates = pick(t, someNames, "activates")
		}
		if kind&special != 0 {
			s.entries = drawEntries(t)
		}
		if oneIn(t, 8, "nonsense") {
			s.flags |= pick(t, anyConnFlags, "nonsense")
		}
	} else if oneIn(t, 30, "holds what it may not") {
		s.entries = drawEntries(t)
	}
	return s
}

func drawMatch(t *rapid.T) bus.Match {
	m := bus.Match{Cookie: pick(t, someCookies, "cookie")}
	ids := []bus.ID{1, 2, 3, 4, bus.AnyID, bus.AnyID, 0}
	if oneIn(t, 3, "of notifications") {
		for range rapid.IntRange(0, 1).Draw(t, "changes") {
			m.Changes = append(m.Changes, bus.Change{
				Kind: bus.ChangeKind(rapid.IntRange(1, 5).Draw(t, "kind")),
				Name: pick(t, append([]string{"", ""}, someNames...), "name"),
				Old:  pick(t, ids, "old"), New: pick(t, ids, "new"),
			})
		}
		return m
	}
	if oneIn(t, 2, "mask") {
		m.Masks = append(m.Masks, slices.Clone(pick(t, someFilters[1:], "mask")))
		if oneIn(t, 3, "generations") {
			m.Masks[0] = slices.Concat(m.Masks[0], pick(t, someFilters[1:], "mask"))
		}
		if oneIn(t, 20, "wrong") {
			m.Masks[0] = m.Masks[0][1:]
		}
	}
	if oneIn(t, 4, "sender") {
		m.Senders = []bus.ID{pick(t, ids, "sender")}
	}
	if oneIn(t, 4, "destination") {
		m.Destinations = []bus.ID{pick(t, ids, "destination")}
	}
	if oneIn(t, 4, "name") {
		m.Names = []string{pick(t, someNames, "name")}
	}
	if oneIn(t, 10, "change as well") {
		m.Changes = []bus.Change{{Kind: bus.IDAdd, New: bus.AnyID}}
	}
	return m
}

// drawLetter draws all of a letter but its destination.
func (w *world) drawLetter(t *rapid.T) letter {
	l := letter{
		cookie:   pick(t, someCookies, "cookie"),
		priority: pick(t, somePriority, "priority"),
		size:     pick(t, someSizes, "size"),
		native:   rapid.Bool().Draw(t, "native"),
	}
	l.convertible = l.native && !oneIn(t, 4, "not convertible")
	if oneIn(t, 6, "descriptors") {
		l.fds = rapid.IntRange(1, 3).Draw(t, "descriptors")
	}
	if oneIn(t, 8, "memfds") {
		l.memfds = rapid.IntRange(1, 3).Draw(t, "memfds")
	}
	return l
}

// drawDeadline draws one that no other call has. Who only waits may have one that is past; others not, as they were told
// while the step is still under way, or just after.
func (w *world) drawDeadline(t *rapid.T, sync bool) uint64 {
	switch rapid.IntRange(0, 5).Draw(t, "deadline") {
	case 0, 1, 2:
		return 0
	case 3:
		if sync {
			return 1
		}
		return w.model.now + 1
	}
	at := w.model.now - slot/2 + slot*uint64(rapid.IntRange(1, 8).Draw(t, "slots"))
	for w.slots[at] {
		at += slot
	}
	w.slots[at] = true
	return at
}

func (w *world) stepSend(t *rapid.T) {
	p, to := w.somebody(t, "sender"), w.anybody(t, "receiver")
	if p == nil || to == nil {
		return
	}
	l := w.drawLetter(t)
	l.flags = pick(t, messagesFlags, "flags")
	if oneIn(t, 4, "no auto start") {
		l.flags |= bus.NoAutoStart
	}
	switch rapid.IntRange(0, 9).Draw(t, "to") {
	case 0, 1, 2, 3:
		l.dst = to.ID()
	case 4:
		l.dst, l.name = to.ID(), w.drawName(t)
	case 5:
		l.dst = 1000
	default:
		l.name = w.drawName(t)
	}
	if l.flags&bus.ExpectReply != 0 {
		l.sync = rapid.Bool().Draw(t, "sync")
		l.deadline = w.drawDeadline(t, l.sync)
	}
	if l.flags&bus.Signal != 0 {
		w.drawBloom(t, &l)
	}
	w.send(p, l, !oneIn(t, 6, "flush later"))
}

// drawName draws any name, or one that has an activator.
func (w *world) drawName(t *rapid.T) string {
	var activated []string
	for _, s := range someNames {
		if n := w.model.names[s]; n != nil && n.activator != nil {
			activated = append(activated, s)
		}
	}
	if len(activated) == 0 || rapid.Bool().Draw(t, "any name") {
		return pick(t, someNames, "name")
	}
	return pick(t, activated, "name")
}

func (w *world) drawBloom(t *rapid.T, l *letter) {
	l.bloom = pick(t, someFilters, "bloom")
	l.generation = uint64(rapid.IntRange(0, 2).Draw(t, "generation"))
	if oneIn(t, 30, "wrong bloom") {
		l.bloom = []byte{1}
	}
}

func (w *world) stepBroadcast(t *rapid.T) {
	p := w.somebody(t, "sender")
	if p == nil {
		return
	}
	l := w.drawLetter(t)
	l.dst, l.flags = bus.Broadcast, bus.Signal
	w.drawBloom(t, &l)
	if oneIn(t, 20, "expects a reply") {
		l.flags = bus.ExpectReply
	}
	w.send(p, l, !oneIn(t, 6, "flush later"))
}

func (w *world) stepReply(t *rapid.T) {
	var calls []*call
	for _, c := range w.model.conns {
		calls = append(calls, c.calls...)
	}
	p, to := w.somebody(t, "replier"), w.anybody(t, "caller")
	if p == nil || to == nil {
		return
	}
	l := w.drawLetter(t)
	l.dst, l.reply = to.ID(), 1
	if len(calls) > 0 && !oneIn(t, 10, "wrong") {
		c := pick(t, calls, "call")
		l.dst, l.reply = c.caller.id, c.cookie
		if !oneIn(t, 10, "of another") {
			p = w.peers[slices.IndexFunc(w.peers, func(p *peer) bool { return p.model == c.callee })]
		}
	}
	w.send(p, l, !oneIn(t, 6, "flush later"))
}

func drawFlags(t *rapid.T) (flags bus.NameFlags) {
	for _, f := range acquireFlags {
		if rapid.Bool().Draw(t, "flag") {
			flags |= f
		}
	}
	return flags
}

func drawRules(t *rapid.T) *rules {
	r := &rules{own: map[string]bool{}, send: map[string]bool{}, see: map[string]bool{}}
	for range rapid.IntRange(0, 2).Draw(t, "rules") {
		uid := pick(t, someUsers, "user")
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			r.own[rule(uid, pick(t, someNames, "name"))] = true
		case 1:
			r.send[rule(uid, pick(t, []string{"0", "50", "7", "8", "9"}, "user"))] = true
		case 2:
			r.see[rule(uid, pick(t, someNames, "name"))] = true
		}
	}
	return r
}

// with makes a step of what one connection does.
func (w *world) with(do func(t *rapid.T, p *peer)) func(*rapid.T) {
	return func(t *rapid.T) {
		w.t = t
		if p := w.somebody(t, "who"); p != nil {
			do(t, p)
		}
	}
}

// stepActivate sends to a name that has an activator, perhaps an owner, too, and lets somebody take the name or give it back.
func (w *world) stepActivate(t *rapid.T) {
	sender, taker := w.somebody(t, "sender"), w.somebody(t, "taker")
	if sender == nil || taker == nil {
		return
	}
	s := w.drawName(t)
	for range rapid.IntRange(1, 3).Draw(t, "messages") {
		l := w.drawLetter(t)
		l.name, l.fds, l.memfds = s, 0, 0
		if l.cookie != 0 && oneIn(t, 2, "call") {
			l.flags = bus.ExpectReply
		}
		w.send(sender, l, true)
	}
	if oneIn(t, 3, "release") {
		w.release(taker, s)
	} else {
		w.claim(taker, s, drawFlags(t))
	}
}

// stepPatience makes calls that are to be answered in time, of which some time passes.
func (w *world) stepPatience(t *rapid.T) {
	caller, callee := w.somebody(t, "caller"), w.somebody(t, "callee")
	if caller == nil || callee == nil {
		return
	}
	for cookie := range rapid.Uint64Range(1, 3).Draw(t, "calls") {
		l := letter{dst: callee.ID(), flags: bus.ExpectReply, cookie: cookie + 10, sync: rapid.Bool().Draw(t, "sync")}
		l.deadline = w.drawDeadline(t, l.sync)
		w.send(caller, l, true)
	}
	w.pass(slot * uint64(rapid.IntRange(0, 4).Draw(t, "slots")))
}

func (w *world) stepConnect(t *rapid.T) {
	w.t = t
	if len(w.open()) >= 10 {
		return
	}
	s := drawSpec(t)
	if len(w.endpoints) > 0 && oneIn(t, 3, "by an endpoint") {
		s.by = pick(t, w.endpoints, "endpoint")
		if !oneIn(t, 4, "special all the same") {
			s.flags &^= special | bus.FlagMonitor
			s.activates, s.entries, s.fake = "", nil, nil
		}
	}
	w.connect(s)
}

// steps are all that can be done. Some are there more than once, as they are to be done more often.
func (w *world) steps() map[string]func(*rapid.T) {
	send := w.plain(w.stepSend)
	return map[string]func(*rapid.T){
		"connect":   w.stepConnect,
		"connect 2": w.stepConnect,
		"close":     w.with(func(_ *rapid.T, p *peer) { w.close(p) }),
		"close anybody": w.plain(func(t *rapid.T) {
			if p := w.anybody(t, "who"); p != nil {
				w.close(p)
			}
		}),
		"become a monitor": w.with(func(t *rapid.T, p *peer) {
			if p.model.ordinary() && oneIn(t, 4, "really") {
				w.becomeMonitor(p)
			}
		}),
		"acquire":   w.with(func(t *rapid.T, p *peer) { w.acquire(p, w.drawName(t), drawFlags(t)) }),
		"claim":     w.with(func(t *rapid.T, p *peer) { w.claim(p, w.drawName(t), drawFlags(t)) }),
		"claim 2":   w.with(func(t *rapid.T, p *peer) { w.claim(p, w.drawName(t), drawFlags(t)) }),
		"release":   w.with(func(t *rapid.T, p *peer) { w.release(p, w.drawName(t)) }),
		"add match": w.with(func(t *rapid.T, p *peer) { w.addMatch(p, drawMatch(t), oneIn(t, 4, "replace")) }),
		"remove match": w.with(func(t *rapid.T, p *peer) {
			w.removeMatch(p, pick(t, someCookies, "cookie"))
		}),
		"subscribe": w.with(func(t *rapid.T, p *peer) { w.addMatch(p, bus.Match{Cookie: 1}, true) }),
		"send":      send, "send 2": send, "send 3": send, "send 4": send,
		"activate":  w.plain(w.stepActivate),
		"patience":  w.plain(w.stepPatience),
		"broadcast": w.plain(w.stepBroadcast), "broadcast 2": w.plain(w.stepBroadcast),
		"reply": w.plain(w.stepReply), "reply 2": w.plain(w.stepReply),
		"cancel": w.with(func(t *rapid.T, p *peer) { w.cancel(p, pick(t, someCookies, "cookie")) }),
		"set entries": w.plain(func(t *rapid.T) {
			if p := w.anybody(t, "who"); p != nil {
				w.setEntries(p, drawEntries(t))
			}
		}),
		"make an endpoint": w.plain(func(t *rapid.T) {
			if policies := drawPolicies(t); len(w.endpoints) < 4 && (*endpoint)(nil).valid(policies) {
				w.endpoints = append(w.endpoints, w.makeEndpoint(policies))
			}
		}),
		"set policies": w.plain(func(t *rapid.T) {
			if len(w.endpoints) > 0 {
				w.setPolicies(pick(t, w.endpoints, "endpoint"), drawPolicies(t))
			}
		}),
		"close an endpoint": w.plain(func(t *rapid.T) {
			if len(w.endpoints) > 0 && oneIn(t, 3, "really") {
				w.closeEndpoint(pick(t, w.endpoints, "endpoint"))
			}
		}),
		"set rules": w.plain(func(t *rapid.T) { w.setRules(drawRules(t)) }),
		"update": w.with(func(t *rapid.T, p *peer) {
			send, receive := pick(t, someSent, "sent"), pick(t, someReceived, "wanted")
			switch rapid.IntRange(0, 2).Draw(t, "which") {
			case 0:
				w.update(p, &send, nil)
			case 1:
				w.update(p, nil, &receive)
			case 2:
				w.update(p, &send, &receive)
			}
		}),
		"pass": w.plain(func(t *rapid.T) { w.pass(slot * uint64(rapid.IntRange(1, 8).Draw(t, "slots"))) }),
		"read": w.plain(func(t *rapid.T) {
			if p := w.anybody(t, "who"); p != nil {
				w.read(p, rapid.IntRange(0, 4).Draw(t, "messages"))
			}
		}),
		"wake": w.plain(func(t *rapid.T) {
			if p := w.anybody(t, "who"); p != nil {
				w.wake(p, rapid.Bool().Draw(t, "awake"))
			}
		}),
		"look": w.plain(func(t *rapid.T) {
			if p := w.anybody(t, "who"); p != nil {
				w.look(p, bus.ListFlags(rapid.IntRange(0, 15).Draw(t, "flags")),
					bus.ID(rapid.IntRange(0, len(w.peers)+1).Draw(t, "id")), pick(t, append([]string{""}, someNames...), "name"))
			}
		}),
	}
}

func (w *world) plain(do func(*rapid.T)) func(*rapid.T) {
	return func(t *rapid.T) {
		w.t = t
		do(t)
	}
}

func TestCoreAgreesWithTheManualPages(t *testing.T) {
	inWorlds(t, func(t *rapid.T, pipe int) {
		w := newWorldOf(t, pipe, oneIn(t, 4, "strict"))
		if rapid.Bool().Draw(t, "with endpoints") {
			for range 2 {
				if policies := drawPolicies(t); (*endpoint)(nil).valid(policies) {
					w.endpoints = append(w.endpoints, w.makeEndpoint(policies))
				}
			}
		}
		if rapid.Bool().Draw(t, "with an activator") {
			s := drawSpec(t)
			s.uid, s.flags, s.activates, s.entries = 0, bus.FlagActivator|bus.FlagAcceptFDs, someNames[0], nil
			w.connect(s)
		}
		for range 4 {
			w.stepConnect(t)
		}
		t.Repeat(w.steps())
		w.t = t
		w.end()
	})
}
