package busmodel

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// GoString is how rapid writes it.
func (w *call) GoString() string {
	return fmt.Sprintf("%d of %d to %d", w.cookie, w.caller.id, w.callee.id)
}

// call waits for its answer.
type call struct {
	caller, callee *conn
	cookie         uint64
	deadline       uint64 // 0 for never
	number         uint64 // in the order in which callees got calls
}

// callTo returns the call with this cookie that c waits for callee to answer, or nil.
func (c *conn) callTo(cookie uint64, callee *conn) *call {
	for _, w := range c.calls {
		if w.cookie == cookie && w.callee == callee {
			return w
		}
	}
	return nil
}

// callsTo returns the calls that callee has to answer, oldest first.
func (m *model) callsTo(callee *conn) (calls []*call) {
	for _, c := range m.conns {
		for _, w := range c.calls {
			if w.callee == callee {
				calls = append(calls, w)
			}
		}
	}
	slices.SortFunc(calls, func(a, b *call) int { return int(a.number) - int(b.number) })
	return calls
}

// owe notes that the callee of w has it now.
func (m *model) owe(w *call) {
	m.owed++
	w.number = m.owed
	w.caller.calls = append(w.caller.calls, w)
}

func (w *call) end() {
	w.caller.calls = slices.DeleteFunc(w.caller.calls, func(x *call) bool { return x == w })
}

// send: kdbus.message(7), "Sending messages" and the errors of KDBUS_CMD_SEND.
func (m *model) send(c *conn, l letter) syscall.Errno {
	if l.bloom != nil && len(l.bloom) != bloomSize {
		return syscall.EDOM
	}
	if l.flags&bus.ExpectReply != 0 && (l.dst == bus.Broadcast || l.flags&bus.Signal != 0) {
		return syscall.ENOTUNIQ
	}
	if c.monitor || !c.ordinary() {
		return syscall.EOPNOTSUPP
	}
	if !c.joined {
		return syscall.ENOTCONN
	}
	x := &message{letter: l, src: c.id, payer: c.payer(), dbus1: !l.native}
	if l.dst == bus.Broadcast {
		m.broadcast(c, x)
		return 0
	}
	return m.unicast(c, x)
}

// broadcast: kdbus.match(7), "Description"; kdbus.policy(7), "TALK access ...". Monitors are first:
// kdbus.connection(7), "Monitor connections".
func (m *model) broadcast(c *conn, x *message) {
	var subscribers []*conn
	wants := m.monitorsWant()
	for _, dst := range m.conns {
		if dst.subscribed(c, x) {
			subscribers = append(subscribers, dst)
			wants |= dst.wants()
		}
	}
	m.attach(c, x, wants)
	m.showMonitors(c, x)
	for _, dst := range subscribers {
		if m.mayHear(dst, c, x) && (x.fds == 0 || dst.acceptsFDs()) && x.readable(dst) {
			m.push(c, dst, x, droppable)
		}
	}
}

// unicast sends to an id or a name. Whatever cannot be seen by c is as if it did not exist.
func (m *model) unicast(c *conn, x *message) syscall.Errno {
	dst, errno := m.resolve(c, x)
	var w *call
	if errno == 0 {
		w = dst.callTo(x.reply, c)
		switch {
		case x.reply != 0 && w != nil:
		case x.name != "" && !m.sees(c, x.name):
			errno = syscall.ESRCH
		case x.name == "" && !m.seesConn(c, dst):
			errno = syscall.ENXIO
		}
	}
	wants := m.monitorsWant()
	if errno == 0 {
		wants |= dst.wants()
	}
	m.attach(c, x, wants)
	m.showMonitors(c, x)
	if errno != 0 {
		return errno
	}
	requested := x.reply != 0 && w != nil
	if errno := m.refused(c, dst, x, requested); errno != 0 {
		return errno
	}
	unmeet := m.meet(dst, c, x)
	if errno = m.deliver(c, dst, x, w); errno != 0 {
		unmeet()
	}
	return errno
}

