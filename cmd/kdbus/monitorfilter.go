package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus"
)

// watchFilter selects messages: those from and to services, and those that match a rule. It follows
// who owns which name through the very messages it selects from, so that each is judged by how
// things were when it was sent.
type watchFilter struct {
	services []string
	matches  []kdbus.Match
	owners   map[string]string // unique names by well-known ones; nil if nobody has to know
}

// start makes conn a monitor that sees at least what the filter selects.
func (f *watchFilter) start(ctx context.Context, conn *kdbus.Conn) (*kdbus.Subscription, error) {
	named := func(m kdbus.Match) bool { return m.Sender != "" || m.Destination != "" }
	if len(f.services) == 0 && !slices.ContainsFunc(f.matches, named) {
		// The bus can do that by itself.
		matches := f.matches
		f.matches = nil
		return conn.Monitor(ctx, watchQueue, matches...)
	}
	changed := kdbus.Match{Sender: busName, Interface: busName, Member: "NameOwnerChanged"}
	changes, err := conn.Subscribe(ctx, changed, watchQueue)
	if err != nil {
		return nil, err
	}
	if err := f.learnOwners(ctx, conn); err != nil {
		return nil, err
	}
	sub, err := conn.Monitor(ctx, watchQueue)
	if err != nil {
		return nil, err
	}
	for len(changes.Messages()) > 0 {
		f.ownerChanged(<-changes.Messages())
	}
	return sub, nil
}

// learnOwners asks the bus who owns which name.
func (f *watchFilter) learnOwners(ctx context.Context, conn *kdbus.Conn) error {
	f.owners = make(map[string]string)
	names, err := conn.ListNames(ctx)
	if err != nil {
		return fmt.Errorf("list the names: %w", err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, ":") || name == busName {
			continue
		}
		owner, err := conn.NameOwner(ctx, name)
		if err == nil {
			f.owners[name] = owner
		} else if !isGone(err) {
			return fmt.Errorf("ask who has the name %s: %w", name, err)
		}
	}
	return nil
}

// ownerChanged takes note of a NameOwnerChanged.
func (f *watchFilter) ownerChanged(m *kdbus.Message) {
	var name, before, after string
	if m.Decode(&name, &before, &after) != nil || strings.HasPrefix(name, ":") {
		return
	}
	if after == "" {
		delete(f.owners, name)
	} else {
		f.owners[name] = after
	}
}

// resolve returns the unique name of who has a name, or the name if nobody has.
func (f *watchFilter) resolve(name string) string {
	if owner, ok := f.owners[name]; ok {
		return owner
	}
	return name
}

// wants reports whether a message is selected.
func (f *watchFilter) wants(m *kdbus.Message) bool {
	if f.owners != nil && m.Type() == kdbus.TypeSignal && m.Sender() == busName && m.Member() == "NameOwnerChanged" {
		defer f.ownerChanged(m)
	}
	return f.serviceWants(m) && f.matchWants(m)
}

func (f *watchFilter) serviceWants(m *kdbus.Message) bool {
	if len(f.services) == 0 {
		return true
	}
	sender, destination := m.Sender(), f.resolve(m.Destination())
	for _, service := range f.services {
		if owner := f.resolve(service); owner == sender || owner == destination {
			return true
		}
	}
	return false
}

func (f *watchFilter) matchWants(m *kdbus.Message) bool {
	if len(f.matches) == 0 {
		return true
	}
	for _, match := range f.matches {
		match.Sender = f.resolve(match.Sender)
		if match.Destination != "" {
			if f.resolve(match.Destination) != f.resolve(m.Destination()) {
				continue
			}
			match.Destination = ""
		}
		if m.Matches(match) {
			return true
		}
	}
	return false
}
