package busmodel

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// TestMain makes runs the same each time, and longer than rapid's, unless something else is asked for.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.seed": "6", "rapid.checks": "120", "rapid.steps": "60"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	flag.Parse()
	os.Exit(m.Run())
}

// world is a bus and what should be true of it.
type world struct {
	t         *rapid.T
	bus       *bus.Bus
	model     *model
	peers     []*peer
	doors     map[*endpoint]*bus.Endpoint
	endpoints []*endpoint // that take part in random steps
	start     uint64      // the monotonic time that is 0 in the model
	slots     map[uint64]bool

	waking   sync.Mutex // timers have goroutines of their own, if one after the other
	pipe     int
	messages int               // made and not freed yet
	numbers  map[uint64]uint64 // of messages, by those of the model

	// For tests that look for themselves: sent is called when something was sent, watch when something is read, begins
	// before every step, and refused after one that ended with an error. May be nil.
	sent    func(p *peer, l letter, m *bus.Message, err error)
	watch   func(p *peer, m *bus.Message)
	begins  func(what string)
	refused func(err *bus.Error)
	// prompt: who gets a message is always woken at once
	prompt bool
}

// inWorlds checks that prop holds for many worlds. Time in them passes only when they let it.
func inWorlds(t *testing.T, prop func(t *rapid.T, pipe int)) {
	t.Helper()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(t *rapid.T) { prop(t, pipe[0]) }) // not *testing.T, which tells a deadline
	})
}

// slot is the time between two deadlines, at least: calls have them at odd multiples of half of it, and it is looked for
// them at even ones.
const slot = uint64(2 * time.Millisecond)

func newWorld(t *rapid.T, pipe int) *world { return newWorldOf(t, pipe, false) }

func newWorldOf(t *rapid.T, pipe int, strict bool) *world {
	attach := permitted
	domain := bus.NewDomain(bus.DomainConfig{MaxConnsPerUser: maxUserConns})
	w := &world{
		t: t,
		bus: domain.NewBus(bus.Config{
			Name:     "50-model",
			Attach:   &attach,
			Required: required,
			Creator:  &meta.Data{Has: meta.KindCreds, Creds: meta.IDs{EUID: busOwner}},
			Bloom:    bus.BloomParameter{Size: bloomSize, Hashes: 1},
			Strict:   strict,
		}),
		doors:   make(map[*endpoint]*bus.Endpoint),
		model:   &model{names: make(map[string]*name), rules: &rules{}, now: slot, strict: strict},
		slots:   make(map[uint64]bool),
		numbers: make(map[uint64]uint64),
		pipe:    pipe,
	}
	w.start = w.bus.Monotonic() - slot
	return w
}

// end takes the world apart: nothing may be left over.
func (w *world) end() {
	for _, p := range w.peers {
		w.close(p)
		w.read(p, 0)
	}
	w.compare()
	if w.messages != 0 {
		w.t.Fatalf("%d messages are still there", w.messages)
	}
	if s := w.bus.Stats(); s.Conns+s.Names+s.Monitors != 0 {
		w.t.Fatalf("still there: %+v", s)
	}
	stamps := make([]uint64, 0, len(w.numbers))
	for stamp := range w.numbers {
		stamps = append(stamps, stamp)
	}
	slices.Sort(stamps)
	for i := 1; i < len(stamps); i++ {
		if w.numbers[stamps[i-1]] >= w.numbers[stamps[i]] {
			w.t.Fatalf("a message has number %d, one that was sent later has %d", w.numbers[stamps[i-1]], w.numbers[stamps[i]])
		}
	}
}

// peer is a front-end in small, and what should be true of it.
type peer struct {
	*bus.Conn
	w     *world
	model *conn
	slow  bool
	wakes int
	taken []*bus.Message
	got   []string
	order []uint64
	// compared is how much of got has been compared
	compared int

	lost uint64 // dropped, as it was told

	passive bool // it takes no part in random steps
}

// GoString is how rapid writes it.
func (p *peer) GoString() string { return fmt.Sprint(p.ID()) }

// Wake implements bus.Receiver.
func (p *peer) Wake() {
	p.w.waking.Lock()
	defer p.w.waking.Unlock()
	p.wakes++
	if !p.slow {
		p.drain()
	}
}

