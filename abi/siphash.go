package abi

import "math/bits"

// sip is the state of SipHash-2-4 (Aumasson and Bernstein, 2012).
type sip struct {
	v0, v1, v2, v3 uint64
	tail           uint64 // bytes that do not make a word yet, the first one lowest
	n              uint64 // number of all bytes
}

// newSip begins a hash under a key, whose bytes are two words, the lowest first.
func newSip(k [2]uint64) sip {
	return sip{
		v0: k[0] ^ 0x736f6d6570736575,
		v1: k[1] ^ 0x646f72616e646f6d,
		v2: k[0] ^ 0x6c7967656e657261,
		v3: k[1] ^ 0x7465646279746573,
	}
}

// sipElement hashes "KEY:VALUE".
func sipElement(k [2]uint64, key, value string) uint64 {
	s := newSip(k)
	s.write(key)
	s.write(":")
	s.write(value)
	return s.sum()
}

func (s *sip) write(data string) {
	shift := s.n % 8 * 8
	s.n += uint64(len(data))
	for ; len(data) >= 8; data = data[8:] {
		w := uint64(data[0]) | uint64(data[1])<<8 | uint64(data[2])<<16 | uint64(data[3])<<24 |
			uint64(data[4])<<32 | uint64(data[5])<<40 | uint64(data[6])<<48 | uint64(data[7])<<56
		s.word(s.tail | w<<shift)
		s.tail = w >> (64 - shift)
	}
	for i := range len(data) {
		s.tail |= uint64(data[i]) << shift
		if shift += 8; shift == 64 {
			s.word(s.tail)
			s.tail, shift = 0, 0
		}
	}
}

func (s *sip) word(m uint64) {
	s.v3 ^= m
	s.round()
	s.round()
	s.v0 ^= m
}

func (s *sip) sum() uint64 {
	s.word(s.n<<56 | s.tail)
	s.v2 ^= 0xff
	for range 4 {
		s.round()
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

func (s *sip) round() {
	s.v0 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
	s.v0 = bits.RotateLeft64(s.v0, 32)
	s.v2 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
	s.v0 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
	s.v2 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
	s.v2 = bits.RotateLeft64(s.v2, 32)
}