// deliver puts x, which may be sent, where it belongs. w is the call that it answers, if it does.
func (m *model) deliver(c, dst *conn, x *message, w *call) (errno syscall.Errno) {
	switch {
	case x.reply != 0 && w == nil: // module: nobody waits for it
		return syscall.EBADSLT
	case x.reply != 0:
		errno = m.push(c, dst, x, reported)
		if errno == 0 {
			w.end()
		}
		return errno
	case x.flags&bus.ExpectReply != 0:
		return m.call(c, dst, x)
	case x.flags&bus.Signal != 0:
		m.signal(c, dst, x)
		return 0
	}
	return m.push(c, dst, x, reported)
}

// resolve: kdbus.message(7), KDBUS_CMD_SEND: ENXIO, ESRCH, EREMCHG (both an id and a name), EADDRNOTAVAIL.
func (m *model) resolve(c *conn, x *message) (*conn, syscall.Errno) {
	if x.name == "" {
		if dst := m.conn(x.dst); dst != nil && dst.ordinary() {
			return dst, 0
		}
		return nil, syscall.ENXIO
	}
	n := m.names[x.name]
	if n == nil {
		return nil, syscall.ESRCH
	}
	dst := n.primary()
	moved := x.dst != bus.ToName && x.dst != dst.id
	asleep := dst == n.activator && x.flags&bus.NoAutoStart != 0
	switch {
	case (moved || asleep) && !m.sees(c, x.name):
		return nil, syscall.ESRCH
	case moved:
		return nil, syscall.EREMCHG
	case asleep:
		return nil, syscall.EADDRNOTAVAIL
	}
	if n.activator != nil {
		x.via = n
	}
	return dst, 0
}

// refused: EPERM and ECOMM of KDBUS_CMD_SEND.
func (m *model) refused(c, dst *conn, x *message, requested bool) syscall.Errno {
	switch {
	case !m.maySend(c, dst, x, requested):
		return syscall.EPERM
	case x.fds > 0 && !dst.acceptsFDs() && x.flags&bus.Signal == 0:
		return syscall.ECOMM
	case !x.readable(dst):
		return syscall.EBADMSG
	}
	return 0
}

// call: kdbus.message(7), KDBUS_MSG_EXPECT_REPLY, EINVAL for one without a cookie, ETIMEDOUT of
// KDBUS_SEND_SYNC_REPLY; the module has EMLINK and EEXIST.
func (m *model) call(c, dst *conn, x *message) syscall.Errno {
	switch {
	case x.cookie == 0:
		return syscall.EINVAL
	case len(c.calls) >= c.limits.MaxCalls:
		return syscall.EMLINK
	case c.callTo(x.cookie, dst) != nil:
		return syscall.EEXIST
	case x.sync && x.deadline != 0 && x.deadline <= m.now:
		return syscall.ETIMEDOUT
	}
	errno := m.push(c, dst, x, reported)
	if errno == 0 {
		m.owe(&call{caller: c, callee: dst, cookie: x.cookie, deadline: x.deadline})
	}
	return errno
}

// signal: kdbus.match(7), "Description": a signal to one needs a match as well. D-Bus knows no such thing. As for
// broadcasts, who receives it needs TALK to its sender: the module.
func (m *model) signal(c, dst *conn, x *message) {
	switch {
	case !dst.ordinary(), !dst.wantsDBus1() && !dst.subscribed(c, x), !m.hears(dst, c, x):
	case x.fds > 0 && !dst.acceptsFDs():
		dst.lose(c)
	default:
		m.push(c, dst, x, droppable)
	}
}

// cancel gives up the calls with this cookie.
func (m *model) cancel(c *conn, cookie uint64) bool {
	before := len(c.calls)
	c.calls = slices.DeleteFunc(c.calls, func(w *call) bool { return w.cookie == cookie })
	return len(c.calls) < before
}

