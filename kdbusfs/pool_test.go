package kdbusfs

import (
	"testing"

	"pgregory.net/rapid"
)

// Slices lie within the pool and apart from each other, whatever is taken and given back in whatever order; and what
// was given back can be taken again.
func TestSlicesNeverOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 512
		p := &pool{size: size}
		taken := map[uint64]uint64{} // sizes by offsets
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				want := rapid.Uint64Range(1, size).Draw(t, "size")
				offset, err := p.allocate(want)
				if err != nil {
					if len(taken) == 0 {
						t.Fatalf("an empty pool of %d bytes has no space for %d", size, want)
					}
					return
				}
				if offset%8 != 0 || offset+want > size {
					t.Fatalf("%d bytes at %d in a pool of %d", want, offset, size)
				}
				for at, n := range taken {
					if offset < at+n && at < offset+want {
						t.Fatalf("%d bytes at %d overlap %d at %d", want, offset, n, at)
					}
				}
				taken[offset] = want
			},
			"give back": func(t *rapid.T) {
				offset := rapid.Uint64Range(0, size).Draw(t, "offset")
				_, want := taken[offset]
				if got := p.free(offset); got != want {
					t.Fatalf("giving back what is at %d: %t, want %t", offset, got, want)
				}
				delete(taken, offset)
			},
		})
	})
}
