package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/introspection"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/tty"
	"github.com/kdbus-go/kdbus/wire"
)

func newTreeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tree [flags] [SERVICE...]",
		Short: "Show the objects of services",
		Long: `Shows the object paths of one or more services as a tree; without an argument those of
all services that have a well-known name. Objects tell by themselves what is below them.`,
		Example: `  kdbus tree --user org.freedesktop.DBus
  kdbus tree --user --list org.freedesktop.DBus   # one path a line`,
		ValidArgsFunction: completeServices,
	}
	bus := addBusFlags(cmd)
	mode := jsonFlags(cmd)
	flat := cmd.Flags().Bool("list", false, "print a list of paths instead of a tree")
	timeout := timeoutFlag(cmd)
	print := pagerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, services []string) error {
		ctx := cmd.Context()
		conn, err := bus.dial(ctx, kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer conn.Close()
		named := len(services) > 1
		if len(services) == 0 {
			if services, err = wellKnownNames(ctx, conn); err != nil {
				return err
			}
			named = true
		}
		style := styleOf(cmd.OutOrStdout())
		lines := introspection.ASCIILines
		if tty.UTF8() {
			lines = introspection.UTF8Lines
		}
		var text []byte
		var failures []error
		result := jsontext.Object{}
		for i, service := range services {
			if *mode != jsontext.Off && slices.Index(services, service) < i {
				continue // a key is there once
			}
			paths, err := objectPaths(ctx, conn, service, *timeout)
			if err != nil {
				failures = append(failures, err)
			}
			if *mode != jsontext.Off {
				list := make([]any, len(paths))
				for i, p := range paths {
					list[i] = p
				}
				result = append(result, jsontext.Member{Key: service, Value: list})
				continue
			}
			if named {
				if i > 0 {
					text = append(text, '\n')
				}
				text = fmt.Appendf(text, "Service %s:\n", style.Bold(service))
			}
			switch {
			case err != nil:
			case *flat:
				for _, p := range paths {
					text = append(append(text, p...), '\n')
				}
			default:
				text = introspection.AppendTree(text, paths, lines, style.Grey)
			}
		}
		if *mode != jsontext.Off {
			text = jsontext.Append(nil, result, *mode)
		}
		return errors.Join(print(text), errors.Join(failures...))
	}
	return cmd
}

// wellKnownNames returns the names of services on the bus.
func wellKnownNames(ctx context.Context, conn *kdbus.Conn) ([]string, error) {
	names, err := conn.ListNames(ctx)
	if err != nil {
		return nil, plain(err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, ":") }), nil
}

// maxObjects is how many objects of a service are looked at: a service can invent them.
const maxObjects = 100_000

// objectPaths returns the paths of all objects of a service, sorted, with those on the way to them.
func objectPaths(ctx context.Context, conn *kdbus.Conn, service string, timeout duration) ([]string, error) {
	if err := wire.CheckBusName(service); err != nil {
		return nil, fmt.Errorf("%q is no bus name: %w", service, err)
	}
	known := map[string]bool{"/": true}
	var failures []error
	for todo := []string{"/"}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		node, _, err := introspect(ctx, conn, service, at, timeout)
		if err != nil {
			failures = append(failures, err)
			if at == "/" {
				break
			}
			continue
		}
		for _, child := range node.Nodes {
			p := path.Join(at, child.Name)
			if strings.HasPrefix(child.Name, "/") {
				p = child.Name // which older services do
			}
			if wire.CheckObjectPath(p) != nil || known[p] || at != "/" && !strings.HasPrefix(p, at+"/") {
				continue
			}
			if len(known) >= maxObjects {
				return sortedPaths(known), errors.Join(append(failures, fmt.Errorf("%s has more than %d objects", service, maxObjects))...)
			}
			known[p] = true
			todo = append(todo, p)
		}
	}
	return sortedPaths(known), errors.Join(failures...)
}

func sortedPaths(known map[string]bool) []string {
	all := make([]string, 0, len(known))
	for p := range known {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

// introspect returns the description of an object, parsed and as it came, if it comes in time.
func introspect(ctx context.Context, conn *kdbus.Conn, service, at string, timeout duration) (*introspection.Node, string, error) {
	ctx, cancel := timeout.bound(ctx)
	defer cancel()
	text, err := kdbus.Call[string](ctx, conn.Object(service, kdbus.ObjectPath(at)), "org.freedesktop.DBus.Introspectable.Introspect")
	if err != nil {
		return nil, "", fmt.Errorf("cannot introspect the object %s of %s: %w", at, service, late(err, timeout))
	}
	node, err := introspection.Parse(text)
	if err != nil {
		return nil, "", fmt.Errorf("the object %s of %s: %w", at, service, err)
	}
	return node, text, nil
}
