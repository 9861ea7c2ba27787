package wire_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

func TestMessageRoundTrip(t *testing.T) {
	m := wire.Message{Header: typicalCall}
	if err := m.SetBody("name", uint32(4)); err != nil {
		t.Fatal(err)
	}
	b, err := m.Append([]byte("xyz"))
	if err != nil {
		t.Fatal(err)
	}
	b = b[3:]
	got, err := wire.ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if d := cmp.Diff(&m, got); d != "" {
		t.Error(d)
	}
	var name string
	var number uint32
	if err := got.Decode(&name, &number); err != nil || name != "name" || number != 4 {
		t.Errorf("%q %d %v", name, number, err)
	}
	values, err := got.Values()
	if d := cmp.Diff([]any{"name", uint32(4)}, values); err != nil || d != "" {
		t.Error(err, d)
	}
}

func TestMessageIsLittleEndianUnlessToldOtherwise(t *testing.T) {
	m := wire.Message{Header: wire.Header{Type: wire.TypeMethodReturn, Serial: 1, ReplySerial: 2}}
	if err := m.SetBody(uint16(1)); err != nil {
		t.Fatal(err)
	}
	b, err := m.Append(nil)
	if err != nil || b[0] != 'l' || b[len(b)-1] != 0 {
		t.Errorf("% x, %v", b, err)
	}
}

func TestInvalidMessagesAreRefused(t *testing.T) {
	m := wire.Message{Header: typicalCall}
	if err := m.SetBody(true); err != nil {
		t.Fatal(err)
	}
	good, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := wire.ParseMessage(good[:n]); err != wire.ErrShort {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := wire.ParseMessage(append(good, 0)); err == nil {
		t.Error("a byte too many")
	}
	good[len(good)-1] = 1 // the boolean
	if _, err := wire.ParseMessage(good); err == nil {
		t.Error("invalid body")
	}
	good[0] = 'x'
	if _, err := wire.ParseMessage(good); err == nil {
		t.Error("invalid header")
	}
	if m.SetBody(nil) == nil || m.Signature != "b" {
		t.Errorf("nil is a body: %q", m.Signature)
	}
	m.Member = "not a member"
	if b, err := m.Append([]byte("x")); err == nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	m = wire.Message{Header: typicalCall, Body: make([]byte, wire.MaxMessageSize)}
	if _, err := m.Append(nil); err == nil {
		t.Error("more than 128 MiB")
	}
}
