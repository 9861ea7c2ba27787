package busmodel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// The five rules that must hold, tested for what peers see of them. The model runs along, as everywhere, but is not asked.

// ordinarySpec is a connection of kdbus that anything can be sent to.
func ordinarySpec(uid uint32, limits bus.Limits) spec {
	return spec{uid: uid, flags: bus.FlagAcceptFDs, limits: limits, send: meta.AllKinds}
}

// only returns the steps of these names.
func (w *world) only(names ...string) map[string]func(*rapid.T) {
	steps := w.steps()
	chosen := make(map[string]func(*rapid.T))
	for _, s := range names {
		if steps[s] == nil {
			w.t.Fatalf("there is no step %q", s)
		}
		chosen[s] = steps[s]
	}
	return chosen
}

// Rule 1: A message is in the receiver's queue, or the sender has an error; it is never silently lost. Only broadcasts and
// signals may be dropped on overflow, and then the receiver is told how many.
func TestRule1NothingIsSilentlyLost(t *testing.T) {
	inWorlds(t, func(t *rapid.T, pipe int) {
		w := newWorld(t, pipe)
		type sending struct {
			letter
			accepted, received int
		}
		sent := make(map[*bus.Message]*sending)
		w.sent = func(_ *peer, l letter, m *bus.Message, err error) {
			if sent[m] = (&sending{letter: l}); err == nil {
				sent[m].accepted = 1
			}
		}
		w.watch = func(p *peer, m *bus.Message) {
			if s := sent[m]; s != nil && s.dst != bus.Broadcast && s.flags&bus.Signal == 0 {
				s.received++
				if s.name == "" && s.dst != p.ID() {
					t.Fatalf("%d got what was for %d", p.ID(), s.dst)
				}
			}
		}
		for i, uid := range []uint32{7, 8, 9} {
			s := ordinarySpec(uid, someLimits[i+1])
			s.slow = true
			w.connect(s)
		}
		// One hears all, the other one all that it has space for.
		all, tight := w.connect(ordinarySpec(7, roomyLimits)), w.connect(ordinarySpec(8, fairLimits))
		for _, p := range []*peer{all, tight} {
			w.addMatch(p, bus.Match{Cookie: 1}, false)
			p.passive = true
		}
		w.wake(tight, false)
		steps := w.only("claim", "release", "send", "send 2", "send 3", "broadcast", "broadcast 2", "reply", "reply 2", "read", "pass")
		steps["tight reads"] = w.plain(func(t *rapid.T) { w.read(tight, 2) })
		t.Repeat(steps)
		w.t = t
		for range 2 { // what wakes somebody may make others be told
			for _, p := range w.peers {
				w.wake(p, true)
			}
		}
		for _, s := range sent {
			if s.dst != bus.Broadcast && s.flags&bus.Signal == 0 && s.received != s.accepted {
				t.Fatalf("%+v was accepted %d times and received %d times", s.letter, s.accepted, s.received)
			}
		}
		count := func(p *peer) (n uint64) {
			for _, line := range p.got {
				if strings.Contains(line, ">-1 ") {
					n++
				}
			}
			told := p.lost + p.TakeDropped()
			p.model.untold = 0
			if dropped := p.QueueStats().Dropped; told != dropped {
				t.Fatalf("%d were dropped, and it was told of %d", dropped, told)
			}
			return n + told
		}
		if a, b := count(all), count(tight); a != b {
			t.Fatalf("of %d broadcasts, one knows of %d", a, b)
		}
		if n := all.QueueStats().Dropped; n != 0 {
			t.Fatalf("%d were dropped where there was space", n)
		}
		clear(sent)
		w.end()
	})
}

