package kdbus

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kdbus-go/kdbus/wire"
)

// objects is the tree of objects a connection exports.
type objects struct {
	mu     sync.RWMutex
	byPath map[string]*object
}

// object is what is exported at one path.
type object struct {
	interfaces map[string]*exported
	manager    bool // it has ObjectManager
}

// exported is one interface of an object.
type exported struct {
	methods    map[string]*method
	properties map[string]*place
	signals    map[string]*emitter
}

// Export makes value the implementation of an interface at a path, so that peers can call it:
//
//   - Its methods are the exported Go methods whose last result is an error. The first
//     parameters may be a [context.Context], which ends with the connection, and a [*Message],
//     the call; the others are the arguments, and the results before the error the answer. An
//     [*Error] is answered as it is, any other error as org.freedesktop.DBus.Error.Failed. Files
//     given to a method are the method's to close; those it returns, also within other values,
//     are closed when sent.
//   - Its properties are the fields of type [Property], its signals those of type [Signal], if
//     value points to a struct.
//
// The interfaces Peer, Introspectable and Properties come by themselves, see also
// [Conn.ExportManager]. Methods run in goroutines of their own, several at a time; see [Dialer].
// Export objects first and request the name then: who sees the name finds the objects.
func (c *Conn) Export(path ObjectPath, iface string, value any) error {
	e, err := newExported(path, iface, value)
	if err != nil {
		return fmt.Errorf("kdbus: export %s at %s: %w", iface, path, err)
	}
	for _, p := range e.properties {
		p.conn, p.path, p.iface = c, string(path), iface
	}
	for _, s := range e.signals {
		s.conn, s.path, s.iface = c, path, iface
	}
	if !c.objects.add(string(path), iface, e) {
		return fmt.Errorf("kdbus: export %s at %s: it is exported there already; unexport it first", iface, path)
	}
	e.bind()
	c.announce(string(path), "InterfacesAdded", "oa{sa{sv}}", func() any {
		return map[string]map[string]Variant{iface: e.values()}
	})
	return nil
}

func newExported(path ObjectPath, iface string, value any) (e *exported, err error) {
	if err := wire.CheckObjectPath(string(path)); err != nil {
		return nil, err
	}
	if err := wire.CheckInterface(iface); err != nil {
		return nil, err
	}
	if standardInterfaces[iface] != nil {
		return nil, errors.New("that interface comes by itself")
	}
	if value == nil {
		return nil, errors.New("the value is nil")
	}
	e = new(exported)
	if e.methods, err = methodsOf(value); err != nil {
		return nil, err
	}
	if e.properties, err = propertiesOf(value); err != nil {
		return nil, err
	}
	if e.signals, err = signalsOf(value); err != nil {
		return nil, err
	}
	if len(e.methods)+len(e.properties)+len(e.signals) == 0 {
		return nil, fmt.Errorf("%T has no exported method whose last result is an error, no Property and no Signal", value)
	}
	return e, nil
}

// Unexport takes an interface away from a path; calls that are running go on. It is no error if
// it is not there.
func (c *Conn) Unexport(path ObjectPath, iface string) {
	e := c.objects.remove(string(path), iface)
	if e == nil {
		return
	}
	e.unbind()
	c.announce(string(path), "InterfacesRemoved", "oas", func() any { return []string{iface} })
}

// ExportManager gives the object at path the interface org.freedesktop.DBus.ObjectManager: one
// call returns all objects below it with their properties, and signals tell when interfaces come
// and go.
func (c *Conn) ExportManager(path ObjectPath) error {
	if err := wire.CheckObjectPath(string(path)); err != nil {
		return fmt.Errorf("kdbus: export an object manager: %w", err)
	}
	c.objects.mu.Lock()
	defer c.objects.mu.Unlock()
	c.objects.at(string(path)).manager = true
	return nil
}

