package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

func TestPrintMessageShowsEveryType(t *testing.T) {
	m := &wire.Message{Header: wire.Header{
		Order: wire.BigEndian, Type: wire.TypeError, Serial: 0xffffffff, ReplySerial: 7,
		Sender: ":1.1", Destination: ":1.2", ErrorName: "com.example.Error",
	}}
	type pair struct {
		A int16
		B string
	}
	if err := m.SetBody("a\"b\n", byte(1), true, int16(-2), uint16(3), int32(-4), uint32(5), int64(-6), uint64(7), 0.5,
		wire.ObjectPath("/o"), wire.Signature("as"), wire.UnixFD(0), pair{8, "x"}, map[string]wire.Variant{"k": {Value: []byte{9}}}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := printMessage(&out, m); err != nil {
		t.Fatal(err)
	}
	const want = ` Type=error  Endian=B  Flags=0  Version=1 Cookie=-1  ReplyCookie=7
  Sender=:1.1  Destination=:1.2  ErrorName=com.example.Error
  MESSAGE "sybnqiuxtdogh(ns)a{sv}" {
          STRING "a\"b\n";
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
          UNIX_FD 0;
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
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