// Wanted implements bus.Receiver.
func (p *peer) Wanted(meta.Kinds) {}

func (p *peer) drain() {
	for p.read(batchSize) {
		p.giveBack()
	}
}

// read takes up to n messages and reports whether there were any.
func (p *peer) read(n int) bool {
	batch := p.Dequeue(make([]*bus.Message, 0, n))
	for _, m := range batch {
		p.got = append(p.got, p.line(m))
		p.order = append(p.order, m.Sequence)
		if p.w.watch != nil {
			p.w.watch(p, m)
		}
	}
	p.taken = append(p.taken, batch...)
	return len(batch) > 0
}

func (p *peer) giveBack() {
	if len(p.taken) > 0 {
		if n := p.TakeDropped(); n > 0 {
			p.got = append(p.got, fmt.Sprintf("dropped %d", n))
			p.lost += n
		}
	}
	p.Delivered(p.taken)
	p.taken = nil
}

func (p *peer) line(m *bus.Message) string {
	data, kinds := p.Attached(m)
	l := line{src: m.Src, dst: m.Dst, flags: m.Flags, cookie: m.Cookie, reply: m.ReplyCookie, priority: m.Priority(),
		size: m.Size(), fds: len(m.FDs), memfds: len(m.Memfds()), kinds: kinds}
	if n := m.Notification; n != nil {
		l.note = &note{kind: n.Kind, name: n.Name, old: n.OldOwner, new: n.NewOwner, oldFlags: n.OldFlags, newFlags: n.NewFlags}
	}
	if l.kinds&meta.KindNames != 0 {
		var names []string
		for _, n := range data.Names {
			names = append(names, fmt.Sprintf("%s=%#x", n.Name, n.Flags))
		}
		l.names = strings.Join(names, " ")
	}
	return l.String()
}

// message makes what l says. It is freed when w.messages says so.
func (w *world) message(l letter) *bus.Message {
	text := make([]byte, l.size)
	m := &bus.Message{Dst: l.dst, DstName: l.name, Flags: l.flags, Cookie: l.cookie, ReplyCookie: l.reply, Extra: &bus.Extra{
		Priority: l.priority, Bloom: l.bloom, BloomGeneration: l.generation, Sync: l.sync,
	}}
	if l.native {
		m.Extra.Segments = []bus.Segment{{Bytes: text, Size: uint64(l.size)}}
	} else {
		m.Payload, m.Has = [][]byte{text}, bus.PartDBus1
	}
	if l.deadline != 0 {
		m.Extra.Deadline = w.start + l.deadline
	}
	for range l.fds {
		m.FDs = append(m.FDs, w.descriptor())
	}
	for i := range l.memfds {
		m.Extra.Memfds = append(m.Extra.Memfds, w.descriptor())
		m.Extra.Segments = append(m.Extra.Segments, bus.Segment{Memfd: i + 1, Size: 4096})
	}
	m.Maker = maker{l.convertible, text}
	w.messages++
	m.Free = func() { w.messages-- }
	return m
}

func (w *world) descriptor() int {
	fd, err := unix.FcntlInt(uintptr(w.pipe), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return fd
}

// maker is a front-end that knows all there is of its peer.
type maker struct {
	convertible bool
	text        []byte
}

// Make implements bus.Maker.
func (k maker) Make(m *bus.Message, missing bus.Parts) {
	if missing&bus.PartDBus1 != 0 && k.convertible {
		m.Payload = [][]byte{k.text}
	}
	var data meta.Data
	if m.Meta != nil {
		data = *m.Meta
	}
	if data.Has |= meta.Kinds(missing) & meta.ProcessKinds; data.Has != 0 {
		m.Meta = &data
	}
}

// The steps. Each does one thing in both, says so in the log, and compares.

func (w *world) errno(err error) syscall.Errno {
	w.t.Helper()
	var e *bus.Error
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &e):
		w.t.Fatalf("not an error of the bus: %v", err)
	case e.Detail == "" || e.Errno == 0:
		w.t.Fatalf("error without number or words: %#v", e)
	}
	return e.Errno
}

