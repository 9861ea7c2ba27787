//go:build conformance

package kdbus

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/conformance/internal/account"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// client is one connection, which the test fails if it is not as it has to be.
type client struct {
	*nativetest.Client
	t *testing.T
}

// dialAt tries to connect as a user, without HELLO, to the socket at path.
func (w *world) dialAt(path string, uid int) (*client, error) {
	c := &client{t: w.t}
	dial := func() (err error) {
		c.Client, err = nativetest.Dial(path)
		return err
	}
	if uid != root {
		who := account.Account{UID: uint32(uid), GID: uint32(uid), Groups: []uint32{friends}}
		if err := who.Do(dial); err != nil {
			return nil, err
		}
	} else if err := dial(); err != nil {
		return nil, err
	}
	w.t.Cleanup(c.Close)
	return c, nil
}

// dialTo is dialAt where that has to succeed.
func (w *world) dialTo(path string, uid int) *client {
	w.t.Helper()
	c, err := w.dialAt(path, uid)
	if err != nil {
		w.t.Fatalf("as user %d: %v", uid, err)
	}
	return c
}

// dial connects to the bus as a user, without HELLO.
func (w *world) dial(uid int) *client {
	w.t.Helper()
	return w.dialTo(w.path, uid)
}

// join connects as a user.
func (w *world) join(uid int, change ...func(*abi.Hello)) *client {
	w.t.Helper()
	c := w.dial(uid)
	c.hello(change...)
	return c
}

// hello says HELLO, which has to be welcome, and returns it with the answer.
func (c *client) hello(change ...func(*abi.Hello)) abi.Hello {
	c.t.Helper()
	h := abi.Hello{Flags: abi.HelloAcceptFD, AttachFlagsSend: abi.AttachAny, PoolSize: nativetest.PoolSize}
	for _, f := range change {
		f(&h)
	}
	if err := c.HelloAs(&h); err != nil {
		c.t.Fatalf("HELLO: %v", err)
	}
	return h
}

// helloRefused says HELLO, which has to fail.
func (c *client) helloRefused(want syscall.Errno, change ...func(*abi.Hello)) {
	c.t.Helper()
	h := abi.Hello{AttachFlagsSend: abi.AttachAny, PoolSize: nativetest.PoolSize}
	for _, f := range change {
		f(&h)
	}
	c.isRefused("HELLO", c.HelloAs(&h), want)
}

// opens has a policy holder permit everybody to own a name and to talk to who has it.
func (w *world) opens(name string) {
	w.t.Helper()
	w.join(root, holder(name, anybody(abi.PolicyOwn)))
}

// Kinds of connections, to be joined or hello'd with.

func activator(name string, access ...abi.PolicyAccess) func(*abi.Hello) {
	return func(h *abi.Hello) { h.Flags, h.Name, h.Access = abi.HelloActivator, name, access }
}

func holder(name string, access ...abi.PolicyAccess) func(*abi.Hello) {
	return func(h *abi.Hello) { h.Flags, h.Name, h.Access = abi.HelloPolicyHolder, name, access }
}

func monitor(h *abi.Hello) { h.Flags |= abi.HelloMonitor }

func noFDs(h *abi.Hello) { h.Flags = 0 }

func attach(flags abi.AttachFlags) func(*abi.Hello) {
	return func(h *abi.Hello) { h.AttachFlagsRecv = flags }
}

func pool(size uint64) func(*abi.Hello) { return func(h *abi.Hello) { h.PoolSize = size } }

func user(uid int, level abi.PolicyType) abi.PolicyAccess {
	return abi.PolicyAccess{Type: abi.PolicyAccessUser, ID: uint64(uid), Access: level}
}

func group(gid int, level abi.PolicyType) abi.PolicyAccess {
	return abi.PolicyAccess{Type: abi.PolicyAccessGroup, ID: uint64(gid), Access: level}
}

func anybody(level abi.PolicyType) abi.PolicyAccess {
	return abi.PolicyAccess{Type: abi.PolicyAccessWorld, Access: level}
}

// does runs a command that has to succeed.
func (c *client) does(cmd abi.Command) nativetest.Frame {
	c.t.Helper()
	f, err := c.Do(cmd)
	if err != nil {
		c.t.Fatalf("%v: %v", cmd.Cmd(), err)
	}
	return f
}

// refused runs a command that has to fail.
func (c *client) refused(want syscall.Errno, cmd abi.Command) {
	c.t.Helper()
	_, err := c.Do(cmd)
	c.isRefused(cmd.Cmd().String(), err, want)
}

