//go:build conformance

package policy

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/conformance/internal/account"
	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// letter is a message, as all worlds send it.
type letter struct {
	from        string // a role
	to          string // the role to whose unique name it goes
	name        string // or a name
	typ         byte
	path, iface string
	member      string
	errorName   string
	expect      bool // a call that waits for its reply
	unrequested bool // a reply that nobody waits for
	fds         int
	alone       bool // nobody eavesdrops: only both ends need to be asked for what arrived
}

// destination is where a letter goes in one of the worlds; nowhere for a broadcast.
type destination struct {
	name    string
	replyTo uint32
	unknown bool // it replies to nothing
}

const (
	noSerial        = 4_000_000
	noReplyExpected = 1

	ofDriver = "signal of the bus: " // before the name of one
)

// message makes the D-Bus message.
func (l *letter) message(to *destination, text string) *peer.Message {
	m := &peer.Message{Type: l.typ, Order: 'l'}
	field := func(code byte, sig, s string) {
		if s != "" {
			m.With(code, sig, s)
		}
	}
	field(peer.FieldPath, "o", l.path)
	field(peer.FieldInterface, "s", l.iface)
	field(peer.FieldMember, "s", l.member)
	field(peer.FieldErrorName, "s", l.errorName)
	field(peer.FieldDestination, "s", to.name)
	if to.unknown {
		to.replyTo = noSerial
	}
	if to.replyTo != 0 {
		m.With(peer.FieldReplySerial, "u", to.replyTo)
	}
	if l.typ == peer.TypeCall && !l.expect {
		m.WithFlags(noReplyExpected)
	}
	m.With(peer.FieldSignature, "g", "s")
	m.Body = []any{text}
	return m
}

