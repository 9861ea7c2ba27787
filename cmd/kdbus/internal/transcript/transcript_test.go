package transcript

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// A signal with every type, as monitor prints it.
func TestPrinterShowsEveryType(t *testing.T) {
	bus := kdbustest.Start(t)
	conn, err := (&kdbus.Dialer{DBus1: true}).Dial(t.Context(), bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sub, err := conn.Subscribe(t.Context(), kdbus.Match{Interface: "a.b"}, 0) // not what the bus tells of our own name
	if err != nil {
		t.Fatal(err)
	}
	type pair struct {
		A int16
		B string
	}
	if err := conn.Emit(t.Context(), "/o", "a.b.C", "a\"b\n\x1b", byte(1), true, int16(-2), uint16(3), int32(-4), uint32(5), int64(-6), uint64(7), 0.5,
		kdbus.ObjectPath("/o"), kdbus.Signature("as"), pair{8, "x"}, map[string]kdbus.Variant{"k": {Value: []byte{9}}}); err != nil {
		t.Fatal(err)
	}
	m, err := sub.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var p Printer
	got, err := p.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	const want = ` Type=signal  Endian=l  Flags=0  Version=1 Cookie=3
  Sender=:1.1  Path=/o  Interface=a.b  Member=C
  UniqueName=:1.1
  MESSAGE "sybnqiuxtdog(ns)a{sv}" {
          STRING "a"b\n\033";
          BYTE 1;
          BOOLEAN true;
          INT16 -2;
          UINT16 3;
          INT32 -4;
          UINT32 5;
          INT64 -6;
          UINT64 7;
          DOUBLE 0.5;
          OBJECT_PATH "/o";
          SIGNATURE "as";
          STRUCT "ns" {
                  INT16 8;
                  STRING "x";
          };
          ARRAY "{sv}" {
                  DICT_ENTRY "sv" {
                          STRING "k";
                          VARIANT "ay" {
                                  ARRAY "y" {
                                          BYTE 9;
                                  };
                          };
                  };
          };
  };

`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
