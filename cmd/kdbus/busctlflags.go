package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// busctlFlags are the flags of busctl that only some verbs heed, as does kdbus. busctl takes them with
// every verb, and scripts give them where they say nothing: "--no-pager call".
var busctlFlags = []string{"no-pager", "no-legend", "unique", "acquired", "activatable", "match", "size", "list", "quiet", "verbose",
	"json", "json-auto", "xml-interface", "expect-reply", "auto-start", "allow-interactive-authorization", "timeout", "augment-creds",
	"destination", "limit-messages"}

// takeBusctlFlags makes every verb take the flags of the others, and --full, which asks for what kdbus
// always does: to cut off nothing. They are not shown where they say nothing.
func takeBusctlFlags(verbs []*cobra.Command) {
	known := make(map[string]*pflag.Flag)
	for _, verb := range verbs {
		for _, name := range busctlFlags {
			if f := verb.Flags().Lookup(name); f != nil && known[name] == nil {
				known[name] = f
			}
		}
	}
	for _, verb := range verbs {
		flags := verb.Flags()
		for _, name := range busctlFlags {
			if flags.Lookup(name) == nil && known[name] != nil {
				hidden := *known[name]
				hidden.Hidden, hidden.Annotations = true, nil
				flags.AddFlag(&hidden)
			}
		}
		flags.BoolP("full", "l", false, "cut off nothing, which is never done anyway")
		_ = flags.MarkHidden("full") // it is there
	}
}
