package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Command lines as busctl takes them: flags before the name of a command, or alone; and, other than
// there, negative numbers among values.

// arrange returns the arguments in the order in which cobra understands them.
func arrange(root *cobra.Command, args []string) []string {
	list, _, err := root.Find([]string{"list"}) // which has the flags of all verbs
	if err != nil || len(args) == 0 {
		return args
	}
	first := slices.Index(operandsIn(list, args), true)
	if first < 0 {
		// Flags alone, which say what to list, are busctl's way to ask for a list.
		if knowsFlag(list, args[0]) {
			return slices.Concat([]string{"list"}, args)
		}
		return args
	}
	name := args[first]
	at := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name })
	if first > 0 {
		if at >= 0 && !isVerb(root.Commands()[at]) && name != "help" {
			return args // flags of kdbus itself
		}
		args = slices.Concat(args[first:first+1], args[:first], args[first+1:])
	}
	if at < 0 || !takesValues(root.Commands()[at]) {
		return args
	}
	return append(args[:1:1], valuesLast(root.Commands()[at], args[1:])...)
}

// operandsIn tells of each argument whether it is none of a flag.
func operandsIn(cmd *cobra.Command, args []string) []bool {
	operands := make([]bool, len(args))
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--":
			for i++; i < len(args); i++ {
				operands[i] = true
			}
		case len(args[i]) < 2 || args[i][0] != '-' || isNegative(args[i]):
			operands[i] = true
		case takesValue(cmd, args[i]):
			i++
		}
	}
	return operands
}

// isNegative reports whether an argument is a number below zero, which no flag looks like.
func isNegative(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && (arg[1] >= '0' && arg[1] <= '9' || arg[1] == '.' || arg == "-inf" || arg == "-nan")
}

// valuesLast puts flags first if there are negative numbers behind them, which would be taken for
// flags.
func valuesLast(cmd *cobra.Command, args []string) []string {
	if slices.Contains(args, "--") || !slices.ContainsFunc(args, isNegative) {
		return args
	}
	var flags, others []string
	for i, operand := range operandsIn(cmd, args) {
		if operand {
			others = append(others, args[i])
		} else {
			flags = append(flags, args[i])
		}
	}
	return slices.Concat(flags, []string{"--"}, others)
}

// takesValues reports whether values can be typed behind the names of a command.
func takesValues(cmd *cobra.Command) bool { return isVerb(cmd) && strings.Contains(cmd.Use, "VALUE") }

// takesValue reports whether the argument behind arg is the value of the flag that arg is.
func takesValue(cmd *cobra.Command, arg string) bool {
	name, isLong := strings.CutPrefix(arg, "--")
	flag := cmd.Flags().Lookup(name)
	if !isLong && len(arg) == 2 {
		flag = cmd.Flags().ShorthandLookup(arg[1:])
	}
	return flag != nil && flag.NoOptDefVal == ""
}

// knowsFlag reports whether arg is a flag of a command.
func knowsFlag(cmd *cobra.Command, arg string) bool {
	if name, isLong := strings.CutPrefix(arg, "--"); isLong {
		name, _, _ = strings.Cut(name, "=")
		return cmd.Flags().Lookup(name) != nil
	}
	return len(arg) > 1 && cmd.Flags().ShorthandLookup(arg[1:2]) != nil
}

// explainFlag says of a flag of busctl that kdbus does not have what to do instead.
func explainFlag(err error) error {
	for _, f := range [...]struct{ flag, advice string }{
		{"--host", "kdbus does not go to other machines; run it there, or let ssh -L bring the socket here and name it with --address"},
		{"'H' in", "kdbus does not go to other machines; run it there, or let ssh -L bring the socket here and name it with --address"},
		{"--machine", "kdbus does not go into containers; name the container's socket with --address, below /proc/PID/root"},
		{"'M' in", "kdbus does not go into containers; name the container's socket with --address, below /proc/PID/root"},
		{"--show-machine", "kdbus does not ask machined which container a peer is in; `kdbus status` tells its control group"},
	} {
		if text := err.Error(); strings.HasPrefix(text, "unknown ") && (strings.HasSuffix(text, f.flag) || strings.Contains(text, f.flag+" ")) {
			return fmt.Errorf("%w: %s", err, f.advice)
		}
	}
	return err
}

// usage makes a wrong number of arguments a usage error.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &exitError{exitUsage, err}
		}
		return nil
	}
}

// operands checks the number of arguments by what the command's line of usage has: names without
// brackets are needed, those in brackets can be there, and "..." is as many as one likes.
func operands(cmd *cobra.Command, args []string) error {
	words := slices.DeleteFunc(strings.Fields(cmd.Use)[1:], func(w string) bool { return w == "[flags]" })
	needed := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w[0] == '[' })
	if len(args) < len(needed) {
		missing := strings.ReplaceAll(strings.Join(needed[len(args):], ", "), "...", "")
		verb := "is"
		if i := strings.LastIndex(missing, ", "); i >= 0 {
			missing, verb = missing[:i]+" and "+missing[i+2:], "are"
		}
		return &exitError{exitUsage, fmt.Errorf("%s %s missing; what is needed: %s", missing, verb, cmd.UseLine())}
	}
	if len(args) > len(words) && !strings.Contains(cmd.Use, "...") {
		return &exitError{exitUsage, fmt.Errorf("%q is too much; what is taken: %s", args[len(words)], cmd.UseLine())}
	}
	return nil
}
