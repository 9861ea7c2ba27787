package activation

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/wire"
)

// A launcher is a connection by which the bus is a client of itself, to call methods of systemd and to hear
// its signals: as org.freedesktop.DBus it could do neither. There is one as long as somebody uses it. It is the
// bus.Receiver of its connection, and what the driver wants to know of the peer of one.
type launcher struct {
	activation *Activation
	creds      meta.Creds

	driving sync.Mutex // held by who uses conn as its peer
	conn    *bus.Conn  // nil if nobody uses it
	users   int
	serial  uint32

	mu      sync.Mutex
	calls   map[uint32]func(*wire.Message) // by serial, what to do with the answer; nil if there will be none
	inbox   []*wire.Message
	reading bool // somebody takes out of inbox
}

// Rules are match rules and what they are compared with: those of package dbus1.
type Rules interface {
	Add(c *bus.Conn, cookie uint64, text string, replace bool) error
	Remove(c *bus.Conn, cookie uint64) error
	View(h *wire.Header, body []byte) any
}

// acquire connects, unless that has been done. Each needs a release.
func (l *launcher) acquire() error {
	l.driving.Lock()
	defer l.driving.Unlock()
	if l.conn == nil {
		if err := l.connect(); err != nil {
			return err
		}
	}
	l.users++
	return nil
}

func (l *launcher) connect() error {
	self, err := meta.Self(meta.AllKinds)
	if err != nil {
		return err
	}
	l.creds = meta.Creds{PID: uint32(os.Getpid()), UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	conn, err := l.activation.config.Endpoint.Connect(bus.ConnConfig{
		UID:         l.creds.UID,
		Description: "launcher",
		Receiver:    l,
		Peer:        l,
		Wants:       bus.PartDBus1,
		AttachSend:  meta.AllKinds,
		Metadata:    &self,
		Groups:      func() []uint32 { groups, _ := l.Groups(); return groups },
		Limits:      &bus.Limits{Quota: bus.Quota{Bytes: 16 << 20}, MaxCalls: maxHeldCalls, MaxNames: 1},
	})
	if err != nil {
		return err
	}
	if err := conn.Hello(); err != nil {
		conn.Close()
		return err
	}
	conn.Flush()
	l.conn = conn
	l.mu.Lock()
	l.calls = make(map[uint32]func(*wire.Message))
	l.mu.Unlock()
	l.call("Subscribe", nil, "")
	return nil
}

// maxHeldCalls is how many calls may wait for systemd.
const maxHeldCalls = 4096

// release gives back what acquire gave.
func (l *launcher) release() {
	l.driving.Lock()
	defer l.driving.Unlock()
	if l.users--; l.users == 0 {
		l.disconnect()
	}
}

// close disconnects, whoever uses the connection.
func (l *launcher) close() {
	l.driving.Lock()
	defer l.driving.Unlock()
	if l.conn != nil {
		l.disconnect()
	}
}

func (l *launcher) disconnect() {
	l.conn.Close()
	l.conn.Flush()
	l.conn = nil
	l.mu.Lock()
	l.calls, l.inbox = nil, nil
	l.mu.Unlock()
}

// subscribe listens to signals. unsubscribe, with the same cookie, undoes it.
func (l *launcher) subscribe(cookie uint64, rules ...string) error {
	l.driving.Lock()
	defer l.driving.Unlock()
	if l.conn == nil {
		return os.ErrClosed
	}
	for _, rule := range rules {
		if err := l.activation.config.Rules.Add(l.conn, cookie, rule, false); err != nil {
			return err
		}
	}
	return nil
}

func (l *launcher) unsubscribe(cookie uint64) {
	l.driving.Lock()
	defer l.driving.Unlock()
	if l.conn != nil {
		l.activation.config.Rules.Remove(l.conn, cookie)
	}
}

// do calls a method of systemd's manager; answer gets what comes of it, in a goroutine of its own.
func (l *launcher) do(member string, answer func(*wire.Message), signature string, args ...any) error {
	l.driving.Lock()
	defer l.driving.Unlock()
	if l.conn == nil {
		return os.ErrClosed
	}
	return l.call(member, answer, signature, args...)
}

// call is do for who has locked driving. Without answer none is asked for.
func (l *launcher) call(member string, answer func(*wire.Message), signature string, args ...any) error {
	l.serial++
	w := &wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodCall, Flags: wire.NoAutoStart, Serial: l.serial,
		Path: systemdPath, Interface: systemdManager, Member: member, Destination: systemdName, Sender: l.conn.UniqueName(),
		Signature: signature,
	}}
	m := &bus.Message{
		Has: bus.PartDBus1 | bus.PartView | bus.PartHeader, DstName: systemdName, Cookie: uint64(l.serial), Flags: bus.NoAutoStart,
	}
	defer m.Release()
	if answer == nil {
		w.Flags |= wire.NoReplyExpected
	} else {
		m.Flags |= bus.ExpectReply
		l.mu.Lock()
		l.calls[l.serial] = answer
		l.mu.Unlock()
	}
	var raw []byte
	var err error
	w.Body, err = wire.AppendBodyAs(nil, w.Order, signature, args...)
	if err == nil {
		raw, err = w.Append(nil)
	}
	if err == nil {
		m.Payload = [][]byte{raw}
		m.View = l.activation.config.Rules.View(&w.Header, w.Body)
		err = l.conn.Send(m)
	}
	if err != nil {
		l.mu.Lock()
		delete(l.calls, l.serial)
		l.mu.Unlock()
	}
	l.conn.Flush()
	return err
}

