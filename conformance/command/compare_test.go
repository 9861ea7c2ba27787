//go:build conformance

package command

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// difference is a difference between what the two commands print that is meant to be.
type difference struct {
	reason string
	apply  func(busctl, kdbus string) (string, string) // makes them the same, but for other differences
}

// without makes a difference of lines, or parts of them, that only kdbus prints, or only this command
// at all.
func without(reason, pattern string) difference {
	re := regexp.MustCompile(pattern)
	return difference{reason, func(b, k string) (string, string) { return re.ReplaceAllString(b, ""), re.ReplaceAllString(k, "") }}
}

// ownRow is that each command lists itself.
var ownRow = without("each of the two is on the bus itself", `(?m)^:[0-9.]+ +(-|[0-9]+) (busctl|kdbus|-) .*\n`)

// used is what kdbus tells of a bus that tells what is used of what is limited.
var used = without("busctl does not ask for quotas", `(?m)^(Queued(Messages|Bytes|FDs)|DroppedSignals|PendingReplies|BusNames)=[0-9]+( of [0-9]+)?\n|^User=.* refused=[0-9]+\n`)

// leftOver is that busctl may list those that came before and are just leaving.
var leftOver = without("a client that came before may still be leaving", `(?m)^:[0-9.]+ +- .*\n`)

var description = difference{"kdbus tells descriptions, on its own bus", func(b, k string) (string, string) {
	re := regexp.MustCompile(`(?m) +\S+$`)
	return re.ReplaceAllString(b, ""), re.ReplaceAllString(k, "")
}}

var widths = difference{"columns are as wide as the commands' own names", func(b, k string) (string, string) {
	re := regexp.MustCompile(` +`)
	return re.ReplaceAllString(b, " "), re.ReplaceAllString(k, " ")
}}

var jsonOwnRow = without("each of the two is on the bus itself",
	`(?s),?\s*\{\s*"name" ?: ?":[0-9.]+",\s*"pid" ?: ?(null|[0-9]+),\s*"process" ?: ?("busctl"|"kdbus"|null),[^}]*\}`)

var jsonDescription = without("kdbus tells descriptions, on its own bus", `"description" ?: ?[^\n}]*`)

var groups = difference{"busctl takes supplementary groups from /proc, which leaves out the primary one; kdbus from the bus, which does not",
	func(b, k string) (string, string) {
		re := regexp.MustCompile(`(?m)^SupplementaryGIDs=.*\n`)
		return re.ReplaceAllString(b, ""), re.ReplaceAllString(k, "")
	}}

var names = without("kdbus tells the names a peer has, on its own bus", `(?m)^(WellKnownNames|Description)=.*\n`)

var trees = difference{"busctl shows services in the order in which the bus lists them, kdbus sorted", func(b, k string) (string, string) {
	parts := strings.Split(strings.TrimSuffix(b, "\n"), "\n\n")
	slices.Sort(parts)
	return strings.Join(parts, "\n\n") + "\n", k
}}

var tracks = difference{"control characters in strings would reach the terminal; kdbus escapes them", func(b, k string) (string, string) {
	return strings.ReplaceAll(b, "zwei\t", `zwei\t`), k
}}

