package busmodel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
)

// A letter is what a message to be sent consists of.
type letter struct {
	dst         bus.ID
	name        string
	flags       bus.Flags
	cookie      uint64
	reply       uint64
	priority    int64
	size        int // of the payload
	fds, memfds int
	native      bool // not in the form of D-Bus 1
	convertible bool // but can be converted
	bloom       []byte
	generation  uint64
	deadline    uint64 // as model.now; 0 for never
	sync        bool
}

// message is a letter on its way, or a notification.
type message struct {
	letter
	note  *note
	src   bus.ID
	payer payer // on whose account it is
	stamp uint64
	via   *name      // that it was sent to, if that has an activator
	dbus1 bool       // there is a form for D-Bus 1
	kinds meta.Kinds // that it carries
	names []owned    // of the sender, when it was sent
}

// owned is a name that somebody has.
type owned struct {
	name  string
	flags bus.NameFlags
}

// note is a notification.
type note struct {
	kind               bus.NotificationKind
	name               string
	old, new           bus.ID
	oldFlags, newFlags uint64
}

// ofTheBus is the account of what is nobody's.
var ofTheBus = payer{uid: 1<<32 - 1}

// overhead is what an empty message is accounted with.
const overhead = 128

func (x *message) bytes() int {
	if x.note != nil {
		return overhead + len(x.note.name)
	}
	return overhead + x.size
}

func (x *message) readable(by *conn) bool {
	return x.note != nil || x.dbus1 || !by.wantsDBus1() || by.flags&bus.FlagActivator != 0
}

// line is how by sees it. Both sides of the comparison are written like this.
func (x *message) line(by *conn) string {
	l := line{src: x.src, dst: x.dst, flags: x.flags, cookie: x.cookie, reply: x.reply, priority: x.priority,
		size: x.bytes(), fds: x.fds, memfds: x.memfds, note: x.note, kinds: x.kinds & by.receive}
	if l.kinds&meta.KindNames != 0 {
		var names []string
		for _, n := range x.names {
			if by.monitor || by.model.sees(by, n.name) { // of others it is told nothing
				names = append(names, fmt.Sprintf("%s=%#x", n.name, uint64(n.flags)))
			}
		}
		if len(names) == 0 {
			l.kinds &^= meta.KindNames
		}
		l.names = strings.Join(names, " ")
	}
	return l.String()
}

// A line is what a connection can tell of a message.
type line struct {
	src, dst          bus.ID
	flags             bus.Flags
	cookie, reply     uint64
	priority          int64
	size, fds, memfds int
	note              *note
	kinds             meta.Kinds
	names             string
}

func (l line) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d>%d", l.src, int64(l.dst))
	if l.note != nil {
		n := *l.note
		fmt.Fprintf(&s, " note %d %q %d>%d flags %#x>%#x", n.kind, n.name, n.old, n.new, n.oldFlags, n.newFlags)
	}
	fmt.Fprintf(&s, " flags %d cookie %d reply %d priority %d size %d fds %d memfds %d", l.flags, l.cookie, l.reply, l.priority, l.size, l.fds, l.memfds)
	if l.kinds != 0 {
		fmt.Fprintf(&s, " with %s", l.kinds)
	}
	if l.names != "" {
		fmt.Fprintf(&s, " of %s", l.names)
	}
	return s.String()
}

// Whether somebody is told that there was no space: kdbus.message(7), "Delivery": the sender of a message to one
// is, by an error; of broadcasts and signals the receiver is, by a count of those dropped.
type how uint8

const (
	reported how = iota
	droppable
	forced // the end of a call is always told
)

// push puts x into the queue of dst; by causes it.
func (m *model) push(by, dst *conn, x *message, how how) syscall.Errno {
	if how != forced {
		if errno := dst.full(x); errno != 0 {
			if how == droppable {
				dst.lose(by)
			}
			return errno
		}
	}
	if x.via != nil && dst.flags&bus.FlagActivator != 0 {
		dst.held = append(dst.held, x)
		dst.news = true
	} else {
		dst.queue = append(dst.queue, x)
	}
	dst.touch(by)
	return 0
}