// Rule 2: Messages of one sender arrive in the order sent; a reaction never overtakes its cause at any receiver. Registry
// changes are ordered against messages. Monitors are served first.
func TestRule2OrderIsKept(t *testing.T) {
	inWorlds(t, func(t *rapid.T, pipe int) {
		w := newWorld(t, pipe)
		w.prompt = true
		last := make(map[*peer]uint64)
		seen := make(map[*bus.Message]bool)
		var monitor *peer
		w.watch = func(p *peer, m *bus.Message) {
			if m.Sequence == 0 {
				return // made for whom it is told, of what waits
			}
			if p == monitor {
				seen[m] = true
			} else if !seen[m] {
				t.Fatalf("%d got %s before the monitor", p.ID(), p.line(m))
			}
			// What has another priority, or may have waited at an activator, has an order of its own.
			if m.Priority() != 0 || m.DstName != "" {
				return
			}
			if m.Sequence <= last[p] {
				t.Fatalf("%d got %s, number %d, after number %d", p.ID(), p.line(m), m.Sequence, last[p])
			}
			last[p] = m.Sequence
		}
		s := ordinarySpec(0, roomyLimits)
		s.flags |= bus.FlagMonitor
		monitor = w.connect(s)
		monitor.passive = true
		for range 4 {
			w.stepConnect(t)
		}
		steps := w.steps()
		delete(steps, "update") // which has others wait for what is not there
		t.Repeat(steps)
		w.t, w.watch = t, nil
		w.end()
	})
}

// errnos are those that a step may end with, by a word of what is logged of it.
var errnos = map[string][]syscall.Errno{
	"connect":         {syscall.EINVAL, syscall.EUSERS, syscall.ECONNREFUSED, syscall.EPERM, syscall.EEXIST, syscall.EOPNOTSUPP, syscall.ESHUTDOWN},
	"endpoint":        {syscall.EINVAL, syscall.ESHUTDOWN},
	"becomes":         {syscall.ENOTCONN, syscall.EOPNOTSUPP},
	"acquires":        {syscall.EOPNOTSUPP, syscall.ENOTCONN, syscall.EPERM, syscall.E2BIG},
	"claims":          {syscall.EOPNOTSUPP, syscall.ENOTCONN, syscall.EPERM, syscall.E2BIG, syscall.EEXIST},
	"releases":        {syscall.EOPNOTSUPP, syscall.ESRCH, syscall.EADDRINUSE},
	"adds match":      {syscall.EOPNOTSUPP, syscall.ENOTCONN, syscall.EDOM, syscall.EMFILE},
	"removes matches": {syscall.ENOTCONN, syscall.EBADSLT},
	"holds":           {syscall.EINVAL, syscall.EOPNOTSUPP, syscall.ENOTCONN, syscall.EEXIST},
	"attaches":        {syscall.ENOTCONN},
	"looks":           {syscall.ENXIO, syscall.ESRCH, syscall.EINVAL},
	"sends": {syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ENOTUNIQ, syscall.EDOM, syscall.ESRCH, syscall.ENXIO, syscall.EREMCHG, syscall.EADDRNOTAVAIL,
		syscall.EPERM, syscall.ECOMM, syscall.EBADMSG, syscall.EBADSLT, syscall.EEXIST, syscall.EMLINK, syscall.ETIMEDOUT, syscall.ENOBUFS, syscall.EMFILE,
		syscall.ENOTCONN},
}

// Rule 3: Errors are kdbus's: one type, with a number that is documented for what was tried. What is refused changes nothing,
// but that monitors see it.
func TestRule3ErrorsAreThoseOfKdbusAndChangeNothing(t *testing.T) {
	inWorlds(t, func(t *rapid.T, pipe int) {
		w := newWorld(t, pipe)
		w.prompt = true
		before, doing := "", ""
		w.begins = func(what string) { before, doing = w.snapshot(), what }
		w.refused = func(err *bus.Error) {
			for word, documented := range errnos {
				if strings.Contains(doing, word) && !slices.Contains(documented, err.Errno) {
					t.Fatalf("%v (%v) is no error of who %s", outcome{err.Errno}, err, word)
				}
			}
			if doing[0] == 'c' { // "connect": it is there, to be closed
				return
			}
			if diff := cmp.Diff(before, w.snapshot()); diff != "" {
				t.Fatalf("%v, but something has changed (-before +after):\n%s", err, diff)
			}
		}
		for range 4 {
			w.stepConnect(t)
		}
		t.Repeat(w.steps())
		w.t = t
		w.begins, w.refused = nil, nil
		w.end()
	})
}

