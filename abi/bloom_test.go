package abi

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// setBits lists the bits that are set in words of 64 bits.
func setBits(data []byte) (set []int) {
	for i := range 8 * len(data) {
		if u64(data, i/64*8)>>(i%64)&1 == 1 {
			set = append(set, i)
		}
	}
	return set
}

func TestBloomSetsTheBitsThatOtherClientsSet(t *testing.T) {
	b, err := NewBloom(DefaultBloom)
	if err != nil {
		t.Fatal(err)
	}
	b.Add("interface", "waldo.com")
	if got := setBits(b.Data); !cmp.Equal(got, []int{62, 66, 311, 322, 365, 419, 464}) {
		t.Errorf("bits %v", got)
	}
	b.Reset()
	if got := setBits(b.Data); got != nil {
		t.Errorf("bits %v in an empty filter", got)
	}
}

func TestBloomAddsPrefixes(t *testing.T) {
	for _, c := range []struct {
		value     string
		separator byte
		want      []string
	}{
		{"/a/b", '/', []string{"/a/b", "/a/", "/a", "/"}},
		{"/", '/', []string{"/"}},
		{"", '/', []string{""}},
		{"org.example.A", '.', []string{"org.example.A", "org.example.", "org.example", "org.", "org"}},
		{"a//b", '/', []string{"a//b", "a//", "a/", "a"}},
	} {
		got, _ := NewBloom(BloomParameter{4096, 16})
		want, _ := NewBloom(BloomParameter{4096, 16})
		got.AddPrefixes("k", c.value, c.separator)
		for _, v := range c.want {
			want.Add("k", v)
		}
		if !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%q: bits %v, want those of %q", c.value, setBits(got.Data), c.want)
		}
	}
}

func TestBloomParametersAreJudged(t *testing.T) {
	for _, c := range []struct {
		p          BloomParameter
		check, new string
	}{
		{DefaultBloom, "", ""},
		{BloomParameter{8, 1}, "", ""},
		{BloomParameter{8, 64}, "", ""},     // an index takes one byte
		{BloomParameter{8, 65}, "", "EDOM"}, // the functions give 64 bytes
		{BloomParameter{40, 64}, "", ""},    // 320 bits, but an index of one byte
		{BloomParameter{64, 32}, "", ""},    // an index takes two
		{BloomParameter{64, 33}, "", "EDOM"},
		{BloomParameter{24, 64}, "", ""}, // no power of two
		{BloomParameter{4096, 32}, "", ""},
		{BloomParameter{4096, 1 << 63}, "", "EDOM"},
		{BloomParameter{4104, 1}, "EINVAL", "EINVAL"},
		{BloomParameter{0, 1}, "EINVAL", "EINVAL"},
		{BloomParameter{9, 1}, "EINVAL", "EINVAL"},
		{BloomParameter{8, 0}, "EINVAL", "EINVAL"},
	} {
		if err := c.p.Check(); errno(err) != c.check {
			t.Errorf("%+v: Check: %v, want %q", c.p, err, c.check)
		}
		b, err := NewBloom(c.p)
		if errno(err) != c.new {
			t.Errorf("%+v: NewBloom: %v, want %q", c.p, err, c.new)
		}
		if err == nil {
			b.Add("key", "value")
		}
	}
}

// TestAnElementIsFoundInEveryFilterWithIt is what a bloom filter is for.
func TestAnElementIsFoundInEveryFilterWithIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := BloomParameter{8 * rapid.Uint64Range(1, 32).Draw(t, "size"), rapid.Uint64Range(1, 8).Draw(t, "hashes")}
		filter, _ := NewBloom(p)
		values := rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "values")
		for _, v := range values {
			filter.Add("arg0", v)
		}
		mask, _ := NewBloom(p)
		mask.Add("arg0", rapid.SampledFrom(values).Draw(t, "value"))
		for i, m := range mask.Data {
			if filter.Data[i]&m != m {
				t.Fatalf("bits %v are not all in %v", setBits(mask.Data), setBits(filter.Data))
			}
		}
	})
}

// TestSipHash uses the vectors of its authors: the key is 00 01 ... 0f, the
// message as many such bytes.
func TestSipHash(t *testing.T) {
	key := [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	data := "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e"
	for _, c := range []struct {
		data string
		want uint64
	}{
		{"", 0x726fdb47dd0e0e31},
		{data, 0xa129ca6149be45e5},
	} {
		for i := range len(c.data) + 1 {
			s := newSip(key)
			s.write(c.data[:i])
			s.write(c.data[i:])
			if got := s.sum(); got != c.want {
				t.Errorf("%d bytes in pieces of %d and the rest: %#x, want %#x", len(c.data), i, got, c.want)
			}
		}
	}
}