// same checks an outcome, and what else has come of it.
func (w *world) same(got, want any) {
	w.t.Helper()
	if g, v := fmt.Sprint(got), fmt.Sprint(want); g != v {
		w.t.Fatalf("the core says %s, the model %s", g, v)
	}
	w.compare()
}

func (w *world) errs(err error, want syscall.Errno) {
	w.t.Helper()
	w.same(outcome{w.errno(err)}, outcome{want})
	w.refuse(err)
}

// refuse lets a test look at what an error has left.
func (w *world) refuse(err error) {
	if e := (*bus.Error)(nil); w.refused != nil && errors.As(err, &e) {
		w.refused(e)
	}
}

// outcome is an errno as it is written.
type outcome struct{ errno syscall.Errno }

func (o outcome) String() string {
	if o.errno == 0 {
		return "success"
	}
	return unix.ErrnoName(o.errno)
}

func (w *world) flush(p *peer) {
	p.Flush()
	w.model.flush(p.model)
}

func (w *world) log(format string, args ...any) {
	w.t.Helper()
	w.t.Logf(format, args...)
	if w.begins != nil {
		w.begins(format)
	}
}

func (w *world) connect(s spec) *peer {
	w.log("connect %d: %+v", len(w.model.conns)+1, s)
	p := &peer{w: w, slow: s.slow}
	config := bus.ConnConfig{
		UID: s.uid, Flags: s.flags, ActivatorName: s.activates, Anonymous: s.anonymous, TellOwn: s.tellOwn, TellDropped: s.tellDropped,
		Limits: &s.limits, Policies: s.entries, AttachSend: s.send, Wants: parts(s.receive, s.dbus1), Description: s.description,
		Groups: func() []uint32 { return s.groups }, Receiver: p, Peer: p, Metadata: &meta.Data{Has: meta.ProcessKinds},
	}
	if s.fake != nil {
		config.Fake = &meta.Data{Has: *s.fake, Creds: meta.IDs{UID: s.fakedUser}}
	}
	door := w.bus.Endpoint()
	if s.by != nil {
		door = w.doors[s.by]
	}
	c, err := door.Connect(config)
	m, errno := w.model.connect(s)
	if w.errno(err) != errno {
		w.t.Fatalf("the core says %v, the model %v", err, errno)
	}
	if err != nil {
		return nil
	}
	p.Conn, p.model = c, m
	w.peers = append(w.peers, p)
	if s.flags&bus.FlagMonitor != 0 {
		err, errno = p.BecomeMonitor(bus.Everything), w.model.becomeMonitor(m)
	} else {
		err, errno = p.Hello(), w.model.hello(m)
	}
	w.flush(p)
	w.errs(err, errno)
	if err != nil {
		w.close(p)
		return nil
	}
	return p
}

func (w *world) close(p *peer) {
	w.log("%d closes", p.ID())
	p.Close()
	w.model.close(p.model)
	w.flush(p)
	w.compare()
}

// makeEndpoint makes another custom endpoint.
func (w *world) makeEndpoint(policies []bus.NamePolicy) *endpoint {
	e := &endpoint{name: fmt.Sprintf("8-%d", len(w.doors)), policies: policies}
	w.log("endpoint %s of %+v", e.name, policies)
	door, err := w.bus.NewEndpoint(bus.EndpointConfig{Name: e.name, UID: endpointMaker, Policies: policies})
	if err != nil {
		w.t.Fatal(err)
	}
	w.doors[e] = door
	return e
}

func (w *world) setPolicies(e *endpoint, policies []bus.NamePolicy) {
	w.log("endpoint %s has %+v", e.name, policies)
	err, errno := w.doors[e].SetPolicies(policies), syscall.Errno(0)
	switch {
	case !e.valid(policies):
		errno = syscall.EINVAL
	case e.closed:
		errno = syscall.ESHUTDOWN
	default:
		e.policies = policies
	}
	w.errs(err, errno)
}

func (w *world) closeEndpoint(e *endpoint) {
	w.log("endpoint %s closes", e.name)
	w.doors[e].Close()
	w.model.closeEndpoint(e)
	w.compare()
}