// snapshot writes down all that peers, other than monitors, can tell of the bus.
func (w *world) snapshot() string {
	var s strings.Builder
	for _, p := range w.peers {
		if p.IsMonitor() {
			continue
		}
		stats := p.QueueStats()
		fmt.Fprintf(&s, "%d: got %d, %+v, wakes %d, calls %d, names %v\n%+v\n%+v\n", p.ID(), len(p.got), stats, p.wakes, p.PendingCalls(), p.Names(),
			shares(p.QueueShares()), p.List(bus.ListUnique|bus.ListNames|bus.ListActivators|bus.ListQueued))
		for _, name := range someNames {
			fmt.Fprintf(&s, "%s %v\n", name, p.ListOwners(name))
		}
	}
	return s.String()
}

// A move is one thing that one of a fixed number of connections does, in several worlds.
type move struct {
	what     int
	who, to  int
	name     int
	size     int
	flags    uint64
	cookie   uint64
	priority int64
}

func drawMoves(t *rapid.T, kinds int) []move {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) move {
		return move{
			what: rapid.IntRange(0, kinds-1).Draw(t, "what"), who: rapid.IntRange(0, 3).Draw(t, "who"), to: rapid.IntRange(0, 3).Draw(t, "to"),
			name: rapid.IntRange(0, 1).Draw(t, "name"), size: pick(t, someSizes, "size"), flags: rapid.Uint64Range(0, 7).Draw(t, "flags"),
			cookie: rapid.Uint64Range(1, 3).Draw(t, "cookie"), priority: pick(t, somePriority, "priority"),
		}
	}), 10, 80).Draw(t, "moves")
}

// try sends, and writes down how that ended.
func (w *world) try(outcomes *[]string, p *peer, l letter) {
	*outcomes = append(*outcomes, outcome{w.errno(w.send(p, l, true))}.String())
}

// Rule 4: The core never blocks on a peer. A slow or hostile receiver costs its own senders' quota and nobody else's latency:
// for everybody else it makes no difference at all whether it reads.
func TestRule4WhoDoesNotReadCostsNobodyElse(t *testing.T) {
	inWorlds(t, func(t *rapid.T, pipe int) {
		moves := drawMoves(t, 8)
		var views [2][]string
		for i := range views {
			views[i] = viewOfOthers(t, pipe, moves, i == 1)
		}
		if diff := cmp.Diff(views[0], views[1]); diff != "" {
			t.Fatalf("who reads (-), or does not (+), makes a difference to others:\n%s", diff)
		}
	})
}