// rawRefused sends a struct as it is, which has to be refused.
func (c *client) rawRefused(want syscall.Errno, cmd abi.Cmd, body []byte, fds ...int) {
	c.t.Helper()
	_, err := c.Raw(cmd, body, fds...)
	c.isRefused(cmd.String(), err, want)
}

func (c *client) isRefused(what string, err error, want syscall.Errno) {
	c.t.Helper()
	if !errors.Is(err, want) {
		c.t.Errorf("%s: got %v, want %s", what, err, unix.ErrnoName(want))
	}
}

// owns acquires a name.
func (c *client) owns(name string, flags ...abi.NameFlags) abi.NameFlags {
	c.t.Helper()
	cmd := abi.NameAcquire{Name: name}
	for _, f := range flags {
		cmd.Flags |= f
	}
	c.does(&cmd)
	return cmd.ReturnFlags
}

// opaque is the type of the payloads here, which nobody looks into.
const opaque = 77

// message returns a message to c.
func (c *client) message(cookie uint64) nativetest.Outgoing {
	return nativetest.Outgoing{Message: abi.Message{DstID: c.ID, Cookie: cookie, PayloadType: opaque}, Body: []byte("hello")}
}

// toName returns a message to a name.
func toName(name string, cookie uint64) nativetest.Outgoing {
	return nativetest.Outgoing{Message: abi.Message{DstName: name, Cookie: cookie, PayloadType: opaque}, Body: []byte("hello")}
}

// broadcast returns a signal to all, whose filter has these bits.
func broadcast(cookie uint64, bits ...int) nativetest.Outgoing {
	o := nativetest.Outgoing{Message: abi.Message{DstID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Cookie: cookie, PayloadType: opaque}}
	o.Bloom.Data = bitField(bits...)
	return o
}

// bitField returns a filter, or a mask.
func bitField(bits ...int) []byte {
	data := make([]byte, abi.DefaultBloom.Size)
	for _, bit := range bits {
		data[bit/8] |= 1 << (bit % 8) // on a little-endian machine
	}
	return data
}

// expecting makes a message a call.
func expecting(o nativetest.Outgoing, timeout time.Duration) nativetest.Outgoing {
	o.Message.Flags |= abi.MsgExpectReply
	o.TimeoutNS = deadline(timeout)
	return o
}

// replyTo returns the answer to a call.
func replyTo(m *nativetest.Message, body string) nativetest.Outgoing {
	return nativetest.Outgoing{
		Message: abi.Message{DstID: m.SrcID, Cookie: 1, CookieReply: m.Cookie, PayloadType: opaque}, Body: []byte(body),
	}
}

// deadline is a time from now, in nanoseconds of CLOCK_MONOTONIC.
func deadline(after time.Duration) uint64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano() + int64(after))
}

// sends sends a message that has to get through.
func (c *client) sends(o nativetest.Outgoing) *nativetest.Message {
	c.t.Helper()
	m, err := c.Send(o)
	if err != nil {
		c.t.Fatalf("SEND: %v", err)
	}
	return m
}

// sendRefused sends a message that has to be refused.
func (c *client) sendRefused(want syscall.Errno, o nativetest.Outgoing) {
	c.t.Helper()
	_, err := c.Send(o)
	c.isRefused("SEND", err, want)
}

// receives returns the next message.
func (c *client) receives() *nativetest.Message {
	c.t.Helper()
	m, err := c.Recv()
	if err != nil {
		c.t.Fatalf("no message: %v", err)
	}
	c.t.Cleanup(func() { nativetest.CloseAll(m.Passed) })
	return m
}

// gets checks the cookie of the next message.
func (c *client) gets(cookie uint64) *nativetest.Message {
	c.t.Helper()
	m := c.receives()
	if m.Cookie != cookie {
		c.t.Errorf("message %d arrives, want %d: %+v", m.Cookie, cookie, m.Message)
	}
	return m
}

// told checks that the next message is a notification of this type.
func (c *client) told(want abi.ItemType) *nativetest.Message {
	c.t.Helper()
	m := c.receives()
	if m.Notification.Type != want {
		c.t.Errorf("%+v arrives, want %v", m.Message, want)
	}
	return m
}

// getsNothing checks that nothing has been sent to c that it has not received: whatever was done for it before the
// answer to one of its own commands arrives before that.
func (c *client) getsNothing() {
	c.t.Helper()
	if _, err := c.Do(&abi.ByeBye{Negotiate: abi.Negotiation{Probe: true}}); err != nil {
		c.t.Fatal(err)
	}
	if c.Pending() {
		m, err := c.Recv()
		c.t.Errorf("something arrives: %+v, %v", m, err)
	}
}

// isGone checks that the bus has hung up.
func (c *client) isGone() {
	c.t.Helper()
	for {
		if _, err := c.ReadFrame(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.t.Fatalf("it is not disconnected: %v", err)
		}
	}
}

