package gvariant

import (
	"bytes"
	"math"
	"testing"
)

// Offsets are as wide as the container, offsets included, makes them; and the width
// that is written is the one that will be read.
func TestWidthOfFramingOffsets(t *testing.T) {
	for _, c := range []struct{ size, count, width int }{
		{0, 0, 1}, {0, 255, 1}, {0, 256, 2}, {254, 1, 1}, {255, 1, 2}, {255, 0, 1}, {256, 0, 2},
		{65533, 1, 2}, {65534, 1, 4}, {0, 32767, 2}, {0, 32768, 4},
		{math.MaxUint32 - 4, 1, 4}, {math.MaxUint32 - 3, 1, 8},
	} {
		if got := writeWidth(c.size, c.count); got != c.width {
			t.Errorf("%d offsets after %d bytes are %d bytes wide, want %d", c.count, c.size, got, c.width)
		}
		if total := c.size + c.count*c.width; total > 0 && readWidth(total) != c.width {
			t.Errorf("in %d bytes offsets are read as %d bytes wide, want %d", total, readWidth(total), c.width)
		}
	}
	if readWidth(0) != 0 {
		t.Error("there are offsets in no bytes")
	}
}

func TestFramingOffsetsAreLittleEndian(t *testing.T) {
	for _, width := range []int{1, 2, 4, 8} {
		want := []byte{0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x18}[:width]
		v := readOffset(want)
		if got := appendOffset(nil, width, int(v)); !bytes.Equal(got, want) || v&0xff != 0x81 {
			t.Errorf("%x is read as %x, which is written as %x", want, v, got)
		}
	}
}