// viewOfOthers makes the moves of four connections, of which the second does not read all the time, on a bus where a fifth
// one hears everything and reads nothing, or everything.
func viewOfOthers(t *rapid.T, pipe int, moves []move, reads bool) (view []string) {
	w := newWorld(t, pipe)
	var peers []*peer
	for i, uid := range []uint32{7, 8, 9, 9} {
		peers = append(peers, w.connect(ordinarySpec(uid, someLimits[i])))
		w.addMatch(peers[i], bus.Match{}, false)
	}
	w.wake(peers[1], false)
	victim := ordinarySpec(8, fairLimits)
	victim.slow = !reads
	x := w.connect(victim)
	w.addMatch(x, bus.Match{}, false)
	for _, m := range moves {
		p, to, name := peers[m.who], peers[m.to], someNames[m.name]
		l := letter{dst: to.ID(), size: m.size, cookie: m.cookie, priority: m.priority}
		switch m.what {
		case 0:
			w.try(&view, p, l)
		case 1:
			l.flags = bus.ExpectReply
			w.try(&view, p, l)
		case 2:
			l.reply = m.cookie
			w.try(&view, p, l)
		case 3:
			l.dst, l.flags = bus.Broadcast, bus.Signal
			w.try(&view, p, l)
		case 4:
			w.claim(p, name, bus.NameFlags(m.flags))
		case 5:
			w.release(p, name)
		case 6:
			w.read(peers[1], m.to)
		case 7:
			l.dst = x.ID()
			w.send(p, l, true) // who fills its queue finds it full, and nobody else does
		}
	}
	if !reads {
		w.fill(x, peers[0], peers[2])
	}
	for _, p := range peers {
		view = append(view, fmt.Sprint(p.ID()))
		view = append(view, p.got...)
		view = append(view, fmt.Sprintf("%+v", p.QueueStats()))
	}
	w.end()
	return view
}

// fill lets one sender fill the queue of x: another user, who has nothing there, still finds space.
func (w *world) fill(x, sender, other *peer) {
	for range 20 {
		if err := w.send(sender, letter{dst: x.ID(), size: 300}, true); err != nil {
			break
		}
	}
	if slices.ContainsFunc(x.QueueShares(), func(s bus.QueueShare) bool { return s.Account.UID == other.UID() }) {
		return
	}
	if err := w.send(other, letter{dst: x.ID()}, true); err != nil {
		w.t.Fatalf("who has nothing in the queue gets: %v", err)
	}
}

// Rule 5: Whoever has no right to see a name cannot learn that it exists: not by lists, notifications, errors.
func TestRule5NobodyLearnsOfNamesThatItMayNotSee(t *testing.T) {
	for name, policies := range map[string][]bus.NamePolicy{
		"default endpoint": nil,
		"custom endpoint":  {{Name: "o.p", Subtree: true, Access: []bus.Access{{Kind: bus.AccessWorld, Level: bus.AccessOwn}}}},
		"blind endpoint":   {{Name: someNames[0], Access: []bus.Access{{Kind: bus.AccessWorld, Level: bus.AccessOwn}}}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorlds(t, func(t *rapid.T, pipe int) {
				moves := drawMoves(t, 18)
				var views [2][]string
				for i := range views {
					views[i] = viewOfStrangers(t, pipe, moves, policies, i == 1)
				}
				if diff := cmp.Diff(views[0], views[1]); diff != "" {
					t.Fatalf("strangers can tell whether there is a name (+) or not (-):\n%s", diff)
				}
			})
		})
	}
}

const secret = "s.e.cret"

// openNames are those of the connections that may have the secret name, too: whoever may talk to one name of a connection may talk
// to it (kdbus.policy(7), "TALK access and multiple well-known names per connection").
var openNames = []string{"o.p.one", "o.p.two"}