// full: the shares of users as the module has them ("quota" in connection.c) or, without Fair, dbus-daemon's
// limits. The numbers per user are kdbus.message(7)'s and the module's: messages, descriptors, memfds.
func (c *conn) full(x *message) syscall.Errno {
	q := c.limits.Quota
	bytes, messages, fds, memfds, others := 0, 0, 0, 0, 0
	for _, y := range slices.Concat(c.queue, c.held, c.taken) {
		switch {
		case y.payer == x.payer:
			bytes += y.bytes()
			messages++
			fds += y.fds
			memfds += y.memfds
		case y.payer != ofTheBus:
			others += y.bytes()
		}
	}
	switch {
	case !q.Fair && bytes >= q.Bytes:
		return syscall.ENOBUFS
	case q.Fair && 3*(bytes+x.bytes()) > q.Bytes/2-others:
		return syscall.ENOBUFS
	case q.Messages > 0 && messages >= q.Messages:
		return syscall.ENOBUFS
	case x.fds > 0 && fds+x.fds > q.FDs, x.memfds > 0 && memfds+x.memfds > q.Memfds:
		return syscall.EMFILE
	}
	return 0
}

// lose counts what c does not get: kdbus.message(7), "Receiving messages", dropped_msgs.
func (c *conn) lose(by *conn) {
	c.dropped++
	c.untold++
	c.noted = false
	if c.tellDropped {
		c.touch(by)
	}
}

func (c *conn) touch(by *conn) {
	if !c.woken {
		c.woken = true
		by.touched = append(by.touched, c)
	}
}

// flush wakes whom what by did concerns.
func (m *model) flush(by *conn) {
	touched := by.touched
	by.touched = nil
	for _, c := range touched {
		c.wakes++
		if !c.slow {
			c.drain()
		}
	}
}

// batchSize is how much is read at a time.
const batchSize = 3

func (c *conn) drain() {
	for c.read(batchSize) {
		c.giveBack()
	}
}

// read takes up to n messages: kdbus.message(7), "Receiving messages": first in, first out, unless priorities
// say otherwise: those with a lower number first. It reports whether there was something.
func (c *conn) read(n int) bool {
	for i := range n {
		if len(c.queue) == 0 {
			if i > 0 {
				return true
			}
			return c.readNote()
		}
		first := 0
		for i, x := range c.queue {
			if x.priority < c.queue[first].priority {
				first = i
			}
		}
		c.accept(c.queue[first])
		c.queue = slices.Delete(c.queue, first, first+1)
	}
	return true
}

func (c *conn) accept(x *message) {
	c.taken = append(c.taken, x)
	c.got = append(c.got, x.line(c))
	c.order = append(c.order, x.stamp)
}

// readNote takes what is told when there is nothing else.
func (c *conn) readNote() bool {
	n := note{}
	switch {
	case c.tellDropped && c.untold > 0 && !c.noted:
		n.kind, c.noted = bus.MessagesDropped, true
	case c.news:
		n.kind, n.name, c.news = bus.MessagesHeld, c.activates, false
	default:
		c.woken = false
		return false
	}
	c.accept(&message{letter: letter{dst: c.id}, note: &n, payer: ofTheBus})
	return true
}

// giveBack ends the delivery of what was read: it is off the account of its sender. With it goes the count
// of what was dropped.
func (c *conn) giveBack() {
	if c.untold > 0 && len(c.taken) > 0 {
		c.got = append(c.got, fmt.Sprintf("dropped %d", c.untold))
		c.untold = 0
	}
	c.taken = nil
}

func (c *conn) stats() bus.QueueStats {
	s := bus.QueueStats{Messages: len(c.queue), Held: len(c.held), Dropped: c.dropped}
	for _, x := range slices.Concat(c.queue, c.held, c.taken) {
		s.Bytes += x.bytes()
		s.FDs += x.fds
	}
	return s
}

// shares adds up what users hold of the queue.
func (c *conn) shares() []bus.QueueShare {
	byPayer := make(map[payer]bus.QueueShare)
	for _, x := range slices.Concat(c.queue, c.held, c.taken) {
		if x.payer == ofTheBus {
			continue
		}
		s := byPayer[x.payer]
		s.Account = x.payer.account()
		s.Messages++
		s.Bytes += x.bytes()
		s.FDs += x.fds
		s.Memfds += x.memfds
		byPayer[x.payer] = s
	}
	return shares(slices.AppendSeq([]bus.QueueShare{}, maps.Values(byPayer)))
}
