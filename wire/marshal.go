package wire

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// AppendBody appends values to dst as the body of a message and returns their
// signature too, which is that of [SignatureOf]. Alignment counts from len(dst).
// What cannot be valid D-Bus is refused: nil, strings that are not UTF-8 or
// contain NUL, bad paths and signatures, what is too deep, too long or has no
// type. After an error, the result is dst.
func AppendBody(dst []byte, order Order, values ...any) ([]byte, Signature, error) {
	sig, err := SignatureOf(values...)
	if err != nil {
		return dst, "", err
	}
	body, err := AppendBodyAs(dst, order, string(sig), values...)
	return body, sig, err
}

// AppendBodyAs is [AppendBody] with a signature given, one complete type for
// each value. It converts where nothing is lost: any integer to one in the
// range of which it is, any string to a path or signature that it is, []any to
// a struct, and any value to a variant.
func AppendBodyAs(dst []byte, order Order, signature string, values ...any) ([]byte, error) {
	var l layout
	if f := l.parse(signature); !f.none() {
		return dst, f.error("signature", signature)
	}
	var e Encoder
	e.Reset(order, dst)
	next := 0
	for i, v := range values {
		if next == len(signature) {
			return dst, valueError(fmt.Sprintf("there are %d values, more than signature %q has types", len(values), signature))
		}
		if !e.argument(&l, next, v) {
			return dst, within(argument(i), e.err)
		}
		next = nextType(signature, next)
	}
	if next != len(signature) {
		return dst, valueError(fmt.Sprintf("there are %d values, fewer than signature %q has types", len(values), signature))
	}
	body, err := e.Body()
	if err != nil {
		return dst, err
	}
	return body, nil
}

func valueError(reason string) error {
	return &Error{What: "value", Offset: -1, Reason: reason}
}

func argument(i int) string { return "argument " + strconv.Itoa(i) }

// within says where in a value the fault is: outer places are added as the
// error is handed up.
func within(place string, err error) error {
	e := err.(*Error)
	if e.What != "value" {
		e.Reason = "invalid " + e.What + ": " + e.Reason
		e.What = "value"
		e.Offset = -1
	}
	e.Reason = place + ": " + e.Reason
	return e
}

// within adds a place to the fault there is. Its result tells callers to unwind.
func (e *Encoder) within(place string) bool {
	e.err = within(place, e.err)
	return false
}

func (e *Encoder) mismatch(sig string, v reflect.Value) bool {
	e.fail("value", v.Type().String()+" cannot be written as "+strconv.Quote(sig))
	return false
}

// argument writes the top-level value v as the type at l.sig[i]. It and the
// methods below return false if there is a fault.
func (e *Encoder) argument(l *layout, i int, v any) bool {
	c := l.sig[i]
	// The usual types need no reflection.
	switch v := v.(type) {
	case string:
		if c == 's' {
			e.String(v)
			return e.err == nil
		}
	case uint32:
		if c == 'u' {
			e.Uint32(v)
			return true
		}
	case bool:
		if c == 'b' {
			e.Bool(v)
			return true
		}
	case []string:
		if c == 'a' && l.sig[i+1] == 's' {
			e.Strings(v)
			return e.err == nil
		}
	case nil:
		e.fail("value", "it is nil")
		return false
	}
	return e.value(l, i, 0, reflect.ValueOf(v))
}

// value writes v as the type at l.sig[i], inside depth containers.
func (e *Encoder) value(l *layout, i, depth int, v reflect.Value) bool {
	c := l.sig[i]
	if c == 'v' {
		return e.variant(depth+1, v)
	}
	// A pointer to itself has no end.
	for range MaxDepth {
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
			break
		}
		if v.IsNil() {
			e.fail("value", "it is nil")
			return false
		}
		v = v.Elem()
	}
	switch c {
	case 'a':
		if depth++; !e.enter(depth) {
			return false
		}
		if l.sig[i+1] == '{' {
			return e.dict(l, i+1, depth, v)
		}
		return e.array(l, i+1, depth, v)
	case '(':
		if depth++; !e.enter(depth) {
			return false
		}
		return e.structure(l, i, depth, v)
	}
	return e.basic(c, v)
}

func (e *Encoder) enter(depth int) bool {
	if depth > MaxDepth {
		e.fail("value", "more than 64 containers are nested, or the value contains itself")
	}
	return e.err == nil
}

// basic writes v as the basic type c.
func (e *Encoder) basic(c byte, v reflect.Value) bool {
	if (c == 'h') != (v.Type() == unixFDType) {
		return e.mismatch(string(rune(c)), v)
	}
	switch {
	case c == 'b' && v.Kind() == reflect.Bool:
		e.Bool(v.Bool())
	case c == 'd' && v.CanFloat():
		e.Double(v.Float())
	case c == 's' && v.Kind() == reflect.String:
		e.String(v.String())
	case c == 'o' && v.Kind() == reflect.String:
		e.ObjectPath(ObjectPath(v.String()))
	case c == 'g' && v.Kind() == reflect.String:
		e.Signature(Signature(v.String()))
	case c == 'd' || stringLike(c) || c == 'b' || !v.CanInt() && !v.CanUint():
		return e.mismatch(string(rune(c)), v)
	default:
		return e.integer(c, v)
	}
	return e.err == nil
}