// pass lets time pass: kdbus.message(7), "Notifications", REPLY_TIMEOUT.
func (m *model) pass(ns uint64) {
	m.now += ns
	var late []*call
	for _, c := range m.conns {
		for _, w := range c.calls {
			if w.deadline != 0 && w.deadline <= m.now {
				late = append(late, w)
			}
		}
	}
	slices.SortFunc(late, func(a, b *call) int { return int(a.deadline) - int(b.deadline) })
	for _, w := range late {
		w.end()
		clock := &conn{spec: spec{uid: w.callee.uid, by: w.callee.by, fake: w.callee.fake, fakedUser: w.callee.fakedUser}}
		m.tell(clock, w.caller, w.cookie, note{kind: bus.ReplyTimeout, old: w.callee.id})
		m.flush(clock)
	}
}

// showMonitors: kdbus.connection(7), "Monitor connections": every message, whether somebody gets it or not.
func (m *model) showMonitors(by *conn, x *message) {
	for _, c := range m.monitors() {
		if (x.fds == 0 || c.acceptsFDs()) && x.readable(c) {
			m.push(by, c, x, droppable)
		}
	}
}

func (m *model) monitorsWant() (wants bus.Parts) {
	for _, c := range m.monitors() {
		wants |= c.wants()
	}
	return wants
}

// attach settles what x, a message of c, carries: kdbus.item(7) and kdbus.connection(7), attach flags: what
// the sender lets go, the bus permits, and somebody asks for. Of the process it is what the sender's
// front-end can tell, or what a privileged sender has said of itself. x is numbered with it.
func (m *model) attach(c *conn, x *message, wants bus.Parts) {
	m.number(x)
	if wants&bus.PartDBus1 != 0 && x.convertible {
		x.dbus1 = true
	}
	x.kinds = meta.Kinds(wants) & c.send & permitted
	if c.fake != nil {
		x.kinds &= meta.ConnectionKinds | *c.fake
	}
	if len(c.owned) == 0 {
		x.kinds &^= meta.KindNames
	}
	if c.description == "" {
		x.kinds &^= meta.KindDescription
	}
	for _, s := range c.claims {
		if n := m.names[s]; n.primary() == c {
			x.names = append(x.names, owned{s, n.flags(c)})
		}
	}
}

func (m *model) number(x *message) {
	m.stamps++
	x.stamp = m.stamps
}

// announce: kdbus.message(7), "Notifications", to whoever has a match for it and sees the name.
func (m *model) announce(by *conn, n note) {
	x := &message{letter: letter{dst: bus.Broadcast}, note: &n, payer: by.payer()}
	m.number(x)
	wants := m.monitorsWant()
	var subscribers []*conn
	for _, dst := range m.conns {
		if dst.subscribed(nil, x) {
			subscribers = append(subscribers, dst)
			wants |= dst.wants()
		}
	}
	x.kinds = meta.Kinds(wants) & meta.KindTimestamp & permitted
	m.showMonitors(by, x)
	for _, dst := range subscribers {
		if n.name != "" && m.sees(dst, n.name) || n.name == "" && m.seesConn(dst, m.conn(max(n.old, n.new))) {
			m.push(by, dst, x, droppable)
		}
	}
}

// tell tells dst alone. The end of a call, which has a cookie, is told whether there is space or not.
func (m *model) tell(by, dst *conn, cookie uint64, n note) {
	x := &message{letter: letter{dst: dst.id, reply: cookie}, note: &n, payer: by.payer()}
	m.number(x)
	x.kinds = meta.Kinds(m.monitorsWant()|dst.wants()) & meta.KindTimestamp & permitted
	m.showMonitors(by, x)
	how := droppable
	if cookie != 0 {
		how = forced
	}
	m.push(by, dst, x, how)
}
