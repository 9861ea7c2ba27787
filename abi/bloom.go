package abi

import (
	"math/bits"
	"strings"
	"syscall"
)

// BloomParameter says what the bloom filters of a bus are: kdbus.match(7),
// "Bloom filters".
type BloomParameter struct {
	Size  uint64 // of a filter, in bytes: a multiple of 8
	NHash uint64 // number of bits that each element sets
}

// DefaultBloom is what buses are made with where nobody knows better.
var DefaultBloom = BloomParameter{Size: 64, NHash: 8}

// Check judges the parameters as BUS_MAKE does. The error is an [*Error].
func (p BloomParameter) Check() error {
	if f := p.check(); f.errno != 0 {
		return f.at("bloom parameter", 0, 0)
	}
	return nil
}

func (p BloomParameter) check() fault {
	switch {
	case p.Size < 8 || p.Size%8 != 0:
		return invalid("size is not a multiple of 8")
	case p.Size > BusBloomMaxSize:
		return invalid("size is more than 4096")
	case p.NHash < 1:
		return invalid("no hash functions")
	}
	return fault{}
}

// AppendItem appends the item BLOOM_PARAMETER.
func (p BloomParameter) AppendItem(dst []byte) []byte {
	return appendU64(appendU64(appendItemHeader(dst, ItemBloomParameter, 16), p.Size), p.NHash)
}

func bloomParameter(d []byte) BloomParameter { return BloomParameter{u64(d, 0), u64(d, 8)} }

// BloomFilter is what a signal carries for matches to be compared with.
type BloomFilter struct {
	// Generation selects the mask of a match that has several.
	Generation uint64
	// Data are 64-bit words: bit b is bit b%64 of word b/64.
	Data []byte
}

func (f BloomFilter) append(dst []byte) []byte {
	size := 8 + len(f.Data)
	dst = appendU64(appendItemHeader(dst, ItemBloomFilter, size), f.Generation)
	return pad8(append(dst, f.Data...), size)
}

// Bloom makes bloom filters and masks, which all clients of a bus must make the
// same way: an element is "KEY:VALUE", and sets the bits that SipHash-2-4 with
// eight fixed keys selects.
type Bloom struct {
	// Data is the filter, or the mask, so far: see BloomFilter.Data.
	Data []byte

	nHash int
	width int // of an index, in bytes
	mask  uint64
}

// bloomKeys are the keys of the hash functions, which give 8 bytes each.
var bloomKeys = [8][2]uint64{
	{0xc1477046f00b66b9, 0x15bdb9549cc47588},
	{0x394b71e0a254a1aa, 0x3b4ac59f2edde1bf},
	{0x124882cdbeaefd63, 0xc8a0facb26416ea1},
	{0x2d46d2322945be23, 0xf51737fe28520382},
	{0x39434f5aeebf3b56, 0x10fcf0df0894aaaf},
	{0xd346eac773c88031, 0x29094c9e0f7525aa},
	{0xd544a47b4b18f77d, 0x6d965365e0063c85},
	{0x714eb5936fe977f2, 0x35bf253988340c9a},
}

// NewBloom returns an empty filter. There is an error if the parameters are not
// those of a bus, or ask for more bits than the eight hash functions give.
func NewBloom(p BloomParameter) (*Bloom, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	m := p.Size * 8
	width := uint64(bits.Len64(m)-1+7) / 8
	if p.NHash > 8*uint64(len(bloomKeys))/width {
		return nil, fault{syscall.EDOM, "more bits per element than the hash functions give"}.
			at("bloom parameter", 8, 0)
	}
	return &Bloom{Data: make([]byte, p.Size), nHash: int(p.NHash), width: int(width), mask: m - 1}, nil
}

// Reset makes the filter empty again.
func (b *Bloom) Reset() { clear(b.Data) }

// Add adds an element, such as "interface" and "org.example.Interface".
func (b *Bloom) Add(key, value string) {
	var hash uint64
	left, next := 0, 0 // bytes of hash that are not used, and the next key
	for range b.nHash {
		index := uint64(0)
		for range b.width {
			if left == 0 {
				hash = sipElement(bloomKeys[next], key, value)
				left = 8
				next++
			}
			index = index<<8 | hash&0xff
			hash >>= 8
			left--
		}
		b.set(index & b.mask)
	}
}

func (b *Bloom) set(bit uint64) {
	word := b.Data[bit/64*8:]
	putU64(word, 0, u64(word, 0)|1<<(bit%64))
}

// AddPrefixes adds the value, and all that comes before a separator in it, with
// and without that separator: so that rules can ask for names or paths below
// one.
func (b *Bloom) AddPrefixes(key, value string, separator byte) {
	b.Add(key, value)
	for {
		i := strings.LastIndexByte(value, separator)
		if i < 0 {
			return
		}
		b.Add(key, value[:i+1])
		if i == 0 {
			return
		}
		value = value[:i]
		b.Add(key, value)
	}
}
