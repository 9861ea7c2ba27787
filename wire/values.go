package wire

import (
	"reflect"
	"strings"
)

// ObjectPath is a value of type OBJECT_PATH.
type ObjectPath string

// Signature is a value of type SIGNATURE: any number of complete types.
type Signature string

// UnixFD is a value of type UNIX_FD: an index into the file descriptors that
// come with the message, not a descriptor.
type UnixFD uint32

// Variant is a value together with its type.
//
// To be written, Value is anything that can be written as Signature; if
// Signature is empty, it is that of the value, see [SignatureOf]. When read,
// Value is what [Values] makes of it.
type Variant struct {
	Signature Signature
	Value     any
}

var (
	variantType    = reflect.TypeFor[Variant]()
	objectPathType = reflect.TypeFor[ObjectPath]()
	signatureType  = reflect.TypeFor[Signature]()
	unixFDType     = reflect.TypeFor[UnixFD]()
	anyType        = reflect.TypeFor[any]()
	structType     = reflect.TypeFor[[]any]()
)

// basicGoTypes are the Go types of the basic types.
var basicGoTypes = [256]reflect.Type{
	'y': reflect.TypeFor[byte](), 'b': reflect.TypeFor[bool](), 'd': reflect.TypeFor[float64](),
	'n': reflect.TypeFor[int16](), 'i': reflect.TypeFor[int32](), 'x': reflect.TypeFor[int64](),
	'q': reflect.TypeFor[uint16](), 'u': reflect.TypeFor[uint32](), 't': reflect.TypeFor[uint64](),
	's': reflect.TypeFor[string](), 'o': objectPathType, 'g': signatureType, 'h': unixFDType,
}

// basicKinds are the codes of the Go kinds that correspond to one basic type.
var basicKinds = map[reflect.Kind]string{
	reflect.Uint8: "y", reflect.Bool: "b", reflect.Float64: "d", reflect.String: "s",
	reflect.Int16: "n", reflect.Int32: "i", reflect.Int64: "x",
	reflect.Uint16: "q", reflect.Uint32: "u", reflect.Uint64: "t",
}

// SignatureOf returns the signature of values, each of which is one complete
// type as the package comment lists them. It looks at types only: a value in
// an interface is a variant, and so []any is an array of variants. Pointers
// stand for what they point to. Of structs, the exported fields count.
//
// There is no type for int and uint, the size of which D-Bus could not know;
// write them with [AppendBodyAs].
func SignatureOf(values ...any) (Signature, error) {
	var b strings.Builder
	for i, v := range values {
		if v == nil {
			return "", within(argument(i), valueError("nil has no type"))
		}
		sig, err := typeSignature(reflect.TypeOf(v), 0)
		if err != nil {
			return "", within(argument(i), err)
		}
		b.WriteString(sig)
	}
	sig := b.String()
	return Signature(sig), CheckSignature(sig)
}

// typeSignature returns the signature of the Go type t, inside depth others.
func typeSignature(t reflect.Type, depth int) (string, error) {
	if depth > MaxDepth {
		return "", valueError("the Go type contains itself or is nested too deeply")
	}
	switch t {
	case variantType:
		return "v", nil
	case objectPathType:
		return "o", nil
	case signatureType:
		return "g", nil
	case unixFDType:
		return "h", nil
	}
	if code := basicKinds[t.Kind()]; code != "" {
		return code, nil
	}
	switch t.Kind() {
	case reflect.Interface:
		return "v", nil
	case reflect.Pointer:
		return typeSignature(t.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		element, err := typeSignature(t.Elem(), depth+1)
		return "a" + element, err
	case reflect.Map:
		key, err := typeSignature(t.Key(), depth+1)
		if err != nil {
			return "", err
		}
		if len(key) != 1 || !basic(key[0]) {
			return "", valueError("the keys of " + t.String() + " are not of a basic type")
		}
		value, err := typeSignature(t.Elem(), depth+1)
		return "a{" + key + value + "}", err
	case reflect.Struct:
		return structSignature(t, depth)
	case reflect.Int, reflect.Uint:
		return "", valueError("the size of " + t.String() + " is not fixed; use " + t.Kind().String() + "32 or " + t.Kind().String() + "64")
	}
	return "", valueError("there is no D-Bus type for " + t.String())
}

func structSignature(t reflect.Type, depth int) (string, error) {
	sig := "("
	for f := range exportedFields(t) {
		field, err := typeSignature(t.Field(f).Type, depth+1)
		if err != nil {
			return "", within("field "+t.Field(f).Name, err)
		}
		if sig += field; len(sig) > MaxSignatureLength {
			return "", valueError("the signature of " + t.String() + " is longer than 255 bytes")
		}
	}
	if sig == "(" {
		return "", valueError(t.String() + " has no exported fields")
	}
	return sig + ")", nil
}

// exportedFields yields the indices of the exported fields of the struct type t.
func exportedFields(t reflect.Type) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := range t.NumField() {
			if t.Field(i).IsExported() && !yield(i) {
				return
			}
		}
	}
}
