package wire_test

import (
	"bytes"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

func TestOrders(t *testing.T) {
	for order, want := range map[wire.Order]string{
		wire.LittleEndian: "0201 04030201 0807060504030201",
		wire.BigEndian:    "0102 01020304 0102030405060708",
	} {
		b := order.AppendUint16(nil, 0x0102)
		b = order.AppendUint32(b, 0x01020304)
		b = order.AppendUint64(b, 0x0102030405060708)
		put := make([]byte, len(b))
		order.PutUint16(put, 0x0102)
		order.PutUint32(put[2:], 0x01020304)
		order.PutUint64(put[6:], 0x0102030405060708)
		if !bytes.Equal(b, unhex(want)) || !bytes.Equal(put, b) {
			t.Errorf("%v: % x, % x", order, b, put)
		}
		if order.Uint16(b) != 0x0102 || order.Uint32(b[2:]) != 0x01020304 || order.Uint64(b[6:]) != 0x0102030405060708 {
			t.Errorf("%v: reads something else", order)
		}
		if !order.Valid() {
			t.Errorf("%v is not valid", order)
		}
	}
	if wire.Order('L').Valid() {
		t.Error("'L' is valid")
	}
}
