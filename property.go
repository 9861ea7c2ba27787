package kdbus

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/wire"
)

// Property is a property of an exported object: a field of the struct given to [Conn.Export].
//
//	type Player struct {
//		Volume  kdbus.Property[float64] `kdbus:",writable"`
//		Version kdbus.Property[string]  `kdbus:",const"`
//	}
//
// The tag holds the name, that of the field if there is none, and words separated by commas:
//
//	writable     peers may set it; see OnSet
//	const        it does not change while it is exported
//	invalidates  PropertiesChanged says that it has changed, and not its value
//	silent       PropertiesChanged does not mention it
//
// Without the last three, PropertiesChanged tells the new value. Its methods may be called from
// any goroutine. The value handed in and out is not copied: of a slice or map, set another one.
type Property[T any] struct {
	// OnSet judges what a peer sets, and puts it into effect: an error is answered to the peer,
	// and the property keeps its value. Set it before the object is exported.
	OnSet func(ctx context.Context, value T) error

	mu     sync.Mutex
	value  T
	places []*place
}

// Get returns the value.
func (p *Property[T]) Get() T {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value
}

// Set sets the value and tells the peers of all connections it is exported on. The order of
// what they are told is that of the values.
func (p *Property[T]) Set(value T) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, place := range p.places {
		if place.change == changeConst {
			return fmt.Errorf("kdbus: the property %s.%s is constant", place.iface, place.name)
		}
	}
	p.value = value
	for _, place := range p.places {
		if err := place.announce(any(value)); err != nil {
			return err
		}
	}
	return nil
}

func (p *Property[T]) signature() (string, error) { return signatureOfType(reflect.TypeFor[T]()) }

func (p *Property[T]) read() any { return p.Get() }

// write is Set by a peer.
func (p *Property[T]) write(ctx context.Context, v Variant) error {
	sig, err := p.signature()
	if err != nil {
		return err
	}
	if sig != string(v.Signature) && sig != "v" {
		return NewError(ErrInvalidArgs.Name, "the property has the type %q, not %q", sig, v.Signature)
	}
	var value T
	if err := As(v, &value); err != nil {
		return NewError(ErrInvalidArgs.Name, "%v", err)
	}
	if p.OnSet != nil {
		if err := p.OnSet(ctx, value); err != nil {
			return err
		}
	}
	return p.Set(value)
}

func (p *Property[T]) bind(at *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places = append(p.places, at)
}

func (p *Property[T]) unbind(at *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places = slices.DeleteFunc(p.places, func(other *place) bool { return other == at })
}

// field is what a Property is to the object it is a field of.
type field interface {
	signature() (string, error)
	read() any
	write(ctx context.Context, v Variant) error
	bind(*place)
	unbind(*place)
}

// place is where a property is exported, and how.
type place struct {
	field     field
	conn      *Conn
	path      string
	iface     string
	name      string
	signature string
	change    string
	writable  bool
}

// What PropertiesChanged says of a property: values of the annotation
// org.freedesktop.DBus.Property.EmitsChangedSignal.
const (
	changeTold        = "true"
	changeInvalidates = "invalidates"
	changeConst       = "const"
	changeSilent      = "false"
)

// variant returns the value, typed as the property is.
func (p *place) variant() Variant { return p.typed(p.field.read()) }

func (p *place) typed(value any) Variant {
	if v, ok := value.(Variant); ok && p.signature == "v" {
		return v
	}
	return Variant{Signature: Signature(p.signature), Value: value}
}

// announce tells that the value is a new one.
func (p *place) announce(value any) error {
	changed, invalidated := map[string]Variant{}, []string{}
	switch p.change {
	case changeTold:
		changed[p.name] = p.typed(value)
	case changeInvalidates:
		invalidated = append(invalidated, p.name)
	default:
		return nil
	}
	return p.conn.emit(p.conn.ctx, "", ObjectPath(p.path), propertiesInterface+".PropertiesChanged", 0, "sa{sv}as",
		[]any{p.iface, changed, invalidated})
}

// propertiesOf returns the properties of the struct that value points to, if it does.
func propertiesOf(value any) (map[string]*place, error) {
	v := reflect.ValueOf(value)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, nil
	}
	properties := make(map[string]*place)
	for i := range v.Elem().NumField() {
		f := v.Elem().Type().Field(i)
		if !f.IsExported() {
			continue
		}
		field, ok := v.Elem().Field(i).Addr().Interface().(field)
		if !ok {
			continue
		}
		p, err := newPlace(field, f)
		if err != nil {
			return nil, fmt.Errorf("property %s of %T: %w", f.Name, value, err)
		}
		if properties[p.name] != nil {
			return nil, fmt.Errorf("property %s of %T: there is another one of that name", p.name, value)
		}
		properties[p.name] = p
	}
	return properties, nil
}

// newPlace reads the type and the tag of a property.
func newPlace(field field, f reflect.StructField) (*place, error) {
	p := &place{field: field, name: f.Name, change: changeTold}
	var err error
	if p.signature, err = field.signature(); err != nil {
		return nil, err
	}
	for i, word := range strings.Split(f.Tag.Get("kdbus"), ",") {
		switch {
		case i == 0 && word != "":
			p.name = word
		case word == "writable":
			p.writable = true
		case word == "const":
			p.change = changeConst
		case word == "invalidates":
			p.change = changeInvalidates
		case word == "silent":
			p.change = changeSilent
		case word != "":
			return nil, fmt.Errorf("its tag has %q, which is none of writable, const, invalidates and silent", word)
		}
	}
	if p.writable && p.change == changeConst {
		return nil, fmt.Errorf("it cannot be both writable and const")
	}
	return p, wire.CheckMember(p.name)
}
