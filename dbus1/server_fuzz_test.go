package dbus1_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

// control is two peers on a bus where others send anything, messages for these two included.
type control struct {
	caller, callee *client
}

func (s *testServer) newControl(t testing.TB) *control {
	t.Helper()
	c := &control{caller: s.connectAs(t, wire.LittleEndian, false), callee: s.connectAs(t, wire.BigEndian, false)}
	go c.callee.answerCalls()
	return c
}

// answerCalls answers all calls until the connection ends, and ignores everything else.
func (c *client) answerCalls() {
	for {
		m, err := c.next()
		if err != nil {
			return
		}
		if m.Type != wire.TypeMethodCall {
			continue
		}
		if reply, err := answerTo(c, m); err != nil || c.send(reply) != nil {
			return
		}
	}
}

// check makes sure that the two can still talk to each other.
func (c *control) check() error {
	call := c.caller.newMessage(wire.TypeMethodCall, c.callee.name, "Check", "text", c.caller.serial+1)
	if err := c.caller.send(call); err != nil {
		return fmt.Errorf("a bystander was disconnected: %w", err)
	}
	for {
		m, err := c.caller.next()
		if err != nil {
			return fmt.Errorf("a bystander gets no answer: %w", err)
		}
		if m.Sender == c.callee.name && m.ReplySerial == call.Serial {
			var text string
			var number uint32
			if m.Decode(&text, &number) != nil || text != "text" || number != call.Serial {
				return fmt.Errorf("a bystander got %s", m)
			}
			return nil
		}
	}
}

// FuzzServer sends anything, with any number of descriptors, after Hello: it ends with the
// connection, and others do not notice.
func FuzzServer(f *testing.F) {
	for _, bad := range misbehaviours {
		if bad.stage <= onBusNoFDs && len(bad.bytes) < 1<<10 {
			f.Add(bad.bytes, uint8(bad.fds))
		}
	}
	for _, order := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
		f.Add(conversation(order), uint8(0))
	}
	s := startServer(f)
	control := s.newControl(f)
	f.Fuzz(func(t *testing.T, data []byte, fds uint8) {
		c, err := s.join(wire.LittleEndian, true)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if len(data) > 0 {
			c.write(data, slices.Repeat([]int{int(devNull())}, int(fds%32))...)
		}
		c.conn.CloseWrite()
		if err := control.check(); err != nil {
			t.Error(err)
		}
		if err := c.disconnected(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzServerFromTheFirstByte is the same without authentication.
func FuzzServerFromTheFirstByte(f *testing.F) {
	for _, bad := range misbehaviours {
		if bad.stage == fresh {
			f.Add(bad.bytes[:min(len(bad.bytes), 1<<10)])
		}
	}
	hello, err := (&client{order: wire.BigEndian}).newMessage(wire.TypeMethodCall, driver, "Hello").Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Concat(handshake(true), hello, conversation(wire.BigEndian)))
	f.Add([]byte("\x00AUTH\r\nCANCEL\r\nAUTH ANONYMOUS\r\nERROR \"no\"\r\nAUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"))
	s := startServer(f)
	control := s.newControl(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		c.write(data)
		c.conn.CloseWrite()
		if err := control.check(); err != nil {
			t.Error(err)
		}
		if err := c.disconnected(); err != nil {
			t.Error(err)
		}
	})
}

// conversation is what a peer might say to the bus and to others on it: something from every
// corner.
func conversation(order wire.Order) []byte {
	c := &client{order: order, serial: 1}
	name := "org.example.Fuzz"
	said := []*wire.Message{
		c.newMessage(wire.TypeMethodCall, driver, "RequestName", name, uint32(7)),
		c.newMessage(wire.TypeMethodCall, driver, "AddMatch", "type='signal',arg0path='/a/',path_namespace='/org',sender='"+name+"'"),
		c.newMessage(wire.TypeMethodCall, driver, "AddMatch", "eavesdrop=true"),
		c.newMessage(wire.TypeSignal, "", "Signal", wire.ObjectPath("/a/b"), []string{"a"}, map[string]wire.Variant{"k": {Value: "v"}}),
		c.newMessage(wire.TypeMethodCall, name, "Call", uint64(1), 0.5, true),
		c.newMessage(wire.TypeMethodReturn, name, "", "answer"),
		c.newMessage(wire.TypeError, ":1.1", "", "wrong"),
		c.newMessage(wire.TypeMethodCall, "", "Ping"),
		c.newMessage(wire.TypeMethodCall, driver, "GetConnectionCredentials", name),
		c.newMessage(wire.TypeMethodCall, driver, "ListQueuedOwners", name),
		c.newMessage(wire.TypeMethodCall, driver, "ReleaseName", name),
		c.newMessage(wire.TypeMethodCall, driver, "BecomeMonitor", []string{"type='error'"}, uint32(0)),
	}
	var all []byte
	for _, m := range said {
		switch m.Type {
		case wire.TypeMethodReturn:
			m.ReplySerial = m.Serial - 1
		case wire.TypeError:
			m.ReplySerial, m.ErrorName = 9, "org.example.Error"
		}
		switch m.Member {
		case "Ping":
			m.Interface = "org.freedesktop.DBus.Peer"
		case "BecomeMonitor":
			m.Interface = "org.freedesktop.DBus.Monitoring"
		}
		b, err := m.Append(nil)
		if err != nil {
			panic(err)
		}
		all = append(all, b...)
	}
	return all
}
