package kdbus

import (
	"fmt"
	"os"
	"reflect"
	"sync"

	"github.com/kdbus-go/kdbus/wire"
)

// This file makes *os.File values that can be sent: anywhere in an argument, a file becomes an
// index of type UNIX_FD into the descriptors of the message. What contains one is rebuilt around
// the index: structs as []any, the others as what they are.

// fileUse says whether values of a type can contain files.
type fileUse uint8

const (
	noFiles   fileUse = iota
	someFiles         // it depends on the value: there are interfaces or variants in it
	withFiles         // its type has files
)

var fileUses sync.Map // reflect.Type to fileUse

// fileUseOf returns whether values of a type can contain files.
func fileUseOf(t reflect.Type) fileUse {
	if use, ok := fileUses.Load(t); ok {
		return use.(fileUse)
	}
	use := findFiles(t, 0)
	fileUses.Store(t, use)
	return use
}

var variantType = reflect.TypeFor[Variant]()

// findFiles looks for files in a type, inside depth others. What is nested too deeply cannot be
// sent.
func findFiles(t reflect.Type, depth int) (use fileUse) {
	switch {
	case t == fileType:
		return withFiles
	case depth > wire.MaxDepth:
		return noFiles
	case t == variantType:
		return someFiles
	}
	switch t.Kind() {
	case reflect.Interface:
		return someFiles
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return findFiles(t.Elem(), depth+1)
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				use = max(use, findFiles(t.Field(i).Type, depth+1))
			}
		}
	}
	return use
}

// mayHaveFiles reports whether a value may contain files. The usual types need no look.
func mayHaveFiles(v any) bool {
	switch v.(type) {
	case nil, string, bool, byte, int16, uint16, int32, uint32, int64, uint64, float64, []byte, []string, ObjectPath:
		return false
	}
	return fileUseOf(reflect.TypeOf(v)) != noFiles
}

// eachFile calls f with the files in a value.
func eachFile(v reflect.Value, depth int, f func(*os.File)) {
	if !v.IsValid() || depth > wire.MaxDepth || fileUseOf(v.Type()) == noFiles {
		return
	}
	if v.Type() == fileType {
		f(v.Interface().(*os.File))
		return
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			eachFile(v.Elem(), depth+1, f)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			eachFile(v.Index(i), depth+1, f)
		}
	case reflect.Map:
		for i := v.MapRange(); i.Next(); {
			eachFile(i.Value(), depth+1, f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				eachFile(v.Field(i), depth+1, f)
			}
		}
	}
}

// hasFile reports whether there are files in values.
func hasFile(values ...any) (found bool) {
	for _, v := range values {
		if mayHaveFiles(v) {
			eachFile(reflect.ValueOf(v), 0, func(*os.File) { found = true })
		}
	}
	return found
}

// closeFiles closes the files in values.
func closeFiles(values []any) {
	for _, v := range values {
		if mayHaveFiles(v) {
			eachFile(reflect.ValueOf(v), 0, func(f *os.File) {
				if f != nil {
					f.Close()
				}
			})
		}
	}
}

// sentType returns the type that is sent for t: files are indices, and nothing points.
func sentType(t reflect.Type) reflect.Type {
	if t == fileType {
		return reflect.TypeFor[UnixFD]()
	}
	if fileUseOf(t) != withFiles {
		return t
	}
	switch t.Kind() {
	case reflect.Pointer:
		return sentType(t.Elem())
	case reflect.Slice:
		return reflect.SliceOf(sentType(t.Elem()))
	case reflect.Array:
		return reflect.ArrayOf(t.Len(), sentType(t.Elem()))
	case reflect.Map:
		return reflect.MapOf(t.Key(), sentType(t.Elem()))
	}
	var fields []reflect.StructField
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			fields = append(fields, reflect.StructField{Name: f.Name, Type: sentType(f.Type)})
		}
	}
	return reflect.StructOf(fields)
}

// takeFiles returns values with the index of a duplicate in place of each file, and their
// signature.
func (m *outgoing) takeFiles(values []any) (sent []any, signature string, err error) {
	for i, v := range values {
		if v == nil {
			return nil, "", fmt.Errorf("argument %d: it is nil", i)
		}
		sig, err := signatureOfType(reflect.TypeOf(v))
		if err == nil {
			v, err = m.takeValue(reflect.ValueOf(v))
		}
		if err != nil {
			return nil, "", fmt.Errorf("argument %d: %w", i, err)
		}
		sent, signature = append(sent, v), signature+sig
	}
	return sent, signature, nil
}

// takeValue returns a value to be sent in place of v.
func (m *outgoing) takeValue(v reflect.Value) (any, error) {
	if v.Type() == fileType {
		return m.takeFile(v.Interface().(*os.File))
	}
	if v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, fmt.Errorf("a %v is nil", v.Type())
		}
	}
	found := false
	eachFile(v, 0, func(*os.File) { found = true })
	if !found {
		return v.Interface(), nil
	}
	switch {
	case v.Type() == variantType:
		return m.takeVariant(v.Interface().(Variant))
	case v.Kind() == reflect.Interface:
		return m.takeVariant(Variant{Value: v.Interface()})
	case v.Kind() == reflect.Pointer:
		return m.takeValue(v.Elem())
	case v.Kind() == reflect.Map:
		sent := reflect.MakeMapWithSize(reflect.MapOf(v.Type().Key(), reflect.TypeFor[any]()), v.Len())
		for i := v.MapRange(); i.Next(); {
			value, err := m.takeValue(i.Value())
			if err != nil {
				return nil, fmt.Errorf("entry %v: %w", i.Key(), err)
			}
			sent.SetMapIndex(i.Key(), reflect.ValueOf(value))
		}
		return sent.Interface(), nil
	}
	var sent []any
	for i := range length(v) {
		if v.Kind() == reflect.Struct && !v.Type().Field(i).IsExported() {
			continue
		}
		value, err := m.takeValue(element(v, i))
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		sent = append(sent, value)
	}
	return sent, nil
}

// length and element are of slices, arrays and structs.
func length(v reflect.Value) int {
	if v.Kind() == reflect.Struct {
		return v.NumField()
	}
	return v.Len()
}

func element(v reflect.Value, i int) reflect.Value {
	if v.Kind() == reflect.Struct {
		return v.Field(i)
	}
	return v.Index(i)
}

// takeVariant returns a variant that says what type its value had.
func (m *outgoing) takeVariant(v Variant) (any, error) {
	if v.Signature == "" {
		sig, err := signatureOfType(reflect.TypeOf(v.Value))
		if err != nil {
			return nil, err
		}
		v.Signature = Signature(sig)
	}
	value, err := m.takeValue(reflect.ValueOf(v.Value))
	return Variant{Signature: v.Signature, Value: value}, err
}

// takeFile returns the index of a duplicate of f.
func (m *outgoing) takeFile(f *os.File) (UnixFD, error) {
	if f == nil {
		return 0, fmt.Errorf("the file is nil")
	}
	fd, err := duplicate(f)
	if err != nil {
		return 0, fmt.Errorf("duplicate the descriptor of %s: %w", f.Name(), err)
	}
	m.fds = append(m.fds, fd)
	return UnixFD(len(m.fds) - 1), nil
}
