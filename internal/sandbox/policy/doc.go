// Package policy is what a sandbox may do on a bus, in the words of xdg-dbus-proxy(1), and its
// translation into entries of a custom endpoint.
//
// A [Policy] collects flags: levels of names (--see, --talk, --own), and rules for calls to names and
// for broadcasts of their owners (--call, --broadcast). A rule becomes the text of a D-Bus match rule
// (rule.go), which the bus compiles. [Policy.Entries] returns what the endpoint is given. The two
// differ in one thing: to xdg-dbus-proxy all flags whose names cover a name count, to an
// endpoint only the most specific entry does. So every entry also has what those around it say
// (entries.go).
//
// The way back is [Learner]: from what the bus has refused to the flags that allow it (learn.go). Flags are read from and written to files of one flag per line (file.go).
//
// It leaves to others who enforces this, and what to confine: package sandbox, and the bus.
package policy
