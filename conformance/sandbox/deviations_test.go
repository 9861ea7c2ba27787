//go:build conformance

package sandbox

import (
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

// difference is what an action has brought through xdg-dbus-proxy, and through the sandbox.
type difference struct {
	action action
	want   []string
	got    []string
	// wantByOwner is what it brings through the proxy if it is sent not to the name but to the owner's unique name.
	wantByOwner []string
	// released are who gave names back before.
	released map[string]bool
}

// A deviation is a way in which the two differ on purpose; docs/sandbox.md has them, too.
type deviation struct {
	name string
	why  string
	// holds reports whether a difference is of this kind, and nothing else.
	holds func(d difference) bool
	// flags and actions show it.
	flags   []string
	actions []action
}

const (
	denied      = "in < error name=org.freedesktop.DBus.Error.AccessDenied"
	unknownName = "in < error name=org.freedesktop.DBus.Error.ServiceUnknown"
	noOwner     = "in < error name=org.freedesktop.DBus.Error.NameHasNoOwner"
	noMethod    = "in < error name=org.freedesktop.DBus.Error.UnknownMethod"
)

// isAbsence reports whether all there is is an error that says that something does not exist.
func isAbsence(lines []string) bool { return is(lines, unknownName) || is(lines, noOwner) }

func is(lines []string, only string) bool { return len(lines) == 1 && lines[0] == only }

func (a action) asks(what string) bool { return strings.HasPrefix(a.title, "in asks "+what+" ") }

var deviations = []deviation{
	{
		"two errors for what does not exist",
		"The bus has an error of its own for each question about what does not exist, as dbus-daemon has; what is hidden gets the same one.",
		func(d difference) bool { return isAbsence(d.want) && isAbsence(d.got) },
		nil,
		[]action{asking("GetConnectionUnixUser", "a.b")},
	},
	{
		"an error where no reply is expected",
		"The bus tells senders of signals and of calls without a reply that they were refused, as dbus-daemon does. The proxy says nothing.",
		func(d difference) bool {
			return len(d.want) == 0 && (is(d.got, denied) || isAbsence(d.got)) && d.action.silent
		},
		nil,
		[]action{sending("in", "a.b", "/o", "i.A", "M", 0, true)},
	},
	{
		"what is seen and is not there",
		"Who may see a name, and not talk to it, is told the truth if nobody owns it. The proxy denies access before it is known.",
		func(d difference) bool {
			return is(d.want, denied) && isAbsence(d.got) && (d.action.to != "" || d.action.asks("StartServiceByName"))
		},
		[]string{"--see=no.body"},
		[]action{sending("in", "no.body", "/o", "i.A", "M", 0, false)},
	},
	{
		"owning what is not to be owned",
		"Asking for a name that may not be owned is always denied, whether it exists or not. The proxy says of hidden names that they do not exist.",
		func(d difference) bool {
			return isAbsence(d.want) && is(d.got, denied) && strings.HasPrefix(d.action.title, "in requests ")
		},
		nil,
		[]action{requesting("a.b", 0)},
	},
	{
		"giving back what is not owned",
		"A name that is not owned can be given back: the answer is that it is not owned, or, if it is hidden, that it does not exist.",
		func(d difference) bool {
			return (isAbsence(d.want) && is(d.got, "in < reply 2") || is(d.want, denied) && (is(d.got, "in < reply 3") || is(d.got, "in < reply 2"))) &&
				strings.HasPrefix(d.action.title, "in releases ")
		},
		[]string{"--see=a.b"},
		[]action{releasing("a.b")},
	},
	{
		"who waits for a name",
		"To see a name is enough to ask who waits for it; those who may not be seen are left out. With the proxy one has to be allowed to own it.",
		func(d difference) bool {
			return d.action.asks("ListQueuedOwners") && is(d.want, denied) && len(d.got) == 1 && (isAbsence(d.got) || strings.HasPrefix(d.got[0], "in < reply ["))
		},
		[]string{"--see=a.b"},
		[]action{asking("ListQueuedOwners", "a.b")},
	},
	{
		"methods of the bus",
		"The proxy denies what it does not know of the bus's methods. The bus says that there are none, and has more.",
		func(d difference) bool {
			has := d.action.title == pingingBus().title || d.action.title == readingProperty().title
			return is(d.want, denied) && d.action.to == "" && (is(d.got, noMethod) || has && len(d.got) == 1 && strings.HasPrefix(d.got[0], "in < reply"))
		},
		nil,
		[]action{callingBus("calls what is not there", peer.DriverCall("NoSuchMethod", "")), pingingBus(), readingProperty()},
	},
	{
		"starting what runs",
		"Who sees that a service runs may ask to start it, and is told so.",
		func(d difference) bool {
			return d.action.asks("StartServiceByName") && is(d.want, denied) && is(d.got, "in < reply 2")
		},
		[]string{"--see=a.b"},
		[]action{asking("StartServiceByName", "a.b")},
	},
	{
		"names that were given back",
		"With the proxy, what was permitted with a connection because of a name still is when it has given the name back. The bus knows whose name it is.",
		func(d difference) bool { return d.released[d.action.who] && d.stricter() },
		[]string{"--talk=a.b.c"},
		[]action{twoReleases("a.b.c"), sending("in", "@two", "/o", "i.A", "M", 0, false)},
	},
	{
		"whose process it is",
		"The bus tells the process and the credentials of the client; of who is behind the proxy it knows those of the proxy.",
		func(d difference) bool {
			asked := d.action.title == "in asks GetConnectionUnixProcessID of @in" || d.action.title == "in asks GetConnectionCredentials of @in"
			return asked && len(d.want) == 1 && len(d.got) == 1 &&
				strings.HasPrefix(d.want[0], "in < reply ") && strings.HasPrefix(d.got[0], "in < reply ")
		},
		nil,
		[]action{asking("GetConnectionUnixProcessID", "@in")},
	},
	{
		"all names of a connection",
		"Who may send something to one name of a connection may send it to the connection, by whichever name: kdbus.policy(7), " +
			"\"TALK access and multiple well-known names per connection\". With the proxy that is so for unique names only.",
		func(d difference) bool {
			return (is(d.want, denied) || len(d.want) == 0) && d.wantByOwner != nil && slices.Equal(d.wantByOwner, d.got)
		},
		[]string{"--see=a.b.c", "--talk=x.y"},
		[]action{sending("in", "a.b.c", "/o", "i.A", "M", 0, false)},
	},
}

// stricter reports whether less gets through, and nothing that did not get through the proxy.
func (d difference) stricter() bool {
	for _, line := range d.got {
		if !slices.Contains(d.want, line) && line != denied && line != unknownName && line != noOwner && line != "in < reply false" {
			return false
		}
	}
	return len(d.want) > 0
}

// deviation returns which one a difference is.
func (d difference) deviation() (name string, ok bool) {
	for _, v := range deviations {
		if v.holds(d) {
			return v.name, true
		}
	}
	return "", false
}