// integer writes the integer v as the integer type c, if it is in its range.
func (e *Encoder) integer(c byte, v reflect.Value) bool {
	var bits uint64
	bitSize := 8 * uint(typeSize[c])
	signed := c == 'n' || c == 'i' || c == 'x'
	var fits bool
	if v.CanInt() {
		n := v.Int()
		bits = uint64(n)
		if signed {
			fits = n>>(bitSize-1) == n>>63
		} else {
			fits = n >= 0 && bits>>(bitSize-1)>>1 == 0
		}
	} else {
		bits = v.Uint()
		if signed {
			fits = bits>>(bitSize-1) == 0
		} else {
			fits = bits>>(bitSize-1)>>1 == 0
		}
	}
	if !fits {
		e.fail("value", fmt.Sprintf("%v is out of the range of type %q", v, c))
		return false
	}
	switch bitSize {
	case 8:
		e.Byte(byte(bits))
	case 16:
		e.Uint16(uint16(bits))
	case 32:
		e.Uint32(uint32(bits))
	default:
		e.Uint64(bits)
	}
	return true
}

// variant writes v as a variant, the depth-th container.
func (e *Encoder) variant(depth int, v reflect.Value) bool {
	if !e.enter(depth) {
		return false
	}
	// An interface around a Variant is no further variant.
	for range MaxDepth {
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface || v.IsNil() {
			break
		}
		v = v.Elem()
	}
	var sig Signature
	if v.Type() == variantType {
		given := v.Interface().(Variant)
		sig, v = given.Signature, reflect.ValueOf(given.Value)
	}
	if !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil() {
		e.fail("value", "a variant holds nil")
		return false
	}
	if sig == "" {
		s, err := typeSignature(v.Type(), 0)
		if err != nil {
			e.err = err
			return false
		}
		sig = Signature(s)
	}
	if e.Variant(sig); e.err != nil {
		return false
	}
	var l layout
	l.parse(string(sig))
	return e.value(&l, 0, depth, v)
}

// array writes v as an array of the type at l.sig[i].
func (e *Encoder) array(l *layout, i, depth int, v reflect.Value) bool {
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return e.mismatch(l.sig[i-1:l.end[i-1]], v)
	}
	if l.sig[i] == 'y' && v.Type().Elem().Kind() == reflect.Uint8 && (v.Kind() == reflect.Slice || v.CanAddr()) {
		e.Bytes(v.Bytes())
		return e.err == nil
	}
	a := e.OpenArray(l.sig[i])
	for n := range v.Len() {
		if !e.value(l, i, depth, v.Index(n)) {
			return e.within("element " + strconv.Itoa(n))
		}
	}
	e.CloseArray(a)
	return e.err == nil
}

// dict writes v as an array of the dict entry type at l.sig[i], in the order of
// the keys, so that the same map always gives the same bytes.
func (e *Encoder) dict(l *layout, i, depth int, v reflect.Value) bool {
	if v.Kind() != reflect.Map {
		return e.mismatch(l.sig[i-1:l.end[i-1]], v)
	}
	if v.Len() != 0 && !e.enter(depth+1) {
		return false
	}
	type entry struct{ key, value reflect.Value }
	entries := make([]entry, 0, v.Len())
	for r := v.MapRange(); r.Next(); {
		entries = append(entries, entry{r.Key(), r.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return compareKeys(a.key, b.key) })
	a := e.OpenArray('{')
	for _, entry := range entries {
		e.AlignStruct()
		if !e.value(l, i+1, depth+1, entry.key) {
			return e.within(fmt.Sprintf("key %v", entry.key))
		}
		if !e.value(l, i+2, depth+1, entry.value) {
			return e.within(fmt.Sprintf("entry %v", entry.key))
		}
	}
	e.CloseArray(a)
	return e.err == nil
}

// compareKeys orders keys of the same basic type.
func compareKeys(a, b reflect.Value) int {
	switch {
	case a.Kind() == reflect.String:
		return cmp.Compare(a.String(), b.String())
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	case a.CanFloat():
		return cmp.Compare(a.Float(), b.Float())
	case a.Kind() == reflect.Bool && a.Bool() != b.Bool():
		if b.Bool() {
			return -1
		}
		return 1
	}
	return 0
}

// structure writes v, a struct or []any, as the struct type at l.sig[i].
func (e *Encoder) structure(l *layout, i, depth int, v reflect.Value) bool {
	begin := i
	mismatch := func() bool { return e.mismatch(l.sig[begin:nextType(l.sig, begin)], v) }
	e.AlignStruct()
	i++
	write := func(name string, field reflect.Value) bool {
		if l.sig[i] == ')' {
			return mismatch()
		}
		if !e.value(l, i, depth, field) {
			return e.within("field " + name)
		}
		i = nextType(l.sig, i)
		return true
	}
	switch {
	case v.Kind() == reflect.Struct:
		for f := range exportedFields(v.Type()) {
			if !write(v.Type().Field(f).Name, v.Field(f)) {
				return false
			}
		}
	case v.Type() == structType:
		for f := range v.Len() {
			if !write(strconv.Itoa(f), v.Index(f)) {
				return false
			}
		}
	default:
		return mismatch()
	}
	if l.sig[i] != ')' {
		return mismatch()
	}
	return true
}
