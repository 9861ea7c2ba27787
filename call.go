package kdbus

import (
	"context"
	"fmt"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// Object is an object of a peer, to be called. It is a small value: making one costs nothing and
// says nothing to the bus, so one for an object that does not exist is an error only when used.
type Object struct {
	conn     *Conn
	dest     string
	path     string
	flags    Flags
	priority int64
}

// Object returns the object at path of the peer that has the bus name dest.
func (c *Conn) Object(dest string, path ObjectPath) Object {
	return Object{conn: c, dest: dest, path: string(path)}
}

// Destination is the bus name of the peer.
func (o Object) Destination() string { return o.dest }

// Path is where the object is at its peer.
func (o Object) Path() ObjectPath { return ObjectPath(o.path) }

// With returns the same object, to be called with flags: [NoAutoStart],
// [AllowInteractiveAuthorization].
func (o Object) With(flags Flags) Object {
	o.flags = flags
	return o
}

// Call calls a method, such as "com.example.Player.Play", and waits for its answer, which is
// the caller's. Arguments are Go values as the package comment of wire lists them; an *os.File,
// also within others, is sent as a file descriptor and remains the caller's.
//
// When ctx ends first, the error is its error; the call is not undone. An error that the callee
// or the bus answered is an *Error, in particular [ErrNoReply] at once when the callee vanishes.
func (o Object) Call(ctx context.Context, method string, args ...any) (*Message, error) {
	m, err := o.message(method, "", args)
	return o.call(ctx, method, m, err)
}

// Send calls a method and wants no answer. The error tells only whether the call could be sent.
func (o Object) Send(ctx context.Context, method string, args ...any) error {
	m, err := o.message(method, "", args)
	return o.send(ctx, method, m, err)
}

// call sends a call, if it could be made, and waits for the answer.
func (o Object) call(ctx context.Context, method string, m *outgoing, err error) (*Message, error) {
	var reply *Message
	if err == nil {
		m.header.Flags &^= NoReplyExpected
		reply, err = o.conn.call(ctx, m, nil)
	}
	if err != nil {
		return nil, o.failed(method, err)
	}
	return reply, nil
}

// send sends a call, if it could be made.
func (o Object) send(ctx context.Context, method string, m *outgoing, err error) error {
	if err == nil {
		m.header.Flags |= NoReplyExpected
		err = o.conn.send(ctx, m)
	}
	if err != nil {
		return o.failed(method, err)
	}
	return nil
}

// message returns a call, with a body of the given signature, or that of args if it is empty.
func (o Object) message(method, signature string, args []any) (*outgoing, error) {
	m := newOutgoing(wire.TypeMethodCall)
	h := &m.header
	h.Destination, h.Path, h.Flags = o.dest, o.path, o.flags
	m.priority = o.priority
	h.Interface, h.Member = splitMember(method)
	if err := m.setBody(signature, args); err != nil {
		m.release()
		return nil, err
	}
	return m, nil
}

// failed says what was being done to what.
func (o Object) failed(method string, err error) error {
	return fmt.Errorf("kdbus: call %s of %s at %s: %w", method, o.path, o.dest, err)
}

// Call calls a method and returns the one value it answers with, as a T. For methods with
// several results use [Object.Call] and [Message.Decode], or a struct in place of none.
func Call[T any](ctx context.Context, o Object, method string, args ...any) (T, error) {
	var result T
	reply, err := o.Call(ctx, method, args...)
	if err != nil {
		return result, err
	}
	err = reply.Decode(&result)
	reply.recycle()
	if err != nil {
		return result, o.failed(method, fmt.Errorf("read the answer: %w", err))
	}
	return result, nil
}

const propertiesInterface = busName + ".Properties"

// Get returns the value of a property, such as "com.example.Player.Volume", as a T.
func Get[T any](ctx context.Context, o Object, property string) (T, error) {
	var result T
	iface, name := splitMember(property)
	v, err := Call[Variant](ctx, o, propertiesInterface+".Get", iface, name)
	if err != nil {
		return result, fmt.Errorf("kdbus: get %s: %w", property, err)
	}
	if err := As(v, &result); err != nil {
		return result, fmt.Errorf("kdbus: get %s of %s at %s: %w", property, o.path, o.dest, err)
	}
	return result, nil
}

// Set sets a property. The type of the value must be that of the property; for an integer that
// means int32 rather than int and the like.
func (o Object) Set(ctx context.Context, property string, value any) error {
	iface, name := splitMember(property)
	if _, ok := value.(Variant); !ok {
		value = Variant{Value: value}
	}
	reply, err := o.Call(ctx, propertiesInterface+".Set", iface, name, value)
	if err != nil {
		return fmt.Errorf("kdbus: set %s: %w", property, err)
	}
	reply.discard()
	return nil
}

// GetAll returns all properties of an interface that can be read.
func (o Object) GetAll(ctx context.Context, iface string) (map[string]Variant, error) {
	return Call[map[string]Variant](ctx, o, propertiesInterface+".GetAll", iface)
}

// As stores the value of v in what dst points to, which must be able to hold it as
// [wire.Decode] says: a struct for []any, for example.
func As[T any](v Variant, dst *T) error {
	switch dst := any(dst).(type) {
	case *Variant:
		*dst = v
		return nil
	case *any:
		*dst = v.Value
		return nil
	}
	if value, ok := v.Value.(T); ok {
		*dst = value
		return nil
	}
	body, err := wire.AppendBodyAs(nil, wire.LittleEndian, string(v.Signature), v.Value)
	if err != nil {
		return err
	}
	return wire.Decode(wire.LittleEndian, string(v.Signature), body, dst)
}

// Emit broadcasts a signal, such as "com.example.Player.Stopped", from the object at path. With
// file descriptors among the arguments use [Conn.EmitTo]: native buses do not broadcast them.
func (c *Conn) Emit(ctx context.Context, path ObjectPath, signal string, args ...any) error {
	return c.emit(ctx, "", path, signal, 0, "", args)
}

// EmitTo sends a signal to one peer.
func (c *Conn) EmitTo(ctx context.Context, dest string, path ObjectPath, signal string, args ...any) error {
	return c.emit(ctx, dest, path, signal, 0, "", args)
}

func (c *Conn) emit(ctx context.Context, dest string, path ObjectPath, signal string, priority int64, signature string, args []any) error {
	m := newOutgoing(wire.TypeSignal)
	m.priority = priority
	h := &m.header
	h.Destination, h.Path = dest, string(path)
	h.Interface, h.Member = splitMember(signal)
	err := m.setBody(signature, args)
	if err == nil {
		err = c.send(ctx, m)
	} else {
		m.release()
	}
	if err != nil {
		return fmt.Errorf("kdbus: emit %s from %s: %w", signal, path, err)
	}
	return nil
}

// splitMember takes "com.example.Interface.Member" apart. Without a dot, all is the member.
func splitMember(name string) (iface, member string) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return "", name
	}
	return name[:dot], name[dot+1:]
}
