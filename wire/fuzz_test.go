package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kdbus-go/kdbus/wire"
)

func order(big bool) wire.Order {
	if big {
		return wire.BigEndian
	}
	return wire.LittleEndian
}

// FuzzHeader: whatever is parsed is valid, is written so that it parses to the
// same, and that is the only way it is ever written.
func FuzzHeader(f *testing.F) {
	f.Add(unhex(handmade))
	f.Add(header(4, 0, path, iface, member, replySerial, dictField))
	f.Add(header(99, 0))
	big := typicalCall
	big.Order = wire.BigEndian
	f.Add(big.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, sizeErr := wire.MessageSize(b)
		if sizeErr == nil && (size < wire.HeaderFixedSize || size > wire.MaxMessageSize) {
			t.Fatalf("size is %d", size)
		}
		var h wire.Header
		offset, err := h.Parse(b)
		if err != nil {
			return
		}
		if sizeErr != nil || offset > len(b) || offset%8 != 0 || size != offset+int(h.BodySize) {
			t.Fatalf("body at %d of %d, message of %d, %v", offset, len(b), size, sizeErr)
		}
		if err := h.Check(); err != nil {
			t.Fatalf("parsed, but %v", err)
		}
		for _, o := range []wire.Order{h.Order, wire.LittleEndian, wire.BigEndian} {
			h.Order = o
			canonical := h.Append(nil)
			var again wire.Header
			if at, err := again.Parse(canonical); err != nil || at != len(canonical) || len(canonical) > offset {
				t.Fatalf("written anew: body at %d of %d, %v", at, len(canonical), err)
			}
			if d := cmp.Diff(h, again); d != "" {
				t.Fatal(d)
			}
			if !bytes.Equal(canonical, again.Append(nil)) {
				t.Fatal("the same header is written in two ways")
			}
		}
	})
}

// FuzzBody: all readers take the bodies that are valid and no others, and their
// values, written in either order, are the same values.
func FuzzBody(f *testing.F) {
	for _, c := range validBodies {
		f.Add(false, c.signature, unhex(c.body))
	}
	for _, c := range invalidBodies {
		f.Add(false, c.signature, unhex(c.body))
	}
	f.Add(true, "sb", unhex("00000001 'a' 00 0000 00000001"))
	f.Fuzz(func(t *testing.T, big bool, sig string, b []byte) {
		// Arguments of bodies that are not valid are nonsense, but they end.
		args := wire.NewArgs(order(big), sig, b)
		for _, ok := args.Next(); ok; _, ok = args.Next() {
		}
		if err := wire.ValidateBody(order(big), sig, b); err != nil {
			if _, err := wire.Values(order(big), sig, b); err == nil {
				t.Fatal("Values takes it")
			}
			return
		}
		if strings.Contains(sig, "{d") || bytes.Contains(b, []byte("{d")) {
			// Go maps cannot be compared if a key is not a number.
			return
		}
		checkReaders(t, order(big), sig, b, nil)
		values, _ := wire.Values(order(big), sig, b)
		for _, o := range []wire.Order{wire.LittleEndian, wire.BigEndian} {
			again, err := wire.AppendBodyAs(nil, o, sig, values...)
			if err != nil {
				t.Fatal(err)
			}
			if err := wire.ValidateBody(o, sig, again); err != nil {
				t.Fatal(err)
			}
			got, err := wire.Values(o, sig, again)
			if d := cmp.Diff(values, got, cmpopts.EquateNaNs()); err != nil || d != "" {
				t.Fatal(err, d)
			}
		}
	})
}

// FuzzDecode: storing in Go types fails or works, whatever the signature.
func FuzzDecode(f *testing.F) {
	for _, c := range validBodies {
		f.Add(c.signature, unhex(c.body))
	}
	for _, c := range vectors {
		f.Add(c.signature, unhex(c.body))
	}
	f.Fuzz(func(t *testing.T, sig string, b []byte) {
		for _, dst := range []any{
			new(any), new(string), new(int), new(uint64), new(*bool), new(float64), new(wire.Variant), new(wire.ObjectPath),
			new([]byte), new([2]byte), new([]int32), new([]string), new([][]any), new(map[string]any), new(map[any]any),
			new(map[wire.ObjectPath]map[string]map[string]wire.Variant), new(point), new([]*shape), new(recursive), new([]any),
		} {
			err := wire.Decode(wire.LittleEndian, sig, b, dst)
			if err == nil && wire.CheckSingleSignature(sig) != nil {
				t.Fatalf("%q is one value", sig)
			}
		}
	})
}

// FuzzMessage: a message that parses is written as it was but for unknown
// fields.
func FuzzMessage(f *testing.F) {
	m := wire.Message{Header: typicalCall}
	if err := m.SetBody("name", uint32(4)); err != nil {
		f.Fatal(err)
	}
	b, err := m.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(append(header(4, 5, path, iface, member, "08 01 'g' 00 01 'v' 00"), unhex("01 'y' 00 07")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.ParseMessage(b)
		if err != nil {
			return
		}
		again, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.ParseMessage(again)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, got); d != "" {
			t.Fatal(d)
		}
	})
}
