package wire

// Append appends the header to dst, in h.Order, with its padding to a multiple
// of 8: the body follows directly. Alignment counts from len(dst). Fields that
// are zero are left out. Append judges nothing: what h says is what is written,
// and it is for the caller to have it from [Header.Parse] or to fill it with
// valid values ([Header.Check]).
func (h *Header) Append(dst []byte) []byte {
	start := len(dst)
	o := h.Order
	dst = append(dst, byte(o), byte(h.Type), byte(h.Flags), protocolVersion)
	dst = o.AppendUint32(dst, h.BodySize)
	dst = o.AppendUint32(dst, h.Serial)
	dst = o.AppendUint32(dst, 0) // size of the fields, see below
	dst = appendField(dst, start, o, fieldPath, 'o', h.Path)
	dst = appendField(dst, start, o, fieldInterface, 's', h.Interface)
	dst = appendField(dst, start, o, fieldMember, 's', h.Member)
	dst = appendField(dst, start, o, fieldErrorName, 's', h.ErrorName)
	dst = appendNumber(dst, start, o, fieldReplySerial, h.ReplySerial)
	dst = appendField(dst, start, o, fieldDestination, 's', h.Destination)
	dst = appendField(dst, start, o, fieldSender, 's', h.Sender)
	if h.Signature != "" {
		dst = pad8(dst, start)
		dst = append(dst, fieldSignature, 1, 'g', 0, byte(len(h.Signature)))
		dst = append(dst, h.Signature...)
		dst = append(dst, 0)
	}
	dst = appendNumber(dst, start, o, fieldUnixFDs, h.UnixFDs)
	o.PutUint32(dst[start+12:], uint32(len(dst)-start-HeaderFixedSize))
	return pad8(dst, start)
}

func appendField(dst []byte, start int, o Order, code, typ byte, s string) []byte {
	if s == "" {
		return dst
	}
	dst = pad8(dst, start)
	dst = append(dst, code, 1, typ, 0)
	dst = o.AppendUint32(dst, uint32(len(s)))
	dst = append(dst, s...)
	return append(dst, 0)
}

func appendNumber(dst []byte, start int, o Order, code byte, n uint32) []byte {
	if n == 0 {
		return dst
	}
	dst = pad8(dst, start)
	dst = append(dst, code, 1, 'u', 0)
	return o.AppendUint32(dst, n)
}

// pad8 appends zeros until a multiple of 8 bytes lie after start.
func pad8(dst []byte, start int) []byte {
	var zeros [8]byte
	return append(dst, zeros[:-(len(dst)-start)&7]...)
}