// comparisons are what both are asked for, on the bus of the session.
var comparisons = []struct {
	name        string
	args        []string
	differences []difference
}{
	{"list", []string{"list"}, []difference{ownRow, leftOver, description, widths}},
	{"list --unique", []string{"list", "--unique"}, []difference{ownRow, leftOver, description, widths}},
	{"list --acquired", []string{"list", "--acquired"}, []difference{description}},
	{"list --activatable", []string{"list", "--activatable"}, nil},
	{"list --no-legend", []string{"list", "--no-legend", "--acquired"}, []difference{description}},
	{"list --json=short", []string{"list", "--json=short"}, []difference{jsonOwnRow, jsonDescription}},
	{"list --json=pretty", []string{"list", "--json=pretty"}, []difference{jsonOwnRow, jsonDescription}},
	{"list --json=pretty --activatable", []string{"list", "--json=pretty", "--activatable"}, nil},
	{"status of a service", []string{"status", "com.example.Player"}, []difference{groups, names, used}},
	{"status of the bus", []string{"status"}, []difference{used}},
	{"status of the bus's name", []string{"status", "org.freedesktop.DBus"}, []difference{used}},
	{"status of a process", []string{"status", "1"}, nil},
	{"list --json=off", []string{"list", "--json=off", "--acquired"}, []difference{description}},
	{"list -j", []string{"list", "-j", "--acquired"}, []difference{jsonDescription}},
	{"list without a verb", []string{"--acquired"}, []difference{description}},
	{"list --full", []string{"list", "--acquired", "-l"}, []difference{description}},
	{"list --unique --acquired", []string{"list", "--unique", "--acquired"}, []difference{ownRow, leftOver, description, widths}},
	{"list --unique --activatable", []string{"list", "--unique", "--activatable"}, []difference{ownRow, leftOver, description, widths}},
	{"status of a unique name", []string{"status", uniqueName}, []difference{groups, names, used}},
	{"tree --list of all", []string{"tree", "--list"}, []difference{trees}},
	{"tree of all", []string{"tree"}, []difference{trees}},
	{"tree", []string{"tree", "com.example.Player"}, nil},
	{"tree of two", []string{"tree", "org.freedesktop.DBus", "com.example.Player"}, nil},
	{"tree --list", []string{"tree", "--list", "com.example.Player"}, nil},
	{"introspect", []string{"introspect", "com.example.Player", "/com/example/Player"}, nil},
	{"introspect an interface", []string{"introspect", "com.example.Player", "/com/example/Player", "com.example.Player"}, nil},
	{"introspect the bus", []string{"introspect", "org.freedesktop.DBus", "/org/freedesktop/DBus"}, nil},
	{"introspect --no-legend", []string{"introspect", "--no-legend", "com.example.Player", "/com/other"}, nil},
	{"introspect --xml-interface", []string{"introspect", "--xml-interface", "com.example.Player", "/com/example/Player"}, nil},
	{"introspect an interface that is not there", []string{"introspect", "com.example.Player", "/com/example/Player", "com.example.None"}, nil},
	{"get-property", property("Volume", "Tracks", "Build", "Cached", "Quiet"), nil},
	{"get-property --verbose", property("--verbose", "Volume", "Tracks", "Build"), []difference{tracks}},
	{"get-property --json=short", property("--json=short", "Volume", "Tracks", "Build", "Quiet"), nil},
	{"get-property -j", property("-j", "Tracks", "Cached"), nil},
	{"get-property --json=pretty", property("--json=pretty", "Volume", "Tracks", "Build", "Quiet"), nil},
	{"call", call(many...), nil},
	{"call --verbose", call(append([]string{"--verbose"}, many...)...), nil},
	{"call --json=short", call(append([]string{"--json=short"}, many...)...), nil},
	{"call --json=pretty", call(append([]string{"--json=pretty"}, many...)...), nil},
	{"call with all escapes", call("Echo", "v", "s", "a'\"\\\a\b\f\n\r\t\v\x01\x7fé/"), nil},
	{"call with all escapes, JSON", call("--json=short", "Echo", "v", "s", "a'\"\\\a\b\f\n\r\t\v\x01\x7fé/"), nil},
	{"call with deep variants", call("Echo", "v", "(yva{sv}a{sas}ada(us))", "1", "v", "s", "y", "2", "a", "b", "true", "b", "a{sv}", "1", "x", "y", "4",
		"2", "x", "1", "y", "z", "0", "1", "3.25", "2", "1", "a", "2", "b"), nil},
	{"call with deep variants, JSON", call("--json=pretty", "Echo", "v", "(yva{sv}a{sas}ada(us))", "1", "v", "s", "y", "2", "a", "b", "true", "b", "a{sv}",
		"1", "x", "y", "4", "2", "x", "1", "y", "z", "0", "1", "3.25", "2", "1", "a", "2", "b"), nil},
	{"call with a large double", call("Echo", "v", "d", "123456789.125"), nil},
	{"call with a small double", call("Echo", "v", "d", "0.000012345678"), nil},
	{"call with infinity", call("Echo", "v", "d", "inf"), nil},
	{"call with infinity, JSON", call("--json=short", "Echo", "v", "d", "inf"), nil},
	{"call with no number", call("Echo", "v", "d", "nan"), nil},
	{"call with no number, JSON", call("--json=short", "Echo", "v", "d", "nan"), nil},
	{"call with empty arrays", call("Echo", "v", "(asa{sv}aaya(ss))", "0", "0", "0", "0"), nil},
	{"call with empty arrays, verbose", call("--verbose", "Echo", "v", "(asa{sv}aaya(ss))", "0", "0", "0", "0"), nil},
	{"call with empty arrays, JSON", call("--json=pretty", "Echo", "v", "(asa{sv}aaya(ss))", "0", "0", "0", "0"), nil},
	{"call with many variants in each other", call("--json=short", "Echo", "v", "v", "v", "v", "av", "2", "v", "s", "x", "ay", "0"), nil},
	{"call with a signed number", call("Echo", "v", "(uxd)", "+5", "+0x10", " 7.5"), nil},
	{"call with a negative number", call("--", "Echo", "v", "(xd)", "-9223372036854775808", "-0"), nil},
	{"call with digits in other ways", call("Echo", "v", "(uuuu)", "0x10", "010", "0b11", "0o17"), nil},
	{"call with booleans", call("Echo", "v", "ab", "10", "1", "yes", "y", "true", "T", "on", "off", "No", "f", "0"), nil},
	{"call with a long text", call("Echo", "v", "s", strings.Repeat("long ", 20_000)), nil},
	{"call -q", call("-q", "Echo", "v", "s", "x"), nil},
	{"call -j", call("-j", "Echo", "v", "s", "x"), nil},
	{"call --auto-start=no", call("--auto-start=no", "Echo", "v", "s", "x"), nil},
	{"call --allow-interactive-authorization=no", call("--allow-interactive-authorization=no", "Echo", "v", "s", "x"), nil},
	{"call --timeout", call("--timeout=2min", "Echo", "v", "s", "x"), nil},
	{"call --timeout=infinity", call("--timeout=infinity", "Echo", "v", "s", "x"), nil},
	{"call --timeout=0", call("--timeout=0", "Echo", "v", "s", "x"), nil},
	{"call of nobody without an answer", []string{"call", "--expect-reply=no", "com.example.Nobody", "/", "a.b", "C"}, nil},
	{"call without an answer", call("--expect-reply=no", "Echo", "v", "s", "x"), nil},
	{"call --quiet", call("--quiet", "Echo", "v", "s", "x"), nil},
	{"call with an empty answer", []string{"call", "com.example.Player", "/", "org.freedesktop.DBus.Peer", "Ping"}, nil},
	{"call with an empty answer, JSON", []string{"call", "--json=short", "com.example.Player", "/", "org.freedesktop.DBus.Peer", "Ping"}, nil},
	{"set-property", []string{"set-property", "com.example.Player", "/com/example/Player", "com.example.Player", "Volume", "d", "0.5"}, nil},
	{"emit", []string{"emit", "/a", "a.b", "C", "s", "x"}, nil},
	{"emit to one", []string{"emit", "--destination=com.example.Player", "/a", "a.b", "C"}, nil},
	{"emit to nobody", []string{"emit", "--destination=com.example.Nobody", "/a", "a.b", "C"}, nil},
	{"flags behind the values", call("Echo", "v", "s", "x", "--json=short"), nil},
	{"the last of --user and --system", []string{"--system", "--user", "--no-legend", "--acquired", "list"}, []difference{description}},
	{"flags before the verb", []string{"--json=short", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "NameHasOwner", "s", "com.example.Player"}, nil},
}

