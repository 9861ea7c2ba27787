package wire

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Values returns the values of a body, which is validated first: basic types as
// the package comment lists them, []T for an array, map[K]T for an array of
// dict entries (the last one counts if a key occurs twice), []any for a struct
// and [Variant]. An array inside three others is held in an any, so that a
// sender cannot make the program construct any number of Go types, which are
// never collected. Nothing in the result is part of the body.
func Values(order Order, signature string, body []byte) ([]any, error) {
	if err := ValidateBody(order, signature, body); err != nil {
		return nil, err
	}
	d := decoder{reader: reader{order: order, data: body}}
	return d.fields(signature), nil
}

// Decode stores the values of a body in what dst point to, one pointer for each
// value, and converts where nothing can be lost: integers to wider ones, paths
// and signatures to string, anything to any (as in [Values]). Slices and maps
// are made new, nil pointers on the way are filled; nothing stored is part of
// the body. The body is validated, and the Go types are compared with the
// signature, before anything is stored; the only later error is a Go array of
// another length than the value's.
func Decode(order Order, signature string, body []byte, dst ...any) error {
	if err := ValidateBody(order, signature, body); err != nil {
		return err
	}
	next := 0
	for i, p := range dst {
		t := reflect.TypeOf(p)
		if t == nil || t.Kind() != reflect.Pointer || reflect.ValueOf(p).IsNil() {
			return within(argument(i), valueError(fmt.Sprintf("%T is not a pointer to store to", p)))
		}
		if next == len(signature) {
			return valueError(fmt.Sprintf("signature %q has fewer types than the %d asked for", signature, len(dst)))
		}
		if err := checkStorable(signature, next, t.Elem(), 0); err != nil {
			return within(argument(i), err)
		}
		next = nextType(signature, next)
	}
	if next != len(signature) {
		return valueError(fmt.Sprintf("signature %q has more types than the %d asked for", signature, len(dst)))
	}
	d := decoder{reader: reader{order: order, data: body}}
	next = 0
	for i, p := range dst {
		if d.value(signature, next, reflect.ValueOf(p).Elem()); d.err != nil {
			return within(argument(i), d.err)
		}
		next = nextType(signature, next)
	}
	return nil
}

// checkStorable reports why values of the type at sig[i] cannot be stored in
// the Go type t, which is inside depth others.
func checkStorable(sig string, i int, t reflect.Type, depth int) error {
	c := sig[i]
	ok := false
	switch {
	case depth > 2*MaxDepth:
		return valueError("the Go type is nested too deeply")
	case t.Kind() == reflect.Pointer:
		return checkStorable(sig, i, t.Elem(), depth+1)
	case t.Kind() == reflect.Interface:
		ok = t.NumMethod() == 0
	case c == 'v':
		ok = t == variantType
	case c == 'a' && sig[i+1] == '{':
		if t.Kind() == reflect.Map {
			if err := checkStorable(sig, i+2, t.Key(), depth+1); err != nil {
				return within("key", err)
			}
			return checkStorable(sig, i+3, t.Elem(), depth+1)
		}
	case c == 'a':
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			return checkStorable(sig, i+1, t.Elem(), depth+1)
		}
	case c == '(':
		return checkStorableStruct(sig, i, t, depth)
	default:
		ok = basicStorable(c, t)
	}
	if !ok {
		return valueError(fmt.Sprintf("%q cannot be stored in %v", sig[i:nextType(sig, i)], t))
	}
	return nil
}

func checkStorableStruct(sig string, i int, t reflect.Type, depth int) error {
	mismatch := valueError(fmt.Sprintf("%q cannot be stored in %v", sig[i:nextType(sig, i)], t))
	if t == structType {
		return nil
	}
	if t.Kind() != reflect.Struct || t == variantType {
		return mismatch
	}
	i++
	for f := range exportedFields(t) {
		if sig[i] == ')' {
			return mismatch
		}
		if err := checkStorable(sig, i, t.Field(f).Type, depth+1); err != nil {
			return within("field "+t.Field(f).Name, err)
		}
		i = nextType(sig, i)
	}
	if sig[i] != ')' {
		return mismatch
	}
	return nil
}

// basicStorable reports whether every value of the basic type c fits t.
func basicStorable(c byte, t reflect.Type) bool {
	switch t {
	case objectPathType:
		return c == 'o'
	case signatureType:
		return c == 'g'
	case unixFDType:
		return c == 'h'
	}
	switch kind := t.Kind(); {
	case stringLike(c):
		return kind == reflect.String
	case c == 'h':
		return false
	case c == 'b':
		return kind == reflect.Bool
	case c == 'd':
		return kind == reflect.Float64
	case kind >= reflect.Int && kind <= reflect.Int64:
		return t.Size() > uintptr(typeSize[c]) || strings.IndexByte("nix", c) >= 0 && t.Size() == uintptr(typeSize[c])
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		return strings.IndexByte("yqut", c) >= 0 && t.Size() >= uintptr(typeSize[c])
	}
	return false
}

// decoder makes Go values of a valid body.
type decoder struct {
	reader
	err error
}