// Wake implements bus.Receiver.
func (l *launcher) Wake() {
	// Who wakes us may be who holds driving, so that conn is not asked for: only its queue is.
	l.mu.Lock()
	start := !l.reading
	l.reading = true
	l.mu.Unlock()
	if start {
		go l.read()
	}
}

// read deals with what has come, in order.
func (l *launcher) read() {
	for {
		l.driving.Lock()
		conn := l.conn
		l.driving.Unlock()
		var batch [16]*bus.Message
		var got []*bus.Message
		l.mu.Lock()
		if conn != nil {
			got = conn.Dequeue(batch[:0])
		}
		if len(got) == 0 {
			l.reading = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		arrived := make([]*wire.Message, 0, len(got))
		for _, m := range got {
			if w := l.parse(m); w.Type != wire.TypeSignal || isSystemds(conn, m, w) {
				arrived = append(arrived, w)
			}
		}
		conn.Delivered(got)
		for _, w := range arrived {
			l.dispatch(w)
		}
	}
}

// isSystemds reports whether a signal is one of systemd's. A broadcast is, since nothing else was subscribed to;
// but policies let everybody send signals to a connection, and anybody could end what others wait for.
func isSystemds(conn *bus.Conn, m *bus.Message, w *wire.Message) bool {
	if w.Destination == "" {
		return true
	}
	systemd := conn.Lookup(systemdName)
	return systemd != nil && systemd.ID() == m.Src
}

// parse reads a message; of what the bus itself says only the ends of calls are of interest.
func (l *launcher) parse(m *bus.Message) *wire.Message {
	if n := m.Notification; n != nil {
		return &wire.Message{Header: wire.Header{
			Type: wire.TypeError, ReplySerial: uint32(m.ReplyCookie), ErrorName: errorPrefix + "NoReply",
		}}
	}
	var raw []byte
	for _, p := range m.Payload {
		raw = append(raw, p...)
	}
	w, err := wire.ParseMessage(raw)
	if err != nil {
		return &wire.Message{}
	}
	return w
}

// dispatch does what is to be done about a message.
func (l *launcher) dispatch(w *wire.Message) {
	switch w.Type {
	case wire.TypeMethodReturn, wire.TypeError:
		l.mu.Lock()
		answer := l.calls[w.ReplySerial]
		delete(l.calls, w.ReplySerial)
		l.mu.Unlock()
		if answer != nil {
			answer(w)
		}
	case wire.TypeSignal:
		l.activation.unitSignal(w)
	}
}

// Wanted implements bus.Receiver. What is known of us was given when we connected.
func (l *launcher) Wanted(meta.Kinds) {}

// Creds tells the driver who we are.
func (l *launcher) Creds() meta.Creds { return l.creds }

// Known tells the driver that this is so.
func (l *launcher) Known() bool { return true }

// Groups returns our groups.
func (l *launcher) Groups() (groups []uint32, ok bool) {
	supplementary, err := os.Getgroups()
	groups = append(groups, l.creds.GID)
	for _, gid := range supplementary {
		if uint32(gid) != l.creds.GID {
			groups = append(groups, uint32(gid))
		}
	}
	return groups, err == nil
}

// SecurityLabel returns that of this process.
func (l *launcher) SecurityLabel() string { return "" }

// PIDFD returns a new pidfd of this process.
func (l *launcher) PIDFD() (fd int, ok bool) {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	return fd, err == nil
}

// Sent returns how much we have sent, which nobody counts.
func (l *launcher) Sent() (messages, bytes, fds uint64) { return 0, 0, 0 }
