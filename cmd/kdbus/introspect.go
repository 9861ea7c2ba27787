package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/introspection"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/table"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/values"
	"github.com/kdbus-go/kdbus/wire"
)

func newIntrospectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "introspect [flags] SERVICE OBJECT [INTERFACE]",
		Short: "Show the methods, properties and signals of an object",
		Long: `Shows the interfaces of an object with their methods, properties and signals: the
signatures of arguments and of results, and the values of properties. With INTERFACE,
its members only. With --xml-interface, what the object said, as it said it.

Flags are const (never changes), emits-change and emits-invalidation (PropertiesChanged
tells of changes), writable, deprecated, no-reply, privileged.`,
		Example: `  kdbus introspect --user org.freedesktop.DBus /org/freedesktop/DBus
  kdbus introspect --user --xml-interface org.freedesktop.DBus /org/freedesktop/DBus`,
		Args:              operands,
		ValidArgsFunction: completeMember(kindNone),
	}
	bus := addBusFlags(cmd)
	mode := jsonFlags(cmd)
	xml := cmd.Flags().Bool("xml-interface", false, "print the XML that the object describes itself with")
	noLegend := cmd.Flags().Bool("no-legend", false, "do not print the heads of columns")
	timeout := timeoutFlag(cmd)
	print := pagerFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		service, object := args[0], args[1]
		if err := checkTarget(service, object); err != nil {
			return err
		}
		conn, err := bus.dial(cmd.Context(), kdbus.Dialer{})
		if err != nil {
			return err
		}
		defer conn.Close()
		node, text, err := introspect(cmd.Context(), conn, service, object, *timeout)
		if err != nil {
			return err
		}
		if *xml {
			return print([]byte(text + "\n"))
		}
		only := ""
		if len(args) == 3 {
			only = args[2]
		}
		t, found := memberTable(cmd.Context(), conn.Object(service, kdbus.ObjectPath(object)), node, only, *timeout)
		if !found { // which is no failure to busctl
			fmt.Fprintf(cmd.ErrOrStderr(), "The object %s of %s has no interface %s.\n", object, service, only)
		}
		if *mode != jsontext.Off {
			return print(jsontext.Append(nil, t.JSON(), *mode))
		}
		return print(t.Append(nil, !*noLegend, styleOf(cmd.OutOrStdout())))
	}
	return cmd
}

// memberTable makes the table of an object's members, or those of one interface, if it has that.
func memberTable(ctx context.Context, object kdbus.Object, node *introspection.Node, only string, timeout duration) (t *table.Table, found bool) {
	t = &table.Table{Columns: []table.Column{{Title: "NAME"}, {Title: "TYPE"}, {Title: "SIGNATURE"}, {Title: "RESULT/VALUE"}, {Title: "FLAGS"}}}
	interfaces := slices.Clone(node.Interfaces)
	slices.SortFunc(interfaces, func(a, b introspection.Interface) int { return strings.Compare(a.Name, b.Name) })
	for _, iface := range interfaces {
		if only != "" && iface.Name != only {
			continue
		}
		found = true
		name := table.Text(iface.Name)
		name.Bold = true
		row := []table.Cell{name, table.Text("interface"), {}, {}, {}}
		if only == "" {
			t.Rows = append(t.Rows, row)
		} else {
			t.Hidden = append(t.Hidden, row) // as busctl does
		}
		t.Rows = append(t.Rows, memberRows(ctx, object, &iface, timeout)...)
	}
	return t, found || only == ""
}

func memberRows(ctx context.Context, object kdbus.Object, iface *introspection.Interface, timeout duration) (rows [][]table.Cell) {
	row := func(name, kind, signature, result string, flags []string) []table.Cell {
		return []table.Cell{table.Text("." + name), table.Text(kind), table.Text(signature), table.Text(result), table.Text(strings.Join(flags, " "))}
	}
	add := func(some [][]table.Cell) {
		slices.SortFunc(some, func(a, b []table.Cell) int { return strings.Compare(a[0].Text, b[0].Text) })
		rows = append(rows, some...)
	}
	var some [][]table.Cell
	for _, m := range iface.Methods {
		some = append(some, row(m.Name, "method", m.In(), m.Out(), m.Flags()))
	}
	add(some)
	some = nil
	var known map[string]string
	if slices.ContainsFunc(iface.Properties, func(p introspection.Property) bool { return p.Readable() }) {
		known = propertyValues(ctx, object, iface.Name, timeout)
	}
	for _, p := range iface.Properties {
		some = append(some, row(p.Name, "property", p.Type, known[p.Name], p.Flags(iface)))
	}
	add(some)
	some = nil
	for _, s := range iface.Signals {
		some = append(some, row(s.Name, "signal", s.Signal(), "", s.Flags()))
	}
	add(some)
	return rows
}

// propertyValues returns the values of the properties of an interface, in one line each. Those of a
// service that does not answer are unknown.
func propertyValues(ctx context.Context, object kdbus.Object, iface string, timeout duration) map[string]string {
	ctx, cancel := timeout.bound(ctx)
	defer cancel()
	known := make(map[string]string)
	reply, err := object.Call(ctx, "org.freedesktop.DBus.Properties.GetAll", iface)
	if err != nil || reply.Signature() != "a{sv}" {
		return known
	}
	_ = reply.Walk(&propertyVisitor{values: known})
	return known
}

// propertyVisitor reads a body of type a{sv}.
type propertyVisitor struct {
	values map[string]string
	name   string
	depth  int
	events []func(wire.Visitor) error // the value under way
}

// Basic is wire.Visitor's.
func (v *propertyVisitor) Basic(b wire.Basic) error {
	if v.depth == 2 {
		v.name = b.Text()
	} else {
		v.events = append(v.events, func(to wire.Visitor) error { return to.Basic(b) })
	}
	return nil
}

// Enter is wire.Visitor's.
func (v *propertyVisitor) Enter(kind byte, contents string) error {
	if v.depth++; v.depth > 3 { // array, entry, variant
		v.events = append(v.events, func(to wire.Visitor) error { return to.Enter(kind, contents) })
	}
	return nil
}

// Leave is wire.Visitor's.
func (v *propertyVisitor) Leave(kind byte) error {
	v.depth--
	switch {
	case v.depth > 2:
		v.events = append(v.events, func(to wire.Visitor) error { return to.Leave(kind) })
	case v.depth == 2:
		text, err := values.AppendTerse(nil, replay(v.events))
		v.values[v.name], v.events = string(text), nil
		return err
	}
	return nil
}

// replay is a part of a body that was visited, to be visited again.
type replay []func(wire.Visitor) error

// Walk visits the part.
func (r replay) Walk(visitor wire.Visitor) error {
	for _, event := range r {
		if err := event(visitor); err != nil {
			return err
		}
	}
	return nil
}

// checkTarget judges the name of a service and the path of an object.
func checkTarget(service, object string) error {
	if err := wire.CheckBusName(service); err != nil {
		return fmt.Errorf("%q is no bus name: %w", service, err)
	}
	if err := wire.CheckObjectPath(object); err != nil {
		return fmt.Errorf("%q is no object path: %w", object, err)
	}
	return nil
}

// checkMember judges the names of an interface and of its member.
func checkMember(iface, member string) error {
	if err := wire.CheckInterface(iface); err != nil {
		return fmt.Errorf("%q is no interface: %w", iface, err)
	}
	if err := wire.CheckMember(member); err != nil {
		return fmt.Errorf("%q is no name of a member: %w", member, err)
	}
	return nil
}