// uniqueName stands for that of the service.
const uniqueName = "UNIQUE"

var many = []string{"Many", manySignature, "2", "a", "b", "2", "1", "255", "2", "1", "7", "0", "x", "7", "0.1", "1", "k", "1", "l", "m", "true", "/o", "as",
	"17", "5", "6", "18446744073709551615"}

// player's methods and properties, with flags before the names.
func call(args ...string) []string     { return onPlayer("call", args) }
func property(args ...string) []string { return onPlayer("get-property", args) }

func onPlayer(verb string, args []string) []string {
	var flags []string
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		flags, args = append(flags, args[0]), args[1:]
	}
	return slices.Concat([]string{verb}, flags, []string{"com.example.Player", "/com/example/Player", "com.example.Player"}, args)
}

func TestOutputIsBusctls(t *testing.T) {
	onBothBuses(t, func(t *testing.T, bus *testbus.Bus) {
		startPlayer(t, bus)
		owner := run(t, bus, "busctl", "--user", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetNameOwner", "s", "com.example.Player")
		for _, c := range comparisons {
			t.Run(c.name, func(t *testing.T) {
				if i := slices.Index(c.args, uniqueName); i >= 0 {
					c.args = slices.Clone(c.args)
					c.args[i] = strings.Trim(owner.stdout, "s \"\n")
				}
				b := run(t, bus, append([]string{"busctl", "--user", "--no-pager"}, c.args...)...)
				k := run(t, bus, append([]string{kdbusCommand, "--user", "--no-pager"}, c.args...)...)
				if b.code != 0 || k.code != 0 {
					t.Fatalf("busctl ended with %d, kdbus with %d\n%s%s", b.code, k.code, b.stderr, k.stderr)
				}
				want, got := b.stdout, k.stdout
				for _, d := range c.differences {
					want, got = d.apply(want, got)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-busctl +kdbus\n%s", diff)
				}
			})
		}
	})
}

// failures are command lines with which both fail. What they say differs: kdbus says what to do.
var failures = [][]string{
	call("Fail", "s", "x"), call("Nothing"), call("Fail", "s"), call("Fail", "s", "a", "b"), call("Fail", "u", "x"), call("Fail", "y", "256"),
	call("Fail", "b", "maybe"), call("Echo", "v", "d", "1e400"), call("Echo", "v", "u", "1_0"), call("Echo", "v", "s", "\xff"), call("Echo", "v", "()"),
	call("Echo", "v", "a{vs}", "0"), call("--timeout=soon", "Echo", "v", "s", "x"), call("--timeout=", "Echo", "v", "s", "x"),
	call("--expect-reply=perhaps", "Echo", "v", "s", "x"), call("--auto-start=no", "Echo"), property("Volume", "Nothing"), property(), call(),
	{"status", "a", "b"}, {"status", "0"}, {"status", ":1.999"}, {"list", "x"}, {"list", "--augment-creds=maybe"}, {"tree", "nonsense"},
	{"introspect", "com.example.Player"}, {"emit"}, {"emit", "/a", "a.b", "C", "s"}, {"emit", "/a", "a", "C"}, {"emit", "--destination=..", "/a", "a.b", "C"},
	{"set-property", "com.example.Player", "/com/example/Player", "com.example.Player", "Volume"},
	{"set-property", "com.example.Player", "/com/example/Player", "com.example.Player", "Volume", "d", "1", "2"},
	{"monitor", "--match=type=nonsense"}, {"capture", "--size=x"}, {"--address=unix:path=/nonexistent", "list"}, {"--address=nonsense", "list"},
	call("Fail", "b", "maybe"), call("Fail", "z", "x"), property("Nothing"),
	{"call", "com.example.Player"}, {"call", "com..x", "/", "a.b", "C"}, {"call", "com.x", "nope", "a.b", "C"}, {"call", "com.example.Nobody", "/", "a.b", "C"},
	{"set-property", "com.example.Player", "/com/example/Player", "com.example.Player", "Volume", "s", "x"},
	{"set-property", "com.example.Player", "/com/example/Player", "com.example.Player", "Tracks", "as", "0"},
	{"emit", "nope", "a.b", "C"}, {"status", "com.example.Nobody"}, {"status", "2000000000"}, {"tree", "com.example.Nobody"},
	{"introspect", "com.example.Nobody", "/"}, {"introspect", "com.example.Player", "/nothing"}, {"list", "--nonsense"}, {"list", "--json=yaml"},
}

func TestFailuresAreBusctls(t *testing.T) {
	onBothBuses(t, func(t *testing.T, bus *testbus.Bus) {
		startPlayer(t, bus)
		for _, args := range failures {
			b := run(t, bus, append([]string{"busctl", "--user", "--no-pager"}, args...)...)
			k := run(t, bus, append([]string{kdbusCommand, "--user", "--no-pager"}, args...)...)
			if b.code != k.code || k.code == 0 || k.stderr == "" {
				t.Errorf("%q: busctl ended with %d, kdbus with %d\n%s%s", args, b.code, k.code, b.stderr, k.stderr)
			}
		}
	})
}

// Of an address that does not say which server it is, the server does.
func TestStatusTellsTheIDOfTheServer(t *testing.T) {
	onBothBuses(t, func(t *testing.T, bus *testbus.Bus) {
		addr, _, _ := strings.Cut(bus.Address, ",guid=")
		b := run(t, bus, "busctl", "--no-pager", "--address="+addr, "status")
		k := run(t, bus, kdbusCommand, "--no-pager", "--address="+addr, "status")
		want, got := used.apply(b.stdout, k.stdout)
		if diff := cmp.Diff(want, got); diff != "" || !strings.Contains(got, "BusID=") {
			t.Errorf("-busctl +kdbus\n%s", diff)
		}
	})
}

// On a bus that tells no more, kdbus knows no more, but for supplementary groups, which busctl does not ask for.
func TestWithoutProcThereIsWhatTheBusTells(t *testing.T) {
	bus := testbus.StartKind(t, testbus.DBusDaemon, testbus.Options{})
	startPlayer(t, bus)
	for _, c := range []struct {
		args        []string
		differences []difference
	}{
		{[]string{"--augment-creds=no", "list"}, []difference{ownRow, leftOver, without("", `(?m)^:[0-9.]+ +[0-9]+ n/a .*\n`), widths}},
		{[]string{"--augment-creds=no", "status", "com.example.Player"}, []difference{groups}},
	} {
		b := run(t, bus, append([]string{"busctl", "--user", "--no-pager"}, c.args...)...)
		k := run(t, bus, append([]string{kdbusCommand, "--user", "--no-pager"}, c.args...)...)
		want, got := b.stdout, k.stdout
		for _, d := range c.differences {
			want, got = d.apply(want, got)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -busctl +kdbus\n%s", c.args, diff)
		}
	}
}

// Flags that say how a message is to be treated are in the message.
func TestMessagesAreBusctls(t *testing.T) {
	onBothBuses(t, func(t *testing.T, bus *testbus.Bus) {
		startPlayer(t, bus)
		w := watch(t, bus, "busctl", "--user", "--json=short", "--match=type='method_call',interface='com.example.Player'",
			"--match=type='signal',interface='a.b'", "--match=interface='org.freedesktop.DBus.Properties'", "monitor")
		for i, args := range [][]string{
			call("Echo", "v", "s", "x"), call("--expect-reply=no", "Echo", "v", "s", "x"), call("--auto-start=no", "Echo", "v", "s", "x"),
			call("--allow-interactive-authorization=no", "Echo", "v", "s", "x"), call("--expect-reply=no", "--auto-start=no", "Echo", "v", "s", "x"),
			property("Volume"), {"set-property", "com.example.Player", "/com/example/Player", "com.example.Player", "Volume", "d", "0.25"},
			{"emit", "/a", "a.b", "C", "a{sv}", "1", "k", "s", "x"}, {"emit", "--destination=com.example.Player", "/a", "a.b", "C"},
			{"emit", "--destination=com.example.Player", "--auto-start=no", "/a", "a.b", "C"},
		} {
			var seen [2]string
			for j, command := range []string{"busctl", kdbusCommand} {
				run(t, bus, append([]string{command, "--user"}, args...)...)
				last := fmt.Sprintf("Last%d", 2*i+j)
				run(t, bus, "busctl", "--user", "emit", "/a", "a.b", last)
				seen[j] = w.cut(t, `"member":"`+last+`"`)
			}
			if diff := cmp.Diff(plainMessages(seen[0]), plainMessages(seen[1])); diff != "" || seen[0] == "" {
				t.Errorf("%q: -busctl +kdbus\n%s", args, diff)
			}
		}
	})
}

// ofOneRun is what differs from run to run in messages.
var ofOneRun = regexp.MustCompile(`"(cookie|reply_cookie|timestamp-realtime)":\d+,|"(sender|destination)":":1\.\d+",?`)

func plainMessages(printed string) []string {
	var lines []string
	for line := range strings.Lines(printed) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "{") && !strings.Contains(line, `"member":"Last`) {
			lines = append(lines, ofOneRun.ReplaceAllString(line, ""))
		}
	}
	return lines
}