// descriptors opens as many as the letter has.
func (l *letter) descriptors() (fds []int, err error) {
	for range l.fds {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// join connects to a bus as a user.
func join(bus *testbus.Bus, who account.Account, native bool, matches []string) (m member, err error) {
	err = who.Do(func() (err error) {
		if native {
			m, err = joinNative(bus.SocketPath())
		} else {
			m, err = joinDBus1(bus.Address, matches)
		}
		return err
	})
	return m, err
}

// dbus1Member speaks D-Bus 1.
type dbus1Member struct{ *peer.Client }

func joinDBus1(address string, matches []string) (member, error) {
	c, err := peer.Connect(address)
	if err != nil {
		return nil, err
	}
	for _, rule := range matches {
		if err := failed(c.Call(peer.DriverCall("AddMatch", "s", rule))); err != nil {
			return nil, err
		}
	}
	return dbus1Member{c}, nil
}

func (d dbus1Member) unique() string { return d.Name }
func (d dbus1Member) close()         { d.Close() }

func (d dbus1Member) own(name string) error {
	return failed(d.Call(peer.DriverCall("RequestName", "su", name, uint32(0))))
}

func (d dbus1Member) release(name string) error {
	return failed(d.Call(peer.DriverCall("ReleaseName", "s", name)))
}

// failed returns the error that an answer is.
func failed(answer *peer.Message, err error) error {
	if err == nil && answer.Type != peer.TypeReply {
		err = errors.New(answer.ErrorText())
	}
	return err
}

func (d dbus1Member) send(l *letter, to *destination, text string) (uint32, error) {
	m := l.message(to, text)
	fds, err := l.descriptors()
	if err != nil {
		return 0, err
	}
	defer nativetest.CloseAll(fds)
	if len(fds) > 0 {
		m.WithFDs(fds...)
	}
	return d.Send(m)
}

func (d dbus1Member) settle(sent uint32) (arrived map[string]uint32, failure string, err error) {
	serial, err := d.Send(peer.DriverCall("GetId", ""))
	if err != nil {
		return nil, "", err
	}
	arrived = map[string]uint32{}
	for {
		m, err := d.Receive()
		if err != nil {
			return nil, "", err
		}
		peer.CloseFDs(m)
		own := m.Text(peer.FieldSender) == "org.freedesktop.DBus"
		switch {
		case own && m.ReplySerial() == serial:
			return arrived, failure, nil
		case own && m.Type == peer.TypeError && sent != 0 && m.ReplySerial() == sent:
			failure = m.ErrorText()
		case own && m.Type == peer.TypeSignal:
			arrived[ofDriver+m.Text(peer.FieldMember)] = m.Serial
		case !own && m.Sig() == "s":
			arrived[m.Body[0].(string)] = m.Serial
		}
	}
}

// ask calls a method of the driver, and returns what kind of answer comes.
func (d dbus1Member) ask(l *letter) (string, error) {
	answer, err := d.Call(l.message(&destination{name: l.name}, "org.example.X"))
	switch {
	case err != nil:
		return "", err
	case answer.Type == peer.TypeError:
		return answer.ErrorText(), nil
	}
	return "answer", nil
}

// nativeMember speaks the native protocol.
type nativeMember struct {
	*nativetest.Client
	cookie uint64
	failed map[uint32]string // messages that were refused
}

func joinNative(path string) (member, error) {
	c, err := nativetest.Dial(path)
	if err != nil {
		return nil, err
	}
	if err := c.Hello(abi.Hello{Flags: abi.HelloAcceptFD}); err != nil {
		return nil, err
	}
	if _, err := c.Do(&abi.MatchAdd{}); err != nil {
		return nil, err
	}
	return &nativeMember{Client: c, failed: map[uint32]string{}}, nil
}

func (n *nativeMember) unique() string { return fmt.Sprintf(":1.%d", n.ID) }
func (n *nativeMember) close()         { n.Close() }

func (n *nativeMember) own(name string) error {
	_, err := n.Do(&abi.NameAcquire{Flags: abi.NameQueue, Name: name})
	return refusal(err)
}

func (n *nativeMember) release(name string) error {
	_, err := n.Do(&abi.NameRelease{Name: name})
	return refusal(err)
}

// refusal returns an error as D-Bus 1 has it.
func refusal(err error) error {
	var refused *nativetest.Refused
	if !errors.As(err, &refused) {
		return err
	}
	name := refused.Errno.Error()
	if refused.Errno == syscall.EPERM {
		name = "org.freedesktop.DBus.Error.AccessDenied"
	}
	return fmt.Errorf("%s: %s", name, refused.Text)
}

func (n *nativeMember) send(l *letter, to *destination, text string) (uint32, error) {
	n.cookie++
	m := l.message(to, text)
	m.Serial = uint32(n.cookie)
	out := nativetest.Outgoing{Message: abi.Message{Cookie: n.cookie, CookieReply: uint64(to.replyTo)}}
	fds, err := l.descriptors()
	if err != nil {
		return 0, err
	}
	defer nativetest.CloseAll(fds)
	if len(fds) > 0 {
		m.WithFDs(fds...)
		out.Passed = fds
		for i := range fds {
			out.Message.FDs = append(out.Message.FDs, int32(i))
		}
	}
	if l.expect {
		out.Message.Flags = abi.MsgExpectReply
		out.TimeoutNS = 1 << 62
	}
	if l.typ == peer.TypeSignal {
		out.Message.Flags = abi.MsgSignal
		out.Message.Bloom.Data = make([]byte, n.Client.Bloom.Size)
	}
	var id uint64
	switch _, err := fmt.Sscanf(to.name, ":1.%d", &id); {
	case to.name == "":
		out.DstID = abi.DstIDBroadcast
	case err == nil:
		out.DstID = id
	default:
		out.DstName = to.name
	}
	out.Body = m.Encode()
	if _, err := n.Send(out); err != nil {
		var refused *nativetest.Refused
		if !errors.As(err, &refused) {
			return 0, err
		}
		n.failed[m.Serial] = refusal(err).Error()
	}
	return m.Serial, nil
}

func (n *nativeMember) settle(sent uint32) (arrived map[string]uint32, failure string, err error) {
	if _, err := n.Do(&abi.BusCreatorInfo{}); err != nil {
		return nil, "", err
	}
	arrived = map[string]uint32{}
	for n.Pending() {
		m, err := n.Recv()
		if err != nil {
			return nil, "", err
		}
		nativetest.CloseAll(m.Passed)
		if m.SrcID == abi.SrcIDKernel {
			continue
		}
		d, err := decode(m)
		if err != nil {
			return nil, "", err
		}
		if d.Sig() == "s" {
			arrived[d.Body[0].(string)] = d.Serial
		}
	}
	failure = n.failed[sent]
	delete(n.failed, sent)
	return arrived, failure, nil
}

// decode reads the D-Bus message in m.
func decode(m *nativetest.Message) (*peer.Message, error) {
	content, err := m.Content()
	if err != nil {
		return nil, err
	}
	return peer.Decode(content)
}

func (n *nativeMember) ask(l *letter) (string, error) {
	serial, err := n.send(l, &destination{name: l.name}, "org.example.X")
	if err != nil {
		return "", err
	}
	if failure := n.failed[serial]; failure != "" {
		delete(n.failed, serial)
		return failure, nil
	}
	for {
		m, err := n.Recv()
		if err != nil {
			return "", err
		}
		if m.CookieReply != uint64(serial) {
			continue
		}
		d, err := decode(m)
		switch {
		case err != nil:
			return "", err
		case d.Type == peer.TypeError:
			return d.ErrorText(), nil
		}
		return "answer", nil
	}
}
