package kdbus

import (
	"context"
	"errors"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/wire"
)

// busObject is the registry of a bus that is asked by calls to org.freedesktop.DBus.
type busObject struct{ object Object }

// call calls a method of the bus. The hook, if not nil, is called with what was decoded.
func call[T any](ctx context.Context, b busObject, method string, hook func(T, error), args ...any) error {
	m, err := b.object.message(busName+"."+method, "", args)
	if err != nil {
		return err
	}
	var inner func(*Message)
	if hook != nil {
		inner = func(m *Message) {
			var result T
			if m.header.Type == wire.TypeError {
				hook(result, errorOf(m))
				return
			}
			err := m.Decode(&result)
			hook(result, err)
		}
	}
	reply, err := b.object.conn.call(ctx, m, inner)
	if err == nil {
		reply.discard()
	}
	return err
}

// Answers to RequestName.
const (
	nameIsPrimary = 1 + iota
	nameIsQueued
	nameExists
	nameIsOurs
)

func (b busObject) requestName(ctx context.Context, name string, flags NameFlags, hook func(abi.NameFlags, error)) error {
	taken := false
	err := call(ctx, b, "RequestName", func(answer uint32, err error) {
		var got abi.NameFlags
		switch answer {
		case nameIsPrimary:
			got = abi.NamePrimary | abi.NameAcquired
		case nameIsQueued:
			got = abi.NameInQueue
		case nameIsOurs:
			got = abi.NamePrimary
		case nameExists:
			taken, err = true, ErrNameTaken
		}
		hook(got, err)
	}, name, uint32(flags))
	if err == nil && taken {
		err = ErrNameTaken
	}
	return err
}

func (b busObject) releaseName(ctx context.Context, name string) error {
	return call[uint32](ctx, b, "ReleaseName", nil, name)
}

func (b busObject) abandonName(name string) {
	_ = b.object.Send(context.Background(), busName+".ReleaseName", name)
}

func (b busObject) nameOwner(ctx context.Context, name string, hook func(string, error)) error {
	return call(ctx, b, "GetNameOwner", hook, name)
}

func (b busObject) listNames(ctx context.Context, activatable bool) (names []string, err error) {
	method := "ListNames"
	if activatable {
		method = "ListActivatableNames"
	}
	return Call[[]string](ctx, b.object, busName+"."+method)
}

func (b busObject) addMatch(ctx context.Context, rule string) error {
	return call[struct{}](ctx, b, "AddMatch", nil, rule)
}

// removeMatch does not wait: nothing hangs on the answer.
func (b busObject) removeMatch(ctx context.Context, rule string) error {
	return b.object.Send(ctx, busName+".RemoveMatch", rule)
}

// cancelCall does nothing: D-Bus has no way to say that.
func (b busObject) cancelCall(uint32) {}

func (b busObject) becomeMonitor(ctx context.Context, rules []string, hook func(error)) error {
	m, err := b.object.message(busName+".Monitoring.BecomeMonitor", "asu", []any{rules, uint32(0)})
	if err != nil {
		return err
	}
	reply, err := b.object.conn.call(ctx, m, func(m *Message) {
		if m.header.Type == wire.TypeError {
			hook(errorOf(m))
			return
		}
		hook(nil)
	})
	if err == nil {
		reply.discard()
	}
	if errors.Is(err, ErrMonitor) {
		err = nil // the hook has made it one
	}
	return err
}
