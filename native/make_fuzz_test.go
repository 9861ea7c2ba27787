package native_test

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// FuzzMaking lets a client that is on no bus say what comes to mind to the socket of a bus, or to that by which buses are
// made: requests that were right before something in them was changed. Whatever that is,
//
//   - each request is answered exactly once, with its command and tag, and an errno that it can have;
//   - one connection makes one thing at most, and then nothing else;
//   - nothing of it is left when the client has gone, and others notice nothing.
func FuzzMaking(f *testing.F) {
	m := newMakers(f)
	witness := m.join()
	for _, seed := range makings() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &input{data: data}
		w := &makers{world: &world{t: t, bus: m.bus, path: m.path}, control: m.control}
		var c *nativetest.Client
		if in.next()&1 == 0 {
			c = w.dial()
		} else {
			c = w.dialControl()
		}
		made := 0
		for range 20 {
			if len(in.data) == 0 {
				break
			}
			cmd, body := in.making()
			f, err := c.Raw(cmd, body)
			if err != nil && !refusedWith(err, makingErrnos) {
				t.Fatalf("%v: %v", cmd, err)
			}
			if f.Cmd != cmd {
				t.Fatalf("%v is answered as %v", cmd, f.Cmd)
			}
			if err != nil || binary.NativeEndian.Uint64(body[8:])&abi.FlagNegotiate != 0 {
				continue
			}
			if isMaking(cmd) {
				made++
			}
			if cmd == abi.CmdByeBye {
				break // the bus hangs up
			}
		}
		if made > 1 {
			t.Fatalf("one connection has made %d things", made)
		}
		c.Close()
		if _, err := witness.Do(&abi.List{Flags: abi.ListUnique}); err != nil {
			t.Fatalf("the witness: %v", err)
		}
		w.waitFor("everything to be gone", func() bool {
			m.nodes.mu.Lock()
			defer m.nodes.mu.Unlock()
			return len(m.nodes.made) == 0 && len(m.bus.Conns()) == 1
		})
	})
}

func isMaking(cmd abi.Cmd) bool {
	return cmd == abi.CmdEndpointMake || cmd == abi.CmdBusMake || cmd == abi.CmdHello
}

// makingErrnos are those that there can be.
var makingErrnos = []syscall.Errno{
	syscall.EINVAL, syscall.EBADFD, syscall.EBADMSG, syscall.EMSGSIZE, syscall.ENAMETOOLONG, syscall.EPERM, syscall.EEXIST, syscall.ENOTTY,
	syscall.EOPNOTSUPP,
}

func refusedWith(err error, errnos []syscall.Errno) bool {
	var refused *nativetest.Refused
	return errors.As(err, &refused) && slices.Contains(errnos, refused.Errno) && !errors.Is(err, io.EOF)
}

// rightMakings are requests that are right.
func rightMakings() []abi.Command {
	return []abi.Command{
		&abi.EndpointMake{Name: ownName("a"), Flags: abi.MakeAccessGroup, Policies: []abi.Policy{
			{Name: "org.example.A", Access: access(abi.PolicyTalk), Calls: []string{"M", ""}},
			{Name: "org.example", Subtree: true, Broadcasts: []string{"S"}},
		}},
		&abi.EndpointUpdate{Policies: []abi.Policy{{Name: "org.example.*", Access: access(abi.PolicyOwn)}, {Name: "a.b", Subtree: true}}},
		&abi.BusMake{Name: ownName("b"), Bloom: abi.DefaultBloom, AttachFlagsSend: abi.AttachAll, AttachFlagsRecv: abi.AttachCreds},
		&abi.EndpointMake{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemPolicyCall, 99}}},
		&abi.BusMake{Negotiate: abi.Negotiation{Probe: true}},
		&abi.Hello{PoolSize: 1 << 20},
		&abi.List{Flags: abi.ListNames},
		&abi.ByeBye{},
	}
}

// making returns a request: one of rightMakings, with some bytes changed, or cut off.
func (in *input) making() (abi.Cmd, []byte) {
	right := rightMakings()
	kind := in.next()
	cmd := right[int(kind&0x0f)%len(right)]
	body := cmd.Append(nil)
	for range kind >> 4 & 3 {
		at := int(in.next()) | int(in.next())<<8
		body[at%len(body)] ^= in.next()
	}
	if kind&0x80 != 0 {
		body = body[:len(body)-int(in.next())%len(body)]
		if kind&0x40 != 0 && len(body) >= 8 {
			binary.NativeEndian.PutUint64(body, uint64(len(body)))
		}
	}
	return cmd.Cmd(), body
}

// makings are conversations to begin with.
func makings() [][]byte {
	return [][]byte{
		{0, 0, 1, 1, 5},           // make an endpoint, update it, and try HELLO
		{0, 5, 0, 6, 7},           // HELLO, and try to make an endpoint
		{1, 2, 2, 0, 5},           // make a bus, and try more
		{0, 3, 0, 1},              // negotiate before
		{1, 4, 2, 6},              //
		{0, 0x10, 24, 0, 1, 0, 1}, // another item, then as it should be
		{0, 0x80, 20, 0xc0, 30, 0, 0xc1, 8, 1},
		{1, 0x12, 56, 0, 255, 0x92, 8, 0, 4, 16, 2},
		{0, 0, 0x11, 40, 0, 1, 0x31, 24, 0, 3, 80, 0, 9, 32, 0, 1, 1},
	}
}