// value stores the value of the type at sig[i], for which dst is good.
func (d *decoder) value(sig string, i int, dst reflect.Value) {
	for dst.Kind() == reflect.Pointer {
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		dst = dst.Elem()
	}
	c := sig[i]
	switch {
	case dst.Kind() == reflect.Interface:
		dst.Set(reflect.ValueOf(d.any(sig, i)))
	case c == 'v':
		dst.Set(reflect.ValueOf(d.variant()))
	case c == 'a' && dst.Kind() == reflect.Map:
		d.dict(sig, i+1, dst)
	case c == 'a' && dst.Kind() == reflect.Slice:
		d.slice(sig, i+1, dst)
	case c == 'a':
		d.array(sig, i+1, dst)
	case c == '(' && dst.Kind() == reflect.Struct:
		d.take(8, 0)
		i++
		for f := range exportedFields(dst.Type()) {
			d.value(sig, i, dst.Field(f))
			i = nextType(sig, i)
		}
	case c == '(':
		dst.Set(reflect.ValueOf(d.structure(sig, i)))
	default:
		d.store(d.basic(c), dst)
	}
}

// store stores v in dst, for which it is good.
func (d *decoder) store(v Basic, dst reflect.Value) {
	switch {
	case stringLike(v.Type):
		dst.SetString(strings.Clone(v.text))
	case v.Type == 'b':
		dst.SetBool(v.Bool())
	case v.Type == 'd':
		dst.SetFloat(v.Double())
	case dst.CanInt():
		dst.SetInt(v.Int())
	default:
		dst.SetUint(v.Uint())
	}
}

func (d *decoder) slice(sig string, i int, dst reflect.Value) {
	end := d.reader.array(sig[i])
	t := dst.Type()
	if size := int(typeSize[sig[i]]); size != 0 {
		n := (end - d.pos) / size
		dst.Set(reflect.MakeSlice(t, n, n))
		if sig[i] == 'y' && t.Elem().Kind() == reflect.Uint8 {
			copy(dst.Bytes(), d.data[d.pos:end])
			d.pos = end
			return
		}
	} else {
		dst.Set(reflect.MakeSlice(t, 0, 0))
	}
	for n := 0; d.pos < end && d.err == nil; n++ {
		if n == dst.Len() {
			if n == dst.Cap() {
				dst.Grow(1)
			}
			dst.SetLen(n + 1)
		}
		d.value(sig, i, dst.Index(n))
	}
}

// array stores an array in a Go array.
func (d *decoder) array(sig string, i int, dst reflect.Value) {
	end := d.reader.array(sig[i])
	n := 0
	for ; d.pos < end && n < dst.Len(); n++ {
		d.value(sig, i, dst.Index(n))
	}
	if d.err == nil && (d.pos < end || n < dst.Len()) {
		d.err = valueError("the array does not have the " + strconv.Itoa(dst.Len()) + " elements of " + dst.Type().String())
	}
}

func (d *decoder) dict(sig string, i int, dst reflect.Value) {
	end := d.reader.array('{')
	t := dst.Type()
	dst.Set(reflect.MakeMap(t))
	for d.pos < end && d.err == nil {
		d.take(8, 0)
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		d.value(sig, i+1, key)
		d.value(sig, i+2, value)
		dst.SetMapIndex(key, value)
	}
}

// any returns the value of the type at sig[i].
func (d *decoder) any(sig string, i int) any {
	switch c := sig[i]; c {
	case 'y':
		return byte(d.basic(c).bits)
	case 'b':
		return d.basic(c).Bool()
	case 'n':
		return int16(d.basic(c).bits)
	case 'q':
		return uint16(d.basic(c).bits)
	case 'i':
		return int32(d.basic(c).bits)
	case 'u':
		return uint32(d.basic(c).bits)
	case 'x':
		return int64(d.basic(c).bits)
	case 't':
		return d.basic(c).bits
	case 'd':
		return d.basic(c).Double()
	case 'h':
		return UnixFD(d.basic(c).bits)
	case 's':
		return strings.Clone(d.basic(c).text)
	case 'o':
		return ObjectPath(strings.Clone(d.basic(c).text))
	case 'g':
		return Signature(strings.Clone(d.basic(c).text))
	case 'v':
		return d.variant()
	case '(':
		return d.structure(sig, i)
	}
	v := reflect.New(goType(sig, i, 0)).Elem()
	d.value(sig, i, v)
	return v.Interface()
}

func (d *decoder) variant() Variant {
	sig := strings.Clone(d.signature())
	return Variant{Signature(sig), d.any(sig, 0)}
}

func (d *decoder) structure(sig string, i int) []any {
	d.take(8, 0)
	return d.fields(sig[i+1 : nextType(sig, i)-1])
}

// fields returns one value for each type in sig.
func (d *decoder) fields(sig string) []any {
	values := make([]any, 0, min(len(sig), 8))
	for i := 0; i < len(sig); i = nextType(sig, i) {
		values = append(values, d.any(sig, i))
	}
	return values
}

// goType returns the Go type for the type at sig[i], inside level arrays.
func goType(sig string, i, level int) reflect.Type {
	switch c := sig[i]; {
	case c == 'v':
		return variantType
	case c == '(':
		return structType
	case c == 'a' && level == 3:
		return anyType
	case c == 'a' && sig[i+1] == '{':
		return reflect.MapOf(basicGoTypes[sig[i+2]], goType(sig, i+3, level+1))
	case c == 'a':
		return reflect.SliceOf(goType(sig, i+1, level+1))
	default:
		return basicGoTypes[c]
	}
}
