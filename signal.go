package kdbus

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/wire"
)

// Signal is a signal of an exported object: a field of the struct given to [Conn.Export]. T is
// the type of its argument; the fields of a struct are several arguments, and struct{} is none.
// The tag `kdbus:"Name"` gives it another name than that of the field, and names arguments
// likewise. [Conn.Emit] emits signals too; those declared so are part of the introspection data.
type Signal[T any] struct {
	mu     sync.Mutex
	places []*emitter
}

// Emit broadcasts the signal wherever it is exported.
func (s *Signal[T]) Emit(value T) error {
	s.mu.Lock()
	places := slices.Clone(s.places)
	s.mu.Unlock()
	var args []any
	if t := reflect.TypeFor[T](); isArguments(t) {
		v := reflect.ValueOf(value)
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				args = append(args, v.Field(i).Interface())
			}
		}
	} else {
		args = []any{value}
	}
	for _, p := range places {
		if err := p.conn.emit(p.conn.ctx, "", p.path, p.iface+"."+p.name, 0, p.signature, args); err != nil {
			return err
		}
	}
	return nil
}

// isArguments reports whether the fields of a type are the arguments of a signal.
func isArguments(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[Variant]()
}

func (s *Signal[T]) emitter() (*emitter, error) {
	t := reflect.TypeFor[T]()
	e := &emitter{field: s}
	if !isArguments(t) {
		sig, err := signatureOfType(t)
		e.signature = sig
		return e, err
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		sig, err := signatureOfType(f.Type)
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", f.Name, err)
		}
		e.signature += sig
		name := f.Tag.Get("kdbus")
		if name == "" {
			name = strings.ToLower(f.Name[:1]) + f.Name[1:]
		}
		e.args = append(e.args, name)
	}
	return e, nil
}

func (s *Signal[T]) bind(at *emitter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places = append(s.places, at)
}

func (s *Signal[T]) unbind(at *emitter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places = slices.DeleteFunc(s.places, func(other *emitter) bool { return other == at })
}

// signalField is what a Signal is to the object it is a field of.
type signalField interface {
	emitter() (*emitter, error)
	bind(*emitter)
	unbind(*emitter)
}

// emitter is where a signal is exported.
type emitter struct {
	field     signalField
	conn      *Conn
	path      ObjectPath
	iface     string
	name      string
	signature string
	args      []string // names of arguments, if they have some
}

// signalsOf returns the signals of the struct that value points to, if it does.
func signalsOf(value any) (map[string]*emitter, error) {
	v := reflect.ValueOf(value)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, nil
	}
	signals := make(map[string]*emitter)
	for i := range v.Elem().NumField() {
		f := v.Elem().Type().Field(i)
		if !f.IsExported() {
			continue
		}
		field, ok := v.Elem().Field(i).Addr().Interface().(signalField)
		if !ok {
			continue
		}
		e, err := field.emitter()
		if err == nil {
			if e.name = f.Tag.Get("kdbus"); e.name == "" {
				e.name = f.Name
			}
			err = wire.CheckMember(e.name)
		}
		if err != nil {
			return nil, fmt.Errorf("signal %s of %T: %w", f.Name, value, err)
		}
		signals[e.name] = e
	}
	return signals, nil
}
