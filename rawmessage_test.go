package kdbus_test

import (
	"os"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/kdbustest"
	"github.com/kdbus-go/kdbus/wire"
)

// rawEcho answers with what it is called with.
type rawEcho struct{}

func (rawEcho) Echo(v kdbus.Variant) (kdbus.Variant, error) { return v, nil }
func (rawEcho) Write(f *os.File, text string) error {
	defer f.Close()
	_, err := f.WriteString(text)
	return err
}

// counting counts the values it visits.
type counting struct{ basic, containers int }

func (c *counting) Basic(wire.Basic) error   { c.basic++; return nil }
func (c *counting) Enter(byte, string) error { c.containers++; return nil }
func (c *counting) Leave(byte) error         { return nil }

// Bodies that are written by hand go both ways, over both protocols.
func TestRawBodies(t *testing.T) {
	for _, dbus1 := range []bool{false, true} {
		bus := kdbustest.Start(t)
		ctx := t.Context()
		conn, err := (&kdbus.Dialer{DBus1: dbus1}).Dial(ctx, bus.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Export("/o", "a.b", rawEcho{}); err != nil {
			t.Fatal(err)
		}
		o := conn.Object(conn.Name(), "/o")
		var e wire.Encoder
		e.Reset(wire.LittleEndian, nil)
		e.Variant("as")
		e.Strings([]string{"x", "y"})
		body, err := e.Body()
		if err != nil {
			t.Fatal(err)
		}
		reply, err := o.CallRaw(ctx, "a.b.Echo", kdbus.Body{Signature: "v", Bytes: body})
		if err != nil {
			t.Fatal(err)
		}
		var seen counting
		if err := reply.Walk(&seen); err != nil || seen != (counting{2, 2}) {
			t.Errorf("walked over %+v, %v", seen, err)
		}
		whole, err := wire.ParseMessage(reply.Append(nil))
		if err != nil || whole.Sender != conn.Name() || whole.Order != reply.Order() || len(whole.Body) != reply.Size() || reply.Priority() != 0 {
			t.Errorf("as bytes the answer is %+v, %v", whole, err)
		}
		if !reply.Matches(kdbus.Match{Type: kdbus.TypeMethodReturn, Sender: conn.Name()}) || reply.Matches(kdbus.Match{Member: "Echo"}) {
			t.Error("the answer matches what it should not")
		}

		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		e.Reset(wire.LittleEndian, nil)
		e.UnixFD(0)
		e.String("through the pipe")
		if body, err = e.Body(); err != nil {
			t.Fatal(err)
		}
		if err := o.SendRaw(ctx, "a.b.Write", kdbus.Body{Signature: "hs", Bytes: body, Files: []*os.File{w}}); err != nil {
			t.Fatal(err)
		}
		w.Close()
		b := make([]byte, 100)
		if n, err := r.Read(b); string(b[:n]) != "through the pipe" {
			t.Errorf("read %q, %v", b[:n], err)
		}
		r.Close()

		s, err := conn.Subscribe(ctx, kdbus.Match{Interface: "a.b"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.EmitRaw(ctx, "", "/o", "a.b.C", 0, kdbus.Body{Signature: "u", Bytes: []byte{7, 0, 0, 0}}); err != nil {
			t.Fatal(err)
		}
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var n uint32
		if err := m.Decode(&n); err != nil || n != 7 {
			t.Errorf("the signal carries %d, %v", n, err)
		}
		for _, wrong := range []kdbus.Body{{Signature: "u"}, {Bytes: []byte{1}}, {Signature: "s", Bytes: []byte{1, 0, 0, 0, 'x', 'y'}}} {
			_, err := o.CallRaw(ctx, "a.b.Echo", wrong)
			if err == nil || !strings.Contains(err.Error(), "wire: ") {
				t.Errorf("%+v was sent: %v", wrong, err)
			}
		}
	}
}