// viewOfStrangers makes moves of two connections that may own a name, if it is used at all, and of two that must not see it. They come
// by a custom endpoint if there are policies for one.
func viewOfStrangers(t *rapid.T, pipe int, moves []move, policies []bus.NamePolicy, used bool) (view []string) {
	w := newWorld(t, pipe)
	holder := ordinarySpec(0, roomyLimits)
	holder.flags = bus.FlagPolicyHolder
	holder.entries = []bus.NamePolicy{{Name: "s.e.*", Access: []bus.Access{{Kind: bus.AccessUser, ID: 7, Level: bus.AccessOwn}}}}
	w.connect(holder)
	friends := []*peer{w.connect(ordinarySpec(7, fairLimits)), w.connect(ordinarySpec(7, roomyLimits))}
	for i, friend := range friends {
		w.claim(friend, openNames[i], 0)
	}
	activator := ordinarySpec(0, fairLimits)
	activator.flags |= bus.FlagActivator
	// There is one in both, as anybody sees what kind of connection it is.
	if activator.activates = secret; !used {
		activator.activates = "s.e.lse"
	}
	w.connect(activator)
	neighbour := w.connect(ordinarySpec(9, fairLimits))
	var strangers []*peer
	for range 2 {
		s := ordinarySpec(8, roomyLimits)
		s.receive = meta.AllKinds
		if policies != nil {
			s.by = strangersDoor(w, policies)
		}
		p := w.connect(s)
		w.addMatch(p, bus.Match{}, false)
		strangers = append(strangers, p)
	}
	for _, m := range moves {
		friend, p := friends[m.who%2], strangers[m.to%2]
		l := letter{size: m.size, cookie: m.cookie}
		switch m.what {
		case 0, 1, 2:
			if used {
				w.claim(friend, secret, bus.NameFlags(m.flags))
			}
		case 3, 4:
			if used {
				w.release(friend, secret)
			}
		case 5:
			if l.name = secret; used {
				w.send(friend, l, true)
			}
		case 6:
			w.claim(neighbour, someNames[m.name], bus.NameFlags(m.flags))
		case 7:
			w.release(neighbour, someNames[m.name])
		case 8, 9:
			l.name, l.flags = secret, bus.Flags(m.flags)
			if m.cookie == 2 {
				l.dst = friends[0].ID() // and the name
			}
			w.try(&view, p, l)
		case 16: // a friend speaks to all, or to one
			l.flags, l.dst = bus.Signal, bus.Broadcast
			if m.cookie == 2 {
				l.flags, l.dst = 0, p.ID()
			}
			w.send(friend, l, true)
		case 17: // a stranger speaks to a friend
			l.flags, l.dst = bus.Flags(m.flags), friend.ID()
			if m.cookie == 2 {
				l.dst, l.name = bus.ToName, openNames[m.who%2]
			}
			w.try(&view, p, l)
		case 10:
			_, err := p.ClaimName(secret, bus.NameFlags(m.flags))
			view = append(view, fmt.Sprint(err))
		case 11:
			view = append(view, fmt.Sprint(p.ReleaseName(secret)))
		case 12:
			if m.cookie == 2 {
				w.addMatch(p, bus.Match{Cookie: 6, Names: []string{secret}}, true)
				w.removeMatch(p, 0) // which takes everything
				continue
			}
			w.addMatch(p, bus.Match{Cookie: 5, Changes: []bus.Change{{Kind: bus.ChangeKind(1 + m.size%3), Name: secret, Old: bus.AnyID, New: bus.AnyID}}}, true)
		case 13:
			l.dst = strangers[1-m.to%2].ID()
			w.try(&view, p, l)
		case 14, 15:
			view = append(view, lookAround(p, bus.ListFlags(m.flags|8))...)
		}
	}
	for _, p := range strangers {
		view = append(view, lookAround(p, 15)...)
		view = append(view, p.got...)
	}
	w.end()
	return view
}

// strangersDoor makes the endpoint by which strangers come, once.
func strangersDoor(w *world, policies []bus.NamePolicy) *endpoint {
	for e := range w.doors {
		return e
	}
	return w.makeEndpoint(policies)
}

// lookAround returns all that p can find out by asking. Errors are told apart by what they say, too.
func lookAround(p *peer, flags bus.ListFlags) (view []string) {
	names, _ := p.ListNames()
	slices.Sort(names)
	view = append(view, fmt.Sprintf("%+v", p.List(flags)), fmt.Sprint(names))
	ids := make(map[bus.ID]bool)
	for _, e := range p.List(15) {
		ids[e.ID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		_, err := p.Inspect(id, secret)
		view = append(view, fmt.Sprint(id, err))
	}
	_, err := p.Inspect(0, secret)
	var e *bus.Error
	if !errors.As(err, &e) {
		view = append(view, "found")
	}
	return append(view, fmt.Sprint(err, p.Lookup(secret) != nil, p.ListOwners(secret), p.Sees(secret)))
}