// content returns the payload of a message.
func (c *client) content(m *nativetest.Message) string {
	c.t.Helper()
	b, err := m.Content()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// info asks about a connection, or the bus.
func (c *client) info(cmd abi.Command) (i abi.Info) {
	c.t.Helper()
	f := c.does(cmd)
	var offset, size uint64
	switch cmd := cmd.(type) {
	case *abi.ConnInfo:
		offset, size = cmd.Offset, cmd.InfoSize
	case *abi.BusCreatorInfo:
		offset, size = cmd.Offset, cmd.InfoSize
	}
	b, err := f.Infos(offset, size)
	if err == nil {
		err = i.Decode(b)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return i
}

// list returns the entries of a LIST, by id and name.
func (c *client) list(flags abi.ListFlags) (entries []abi.ListEntry) {
	c.t.Helper()
	cmd := abi.List{Flags: flags}
	f := c.does(&cmd)
	b, err := f.Infos(cmd.Offset, cmd.ListSize)
	if err != nil {
		c.t.Fatal(err)
	}
	for e, err := range abi.ListEntries(b) {
		if err != nil {
			c.t.Fatal(err)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b abi.ListEntry) int {
		if a.ID != b.ID {
			return int(a.ID) - int(b.ID)
		}
		return slices.Compare([]byte(a.Name.Name), []byte(b.Name.Name))
	})
	return entries
}

// names returns what LIST says are the well-known names, with their owners.
func (c *client) names() map[string]uint64 {
	c.t.Helper()
	names := make(map[string]uint64)
	for _, e := range c.list(abi.ListNames | abi.ListActivators) {
		names[e.Name.Name] = e.ID
	}
	return names
}

// matches adds a match with cookie 1.
func (c *client) matches(rules ...abi.MatchRule) {
	c.t.Helper()
	c.does(&abi.MatchAdd{Cookie: 1, Rules: rules})
}

// Rules of matches for notifications of any connection, about any name.

func idRule(kind abi.ItemType) abi.MatchRule { return abi.MatchRule{Type: kind, ID: abi.MatchIDAny} }

func nameRule(kind abi.ItemType) abi.MatchRule {
	return abi.MatchRule{Type: kind, OldID: abi.MatchIDAny, NewID: abi.MatchIDAny, AnyName: true}
}

// watches subscribes to all notifications about names, and to those about ids if asked to.
func (c *client) watches(ids bool) {
	c.t.Helper()
	for i, kind := range []abi.ItemType{abi.ItemNameAdd, abi.ItemNameRemove, abi.ItemNameChange} {
		c.does(&abi.MatchAdd{Cookie: uint64(i), Rules: []abi.MatchRule{nameRule(kind)}})
	}
	if ids {
		for i, kind := range []abi.ItemType{abi.ItemIDAdd, abi.ItemIDRemove} {
			c.does(&abi.MatchAdd{Cookie: uint64(10 + i), Rules: []abi.MatchRule{idRule(kind)}})
		}
	}
}

// stuff fills the queue, and the socket, of a client that does not read, and returns how many messages it took.
func (c *client) stuff(slow *client, body []byte) (taken uint64) {
	c.t.Helper()
	for full := 0; full < 100; { // times that it was full, one after the other: the socket may have taken more meanwhile
		o := slow.message(taken + 1)
		o.Body = body
		switch _, err := c.Send(o); {
		case errors.Is(err, syscall.ENOBUFS):
			full++
		case err != nil:
			c.t.Fatal(err)
		default:
			full = 0
			taken++
		}
	}
	return taken
}

// pipe returns the end of a pipe to read from, whose other end has something to say.
func pipe(t *testing.T) int {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nativetest.CloseAll(fds[:]) })
	if _, err := unix.Write(fds[1], []byte("pipe")); err != nil {
		t.Fatal(err)
	}
	return fds[0]
}

// memfd returns a sealed memfd.
func memfd(t *testing.T, content string) int {
	t.Helper()
	fd, err := nativetest.Memfd([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// nums are 64-bit numbers, as in structs and items.
func nums(n ...uint64) (b []byte) {
	for _, v := range n {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

// putSize and putFlags change the beginning of a struct.

func putSize(b []byte, size uint64)   { binary.NativeEndian.PutUint64(b, size) }
func putFlags(b []byte, flags uint64) { binary.NativeEndian.PutUint64(b[8:], flags) }

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// become does something as a user with this primary group, and no other.
func become(uid, gid int, do func() error) error {
	if uid == root {
		return do()
	}
	return account.Account{UID: uint32(uid), GID: uint32(gid)}.Do(do)
}
