package kdbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/kdbus-go/kdbus/wire"
)

// method is a method of an exported interface.
type method struct {
	name    string
	in, out string
	// keepsMessage: the message called with is given to the program, and may be kept by it.
	keepsMessage bool
	// invoke calls it. Files among the results are the caller's to close.
	invoke func(ctx context.Context, c *Conn, m *Message) ([]any, error)
}

var (
	contextType = reflect.TypeFor[context.Context]()
	messageType = reflect.TypeFor[*Message]()
	errorType   = reflect.TypeFor[error]()
	fileType    = reflect.TypeFor[*os.File]()
)

// signatureOfType returns the D-Bus type of values of a Go type.
func signatureOfType(t reflect.Type) (string, error) {
	if t.Kind() == reflect.Interface && t.NumMethod() == 0 {
		return "v", nil
	}
	sig, err := wire.SignatureOf(reflect.New(sentType(t)).Interface())
	return string(sig), err
}

// methodsOf returns the methods of value that can be called by D-Bus: the exported ones whose
// last result is an error. It is an error if one of those has other types than D-Bus.
func methodsOf(value any) (map[string]*method, error) {
	methods := make(map[string]*method)
	v := reflect.ValueOf(value)
	t := v.Type()
	for i := range t.NumMethod() {
		f := t.Method(i)
		if n := f.Type.NumOut(); n == 0 || f.Type.Out(n-1) != errorType || f.Type.IsVariadic() {
			continue
		}
		m, err := reflectMethod(v, f)
		if err != nil {
			return nil, fmt.Errorf("method %s of %v: %w", f.Name, t, err)
		}
		methods[m.name] = m
	}
	return methods, nil
}

// goMethod is a Go method to be called with the values of a message.
type goMethod struct {
	f        reflect.Value // takes the receiver as its first parameter
	receiver reflect.Value
	leading  []reflect.Type // context.Context and *Message, as far as they are taken
	in       []reflect.Type
	files    bool // some of in are *os.File
	results  int  // without the error
	sig      string
}

func reflectMethod(receiver reflect.Value, f reflect.Method) (*method, error) {
	g := &goMethod{f: f.Func, receiver: receiver, results: f.Type.NumOut() - 1}
	m := &method{name: f.Name, invoke: g.invoke}
	for i := 1; i < f.Type.NumIn(); i++ {
		t := f.Type.In(i)
		if len(g.in) == 0 && (t == contextType || t == messageType) && !slices.Contains(g.leading, t) {
			g.leading = append(g.leading, t)
			m.keepsMessage = m.keepsMessage || t == messageType
			continue
		}
		sig, err := signatureOfType(t)
		if err == nil && t != fileType && fileUseOf(t) == withFiles {
			err = errors.New("files within others can be sent, but not received: take a UnixFD, an index into Message.Files")
		}
		if err != nil {
			return nil, fmt.Errorf("parameter %d is a %v: %w", i, t, err)
		}
		g.in = append(g.in, t)
		g.files = g.files || t == fileType
		m.in += sig
	}
	for i := range g.results {
		sig, err := signatureOfType(f.Type.Out(i))
		if err != nil {
			return nil, fmt.Errorf("result %d is a %v: %w", i, f.Type.Out(i), err)
		}
		m.out += sig
	}
	g.sig = m.in
	return m, nil
}

func (g *goMethod) invoke(ctx context.Context, c *Conn, m *Message) ([]any, error) {
	if m.header.Signature != g.sig {
		return nil, NewError(ErrInvalidArgs.Name, "the method %s takes arguments of signature %q, not %q",
			m.header.Member, g.sig, m.header.Signature)
	}
	args := make([]reflect.Value, 0, 4)
	args = append(args, g.receiver)
	for _, t := range g.leading {
		if t == contextType {
			args = append(args, reflect.ValueOf(ctx))
		} else {
			args = append(args, reflect.ValueOf(m))
		}
	}
	if len(g.in) > 0 {
		first := len(args)
		dst := make([]any, len(g.in))
		for i, t := range g.in {
			p := reflect.New(t)
			dst[i] = p.Interface()
			args = append(args, p.Elem())
		}
		if err := m.Decode(dst...); err != nil {
			return nil, NewError(ErrInvalidArgs.Name, "%v", err)
		}
		if len(m.files) > 0 && !slices.Contains(g.leading, messageType) {
			closeOthers(m, args[first:])
		}
	}
	results := g.f.Call(args)
	if err, _ := results[g.results].Interface().(error); err != nil {
		return nil, err
	}
	if g.results == 0 {
		return nil, nil
	}
	values := make([]any, g.results)
	for i := range values {
		values[i] = results[i].Interface()
	}
	return values, nil
}

// closeOthers closes the files of m that are not among args.
func closeOthers(m *Message, args []reflect.Value) {
	for _, f := range m.files {
		if !slices.ContainsFunc(args, func(a reflect.Value) bool { return a.Interface() == any(f) }) {
			f.Close()
		}
	}
	m.files = nil
}
