package kdbus

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

const (
	peerInterface           = busName + ".Peer"
	introspectableInterface = busName + ".Introspectable"
	managerInterface        = busName + ".ObjectManager"
)

// standardInterfaces are the interfaces that exported objects have by themselves (specification,
// "Standard Interfaces").
var standardInterfaces map[string]map[string]*method

func init() {
	standardInterfaces = map[string]map[string]*method{
		peerInterface: {
			"Ping":         {name: "Ping", invoke: ping},
			"GetMachineId": {name: "GetMachineId", out: "s", invoke: machineID},
		},
		introspectableInterface: {
			"Introspect": {name: "Introspect", out: "s", invoke: introspect},
		},
		propertiesInterface: {
			"Get":    {name: "Get", in: "ss", out: "v", invoke: getProperty},
			"GetAll": {name: "GetAll", in: "s", out: "a{sv}", invoke: getAllProperties},
			"Set":    {name: "Set", in: "ssv", invoke: setProperty},
		},
		managerInterface: {
			"GetManagedObjects": {name: "GetManagedObjects", out: "a{oa{sa{sv}}}", invoke: managedObjects},
		},
	}
}

// standardMethod returns a method of the standard interfaces, if there is one at a path: Peer
// is everywhere, Introspectable wherever something is at the path or below, the others at
// objects. Calls may lack the interface.
func standardMethod(iface, member string, at *object, exists bool) *method {
	for _, name := range [...]string{peerInterface, introspectableInterface, propertiesInterface, managerInterface} {
		m := standardInterfaces[name][member]
		if m == nil || iface != "" && iface != name {
			continue
		}
		if name == introspectableInterface && !exists || name == propertiesInterface && at == nil ||
			name == managerInterface && (at == nil || !at.manager) {
			continue
		}
		return m
	}
	return nil
}

// arguments decodes the arguments of a standard method.
func arguments(m *Message, dst ...any) error {
	if err := m.Decode(dst...); err != nil {
		return NewError(ErrInvalidArgs.Name, "%v", err)
	}
	return nil
}

func ping(_ context.Context, _ *Conn, m *Message) ([]any, error) { return nil, arguments(m) }

func machineID(_ context.Context, _ *Conn, m *Message) ([]any, error) {
	if err := arguments(m); err != nil {
		return nil, err
	}
	var failures error
	for _, path := range [...]string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		id, err := os.ReadFile(path)
		if err == nil {
			return []any{strings.TrimSpace(string(id))}, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, failures
}

func introspect(_ context.Context, c *Conn, m *Message) ([]any, error) {
	if err := arguments(m); err != nil {
		return nil, err
	}
	return []any{c.objects.introspect(m.header.Path)}, nil
}

// propertiesAt returns the properties of an interface at a path. An empty interface stands for
// all, of which the first in order counts for each name.
func (o *objects) propertiesAt(path, iface string) (map[string]*place, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	at := o.byPath[path]
	if at == nil {
		return nil, NewError(ErrUnknownObject.Name, "there is no object %s", path)
	}
	if e := at.interfaces[iface]; e != nil {
		return e.properties, nil
	}
	if standardInterfaces[iface] != nil {
		return nil, nil
	}
	if iface != "" {
		return nil, NewError(ErrUnknownInterface.Name, "the object %s has no interface %s", path, iface)
	}
	all := make(map[string]*place)
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(at.interfaces))) {
		maps.Copy(all, at.interfaces[name].properties)
	}
	return all, nil
}

func (c *Conn) property(m *Message, iface, name string) (*place, error) {
	properties, err := c.objects.propertiesAt(m.header.Path, iface)
	if err != nil {
		return nil, err
	}
	if p := properties[name]; p != nil {
		return p, nil
	}
	return nil, NewError(ErrUnknownProperty.Name, "the object %s has no property %s in interface %q", m.header.Path, name, iface)
}

func getProperty(_ context.Context, c *Conn, m *Message) ([]any, error) {
	var iface, name string
	if err := arguments(m, &iface, &name); err != nil {
		return nil, err
	}
	p, err := c.property(m, iface, name)
	if err != nil {
		return nil, err
	}
	return []any{p.variant()}, nil
}

func getAllProperties(_ context.Context, c *Conn, m *Message) ([]any, error) {
	var iface string
	if err := arguments(m, &iface); err != nil {
		return nil, err
	}
	properties, err := c.objects.propertiesAt(m.header.Path, iface)
	if err != nil {
		return nil, err
	}
	return []any{(&exported{properties: properties}).values()}, nil
}

func setProperty(ctx context.Context, c *Conn, m *Message) ([]any, error) {
	var iface, name string
	var value Variant
	if err := arguments(m, &iface, &name, &value); err != nil {
		return nil, err
	}
	p, err := c.property(m, iface, name)
	if err != nil {
		return nil, err
	}
	if !p.writable {
		return nil, NewError(ErrPropertyReadOnly.Name, "the property %s cannot be set", name)
	}
	return nil, p.field.write(ctx, value)
}

func managedObjects(_ context.Context, c *Conn, m *Message) ([]any, error) {
	if err := arguments(m); err != nil {
		return nil, err
	}
	// Properties are read without the lock: a program may export objects while it holds a lock
	// of its own that reading takes.
	below := make(map[ObjectPath]map[string]*exported)
	c.objects.mu.RLock()
	for path, object := range c.objects.byPath {
		if path != m.header.Path && wire.PathInNamespace(path, m.header.Path) && len(object.interfaces) > 0 {
			below[ObjectPath(path)] = maps.Clone(object.interfaces)
		}
	}
	c.objects.mu.RUnlock()
	result := make(map[ObjectPath]map[string]map[string]Variant, len(below))
	for path, interfaces := range below {
		result[path] = make(map[string]map[string]Variant, len(interfaces))
		for name, e := range interfaces {
			result[path][name] = e.values()
		}
	}
	return []any{result}, nil
}
