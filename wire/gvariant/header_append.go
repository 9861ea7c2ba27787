package gvariant

import "github.com/kdbus-go/kdbus/wire"

// Append appends the header to dst, in h.Order, with its padding to a multiple of
// 8: the body follows directly, and then [Header.AppendFooter]. Alignment counts
// from len(dst). Fields that are zero are left out. Append judges nothing: what h
// says is what is written, and it is for the caller to have it from [Header.Parse]
// or to fill it with valid values ([Header.Check]).
func (h *Header) Append(dst []byte) []byte {
	start := len(dst)
	o := h.Order
	dst = append(dst, byte(o), byte(h.Type), byte(h.Flags), protocolVersion, 0, 0, 0, 0)
	dst = o.AppendUint64(dst, h.Cookie)

	w := fieldWriter{dst: dst, begin: len(dst), order: o}
	w.text(fieldPath, h.Path)
	w.text(fieldInterface, h.Interface)
	w.text(fieldMember, h.Member)
	w.text(fieldErrorName, h.ErrorName)
	if h.ReplyCookie != 0 {
		w.open(fieldReplyCookie)
		w.dst = o.AppendUint64(w.dst, h.ReplyCookie)
		w.close('t')
	}
	w.text(fieldDestination, h.Destination)
	w.text(fieldSender, h.Sender)
	if h.UnixFDs != 0 {
		w.open(fieldUnixFDs)
		w.dst = o.AppendUint32(w.dst, h.UnixFDs)
		w.close('u')
	}
	return pad(w.finish(), start, 8)
}

// fieldWriter writes the array of fields, a{tv}.
type fieldWriter struct {
	dst   []byte
	begin int // of the array
	order wire.Order
	ends  [len(fieldNames)]int
	count int
}

// open begins a field; its value, which is aligned to 8, follows.
func (w *fieldWriter) open(code uint64) {
	w.dst = pad(w.dst, w.begin, 8)
	w.dst = w.order.AppendUint64(w.dst, code)
}

// close ends a field, the value of which is of the type typ.
func (w *fieldWriter) close(typ byte) {
	w.dst = append(w.dst, 0, typ)
	w.ends[w.count] = len(w.dst) - w.begin
	w.count++
}

func (w *fieldWriter) text(code uint64, s string) {
	if s == "" {
		return
	}
	w.open(code)
	w.dst = append(w.dst, s...)
	w.dst = append(w.dst, 0)
	w.close(fieldTypes[code])
}

// finish ends the array and returns dst.
func (w *fieldWriter) finish() []byte {
	width := writeWidth(len(w.dst)-w.begin, w.count)
	for _, end := range w.ends[:w.count] {
		w.dst = appendOffset(w.dst, width, end)
	}
	return w.dst
}

// fieldsEnd returns where the fields that [Header.Append] writes end, counted from
// the beginning of the message: without the padding after them.
func (h *Header) fieldsEnd() int {
	// The sizes of the values, in the order in which they are written.
	values := [len(fieldNames)]int{
		fieldPath: textSize(h.Path), fieldInterface: textSize(h.Interface), fieldMember: textSize(h.Member),
		fieldErrorName: textSize(h.ErrorName), fieldDestination: textSize(h.Destination), fieldSender: textSize(h.Sender),
	}
	if h.ReplyCookie != 0 {
		values[fieldReplyCookie] = 8
	}
	if h.UnixFDs != 0 {
		values[fieldUnixFDs] = 4
	}
	size, count := 0, 0
	for _, n := range values {
		if n != 0 {
			size = alignUp(size, 8) + 8 + n + 2
			count++
		}
	}
	return HeaderFixedSize + size + count*writeWidth(size, count)
}

// textSize is the size of the serialised string s in a field, which is left out if
// it is empty.
func textSize(s string) int {
	if s == "" {
		return 0
	}
	return len(s) + 1
}

// AppendFooter appends to dst what ends a message: the NUL and the type with which
// its body, a variant, ends, and the framing offset that says where the fields end.
// Before it in the message lie the header, as Append writes it, and bodySize bytes
// of body, which need not be in dst.
func (h *Header) AppendFooter(dst []byte, bodySize int) []byte {
	dst = append(dst, 0, '(')
	dst = append(dst, h.Signature...)
	dst = append(dst, ')')
	end := h.fieldsEnd()
	return appendOffset(dst, writeWidth(alignUp(end, 8)+bodySize+len(h.Signature)+3, 1), end)
}