// announce emits a signal of the object managers above a path. Nobody can be told if the
// connection fails, and nobody needs to be.
func (c *Conn) announce(path, signal, signature string, what func() any) {
	for _, manager := range c.objects.managersAbove(path) {
		_ = c.emit(c.ctx, "", ObjectPath(manager), managerInterface+"."+signal, 0, signature, []any{ObjectPath(path), what()})
	}
}

// at returns the object at a path, made if need be. The lock is held for writing.
func (o *objects) at(path string) *object {
	if o.byPath == nil {
		o.byPath = make(map[string]*object)
	}
	at := o.byPath[path]
	if at == nil {
		at = &object{interfaces: make(map[string]*exported)}
		o.byPath[path] = at
	}
	return at
}

func (o *objects) add(path, iface string, e *exported) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.at(path)
	if at.interfaces[iface] != nil {
		return false
	}
	at.interfaces[iface] = e
	return true
}

func (o *objects) remove(path, iface string) *exported {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.byPath[path]
	if at == nil {
		return nil
	}
	e := at.interfaces[iface]
	delete(at.interfaces, iface)
	if len(at.interfaces) == 0 && !at.manager {
		delete(o.byPath, path)
	}
	return e
}

// managersAbove returns the paths above path, or the same, that have an object manager.
func (o *objects) managersAbove(path string) (managers []string) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for p, object := range o.byPath {
		if object.manager && p != path && wire.PathInNamespace(path, p) {
			managers = append(managers, p)
		}
	}
	return managers
}

// children returns the next elements of the paths below a path, sorted. The lock is held.
func (o *objects) children(path string) []string {
	prefix := strings.TrimSuffix(path, "/") + "/"
	names := make(map[string]bool)
	for p := range o.byPath {
		if rest, below := strings.CutPrefix(p, prefix); below && rest != "" {
			name, _, _ := strings.Cut(rest, "/")
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// find returns the method that a message calls, or the error to answer.
func (o *objects) find(m *Message) (*method, error) {
	h := &m.header
	o.mu.RLock()
	defer o.mu.RUnlock()
	at := o.byPath[h.Path]
	if at != nil {
		if method := at.method(h.Interface, h.Member); method != nil {
			return method, nil
		}
	}
	exists := at != nil || len(o.children(h.Path)) > 0
	if method := standardMethod(h.Interface, h.Member, at, exists); method != nil {
		return method, nil
	}
	known := at != nil && (at.interfaces[h.Interface] != nil || standardInterfaces[h.Interface] != nil)
	switch {
	case !exists:
		return nil, NewError(ErrUnknownObject.Name, "there is no object %s", h.Path)
	case h.Interface != "" && !known:
		return nil, NewError(ErrUnknownInterface.Name, "the object %s has no interface %s", h.Path, h.Interface)
	default:
		return nil, NewError(ErrUnknownMethod.Name, "the object %s has no method %s in interface %q", h.Path, h.Member, h.Interface)
	}
}

// method returns a method of the object's own interfaces. Without an interface in the call,
// the first in order that has such a method counts.
func (o *object) method(iface, member string) *method {
	if iface != "" {
		if e := o.interfaces[iface]; e != nil {
			return e.methods[member]
		}
		return nil
	}
	for _, iface := range slices.Sorted(maps.Keys(o.interfaces)) {
		if method := o.interfaces[iface].methods[member]; method != nil {
			return method
		}
	}
	return nil
}

// bind makes changes of properties known from now on.
func (e *exported) bind() {
	for _, p := range e.properties {
		p.field.bind(p)
	}
	for _, s := range e.signals {
		s.field.bind(s)
	}
}

func (e *exported) unbind() {
	for _, p := range e.properties {
		p.field.unbind(p)
	}
	for _, s := range e.signals {
		s.field.unbind(s)
	}
}

// values returns the values of all properties.
func (e *exported) values() map[string]Variant {
	values := make(map[string]Variant, len(e.properties))
	for name, p := range e.properties {
		values[name] = p.variant()
	}
	return values
}
