package wire

import "encoding/binary"

// Order is the byte order of a message: the first byte of its header. It is a
// byte and not an interface so that its methods are inlined. Every value other
// than [BigEndian] reads and writes little-endian; see [Order.Valid].
type Order byte

// The two byte orders, section "Message Format".
const (
	LittleEndian Order = 'l'
	BigEndian    Order = 'B'
)

// Valid reports whether o is one of the two byte orders.
func (o Order) Valid() bool { return o == LittleEndian || o == BigEndian }

func (o Order) String() string {
	switch o {
	case LittleEndian:
		return "little-endian"
	case BigEndian:
		return "big-endian"
	}
	return "invalid byte order"
}

// Uint16 reads b[0:2].
func (o Order) Uint16(b []byte) uint16 {
	if o == BigEndian {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

// Uint32 reads b[0:4].
func (o Order) Uint32(b []byte) uint32 {
	if o == BigEndian {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

// Uint64 reads b[0:8].
func (o Order) Uint64(b []byte) uint64 {
	if o == BigEndian {
		return binary.BigEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b)
}

// PutUint16 writes v to b[0:2].
func (o Order) PutUint16(b []byte, v uint16) {
	if o == BigEndian {
		binary.BigEndian.PutUint16(b, v)
	} else {
		binary.LittleEndian.PutUint16(b, v)
	}
}

// PutUint32 writes v to b[0:4].
func (o Order) PutUint32(b []byte, v uint32) {
	if o == BigEndian {
		binary.BigEndian.PutUint32(b, v)
	} else {
		binary.LittleEndian.PutUint32(b, v)
	}
}

// PutUint64 writes v to b[0:8].
func (o Order) PutUint64(b []byte, v uint64) {
	if o == BigEndian {
		binary.BigEndian.PutUint64(b, v)
	} else {
		binary.LittleEndian.PutUint64(b, v)
	}
}

// AppendUint16 appends the 2 bytes of v to b.
func (o Order) AppendUint16(b []byte, v uint16) []byte {
	if o == BigEndian {
		return binary.BigEndian.AppendUint16(b, v)
	}
	return binary.LittleEndian.AppendUint16(b, v)
}

// AppendUint32 appends the 4 bytes of v to b.
func (o Order) AppendUint32(b []byte, v uint32) []byte {
	if o == BigEndian {
		return binary.BigEndian.AppendUint32(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, v)
}

// AppendUint64 appends the 8 bytes of v to b.
func (o Order) AppendUint64(b []byte, v uint64) []byte {
	if o == BigEndian {
		return binary.BigEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint64(b, v)
}
