package abi

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Item is one item of a command, a message or a reply: kdbus.item(7).
type Item struct {
	Type ItemType
	// Data is what comes after the header, without padding: part of the bytes
	// that the item was found in.
	Data []byte
}

// Items are consecutive items: the end of a struct, or some encoded ahead to be
// copied into one.
type Items []byte

// All goes through the items, and ends at what is no item. It judges neither
// types nor data, and does not allocate.
func (s Items) All() iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for len(s) > 0 {
			it, rest, f := s.next()
			if f.errno != 0 || !yield(it) {
				return
			}
			s = rest
		}
	}
}

// next cuts the first item off.
func (s Items) next() (Item, Items, fault) {
	if len(s) < sizeItem {
		return Item{}, nil, invalid("fewer bytes left than an item's header has")
	}
	it := Item{Type: ItemType(u64(s, 8))}
	size := u64(s, 0)
	if size < sizeItem {
		return it, nil, invalid("size is less than that of an item's header")
	}
	if size > uint64(len(s)) {
		return it, nil, invalid("size goes beyond the end of the struct")
	}
	it.Data = s[sizeItem:size:size]
	// What follows an item begins at a multiple of 8. The last one needs no
	// padding.
	return it, s[min(align8(int(size)), len(s)):], fault{}
}

// AppendItem appends an item with this data, and its padding, to dst, whose
// items begin at a multiple of 8 from where its struct begins.
func AppendItem(dst []byte, t ItemType, data []byte) []byte {
	return pad8(append(appendItemHeader(dst, t, len(data)), data...), len(data))
}

// appendItemHeader begins an item; data of this size is to follow, then pad8.
func appendItemHeader(dst []byte, t ItemType, size int) []byte {
	dst = appendU64(dst, uint64(sizeItem+size))
	return appendU64(dst, uint64(t))
}

// pad8 ends an item whose data has this size.
func pad8(dst []byte, size int) []byte {
	var zero [8]byte
	return append(dst, zero[:-size&7]...)
}

// appendStringItem appends an item with a string. What comes after a NUL is cut
// off, as nobody would see it.
func appendStringItem(dst []byte, t ItemType, s string) []byte {
	s = cString(s)
	dst = append(append(appendItemHeader(dst, t, len(s)+1), s...), 0)
	return pad8(dst, len(s)+1)
}

func appendU64Item(dst []byte, t ItemType, v uint64) []byte {
	return appendU64(appendItemHeader(dst, t, 8), v)
}

func appendFDItem(dst []byte, t ItemType, fds ...int32) []byte {
	dst = appendItemHeader(dst, t, 4*len(fds))
	for _, fd := range fds {
		dst = appendU32(dst, uint32(fd))
	}
	return pad8(dst, 4*len(fds))
}

// check judges the data of an item by its type alone. Types it does not know
// are fine.
func (it Item) check() fault {
	size := len(it.Data)
	switch it.Type {
	case ItemNegotiate, ItemAuxGroups:
		if size%8 != 0 {
			return invalid("size is not that of an array of 64-bit numbers")
		}
	case ItemFDs:
		if size%4 != 0 {
			return invalid("size is not that of an array of descriptors")
		}
	case ItemPayloadVec, ItemPayloadOff, ItemPayloadMemfd:
		return it.checkPayload()
	case ItemBloomFilter:
		if size < 8 {
			return invalid("too short for its generation")
		}
	case ItemMakeName, ItemConnDescription:
		return checkSysname(it.Data)
	case ItemName, ItemDstName, ItemTIDComm, ItemPIDComm, ItemExe, ItemCGroup, ItemSecLabel, ItemMatchRule,
		ItemNameSubtree, ItemPolicyCall, ItemPolicyBroadcast, ItemPath, ItemAddress:
		return checkString(it.Data)
	case ItemOwnedName:
		if size < 8 {
			return invalid("too short for its flags")
		}
		return checkString(it.Data[8:])
	case ItemReason:
		if size < 8 {
			return invalid("too short for its errno")
		}
		if s := it.Data[8:]; bytes.Count(s, []byte{0}) != 2 || s[len(s)-1] != 0 {
			return invalid("not two strings, each terminated by a NUL")
		}
	case ItemCmdline:
		if size == 0 || it.Data[size-1] != 0 {
			return invalid("not terminated by a NUL")
		}
	case ItemCaps:
		return checkCaps(it.Data)
	case ItemNameAdd, ItemNameRemove, ItemNameChange:
		if size < 32 {
			return invalid("too short for its ids")
		}
		if size > 32 {
			return checkString(it.Data[32:])
		}
	default:
		if want, fixed := it.Type.fixedSize(); fixed && size != want {
			return invalid("wrong size")
		}
	}
	return fault{}
}

// fixedSize returns the size of the data of items whose data has a fixed size.
func (t ItemType) fixedSize() (int, bool) {
	switch t {
	case ItemReplyTimeout, ItemReplyDead, ItemReport:
		return 0, true
	case ItemCancelFD:
		return 4, true
	case ItemAttachFlagsSend, ItemAttachFlagsRecv, ItemID, ItemDstID, ItemAudit:
		return 8, true
	case ItemPayloadVec, ItemPayloadOff, ItemBloomParameter, ItemIDAdd, ItemIDRemove:
		return 16, true
	case ItemPayloadMemfd, ItemTimestamp, ItemPIDs, ItemPolicyAccess:
		return 24, true
	case ItemCreds:
		return 64, true
	}
	return 0, false
}

// text returns the string of an item that was checked.
func text(data []byte) string { return string(data[:len(data)-1]) }

// checkString judges a string that is to fill its item.
func checkString(b []byte) fault {
	switch i := bytes.IndexByte(b, 0); {
	case i < 0:
		return invalid("not terminated by a NUL")
	case i < len(b)-1:
		return invalid("a NUL before the end")
	}
	return fault{}
}

// cString returns s up to its first NUL.
func cString(s string) string {
	for i := range len(s) {
		if s[i] == 0 {
			return s[:i]
		}
	}
	return s
}

func align8(n int) int { return (n + 7) &^ 7 }

func u64(b []byte, off int) uint64 { return binary.NativeEndian.Uint64(b[off:]) }

func u32(b []byte, off int) uint32 { return binary.NativeEndian.Uint32(b[off:]) }

func putU64(b []byte, off int, v uint64) { binary.NativeEndian.PutUint64(b[off:], v) }

func appendU64(dst []byte, v uint64) []byte { return binary.NativeEndian.AppendUint64(dst, v) }

func appendU32(dst []byte, v uint32) []byte { return binary.NativeEndian.AppendUint32(dst, v) }
