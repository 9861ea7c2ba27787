package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/introspection"
	"github.com/kdbus-go/kdbus/wire"
)

// completionTime is how long a completion may take: who presses Tab does not want to wait.
const completionTime = 2 * time.Second

// memberKind is what is completed behind an interface.
type memberKind int

const (
	kindNone memberKind = iota
	kindMethod
	kindProperty
	kindWritable
)

// completer returns a connection to the bus that the flags of a command line name, or nil.
func completer(cmd *cobra.Command) (context.Context, *kdbus.Conn, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	b := new(busFlags)
	b.user = cmd.Flag("user") != nil && cmd.Flag("user").Value.String() == "true"
	b.address, _ = cmd.Flags().GetString("address")
	conn, err := b.dial(ctx, kdbus.Dialer{})
	if err != nil {
		cancel()
		return nil, nil, nil
	}
	return ctx, conn, func() { cancel(); conn.Close() }
}

// completeServices completes bus names: unique ones once the colon is there.
func completeServices(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	ctx, conn, end := completer(cmd)
	if conn == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer end()
	names, _ := conn.ListNames(ctx)
	activatable, _ := conn.ListActivatableNames(ctx)
	names = append(names, activatable...)
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return !strings.HasPrefix(name, word) || strings.HasPrefix(name, ":") && word == ""
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeMember completes a service, one of its objects, an interface of that, and a member of the
// given kind.
func completeMember(kind memberKind) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return completeServices(cmd, args, word)
		}
		const directive = cobra.ShellCompDirectiveNoFileComp
		if len(args) >= 3 && kind == kindNone || len(args) > 3 && kind != kindProperty {
			return nil, directive
		}
		ctx, conn, end := completer(cmd)
		if conn == nil {
			return nil, directive
		}
		defer end()
		if len(args) == 1 {
			paths, _ := objectPaths(ctx, conn, args[0], 0)
			return having(paths, word), directive
		}
		node, _, err := introspect(ctx, conn, args[0], args[1], 0)
		if err != nil {
			return nil, directive
		}
		var words []string
		for _, iface := range node.Interfaces {
			if len(args) == 2 && wire.CheckInterface(iface.Name) == nil {
				words = append(words, iface.Name)
			} else if iface.Name == args[2] {
				words = members(&iface, kind)
			}
		}
		return having(words, word), directive
	}
}

// members returns the members of an interface, with their signatures as descriptions. An object says
// what it likes of itself, and shells evaluate what they complete: only names are let through.
func members(iface *introspection.Interface, kind memberKind) (words []string) {
	add := func(name, signature string) {
		if wire.CheckMember(name) == nil && wire.CheckSignature(signature) == nil {
			words = append(words, name+"\t"+signature)
		}
	}
	if kind == kindMethod {
		for _, m := range iface.Methods {
			add(m.Name, m.In())
		}
		return words
	}
	for _, p := range iface.Properties {
		if kind == kindProperty && p.Readable() || kind == kindWritable && p.Access != "read" {
			add(p.Name, p.Type)
		}
	}
	return words
}

func having(words []string, prefix string) []string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, prefix) })
	slices.Sort(words)
	return words
}