func (w *world) becomeMonitor(p *peer) {
	w.log("%d becomes a monitor", p.ID())
	err, errno := p.BecomeMonitor(bus.Everything), w.model.becomeMonitor(p.model)
	w.flush(p)
	w.errs(err, errno)
}

func (w *world) acquire(p *peer, s string, flags bus.NameFlags) bus.Ownership {
	w.log("%d acquires %s as D-Bus has it, flags %#x", p.ID(), s, uint64(flags))
	got, err := p.AcquireName(s, flags)
	want, errno := w.model.acquire(p.model, s, flags)
	w.flush(p)
	w.same(fmt.Sprint(got, outcome{w.errno(err)}), fmt.Sprint(want, outcome{errno}))
	w.refuse(err)
	return got
}

func (w *world) claim(p *peer, s string, flags bus.NameFlags) {
	w.log("%d claims %s, flags %#x", p.ID(), s, uint64(flags))
	got, err := p.ClaimName(s, flags)
	want, errno := w.model.claim(p.model, s, flags)
	w.flush(p)
	w.same(fmt.Sprintf("%#x %v", uint64(got), outcome{w.errno(err)}), fmt.Sprintf("%#x %v", uint64(want), outcome{errno}))
	w.refuse(err)
}

func (w *world) release(p *peer, s string) {
	w.log("%d releases %s", p.ID(), s)
	err, errno := p.ReleaseName(s), w.model.release(p.model, s)
	w.flush(p)
	w.errs(err, errno)
}

// send sends; with flush, those who get it are woken, else later.
func (w *world) send(p *peer, l letter, flush bool) error {
	w.log("%d sends %+v, flush %v", p.ID(), l, flush)
	m := w.message(l)
	err, errno := p.Send(m), w.model.send(p.model, l)
	if w.sent != nil {
		w.sent(p, l, m, err)
	}
	m.Release()
	if flush || w.prompt {
		w.flush(p)
	}
	w.errs(err, errno)
	if l.deadline == w.model.now+1 {
		w.pass(slot)
	}
	return err
}

func (w *world) cancel(p *peer, cookie uint64) {
	w.log("%d cancels call %d", p.ID(), cookie)
	w.same(p.CancelCall(cookie), w.model.cancel(p.model, cookie))
}

func (w *world) pass(ns uint64) {
	w.log("%v pass", time.Duration(ns))
	time.Sleep(time.Duration(ns))
	synctest.Wait()
	w.model.pass(ns)
	w.compare()
}

func (w *world) addMatch(p *peer, m bus.Match, replace bool) {
	w.log("%d adds match %+v, replace %v", p.ID(), m, replace)
	w.errs(p.AddMatch(m, replace), w.model.addMatch(p.model, m, replace))
}

func (w *world) removeMatch(p *peer, cookie uint64) {
	w.log("%d removes matches %d", p.ID(), cookie)
	w.errs(p.RemoveMatches(cookie), w.model.removeMatch(p.model, cookie))
}

func (w *world) setEntries(p *peer, entries []bus.NamePolicy) {
	w.log("%d holds %+v", p.ID(), entries)
	w.errs(p.UpdatePolicies(entries), w.model.setEntries(p.model, entries))
}

func (w *world) setRules(r *rules) {
	w.log("the policy is %+v", *r)
	w.model.rules = r
	w.bus.SetPolicy(enforced{rules: r})
	w.compare()
}

func (w *world) update(p *peer, send, receive *meta.Kinds) {
	w.log("%d attaches %v, wants %v", p.ID(), send, receive)
	w.errs(p.Update(send, receive), w.model.update(p.model, send, receive))
}

// read gives back what p has read before, and reads up to n.
func (w *world) read(p *peer, n int) {
	w.log("%d reads %d", p.ID(), n)
	p.giveBack()
	p.model.giveBack()
	if n > 0 {
		p.read(n)
		p.model.read(n)
	}
	w.compare()
}

// wake makes p one that reads by itself, or one that does not.
func (w *world) wake(p *peer, awake bool) {
	w.log("%d is awake: %v", p.ID(), awake)
	p.giveBack()
	p.model.giveBack()
	p.slow, p.model.slow = !awake, !awake
	if awake {
		p.drain()
		p.model.drain()
	}
	w.compare()
}
