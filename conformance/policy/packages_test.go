//go:build conformance

package policy

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// stockSystem is the configuration of system buses that dbus-daemon comes with, and where packages put theirs.
const stockSystem = "/usr/share/dbus-1/system.conf"

var packageDirectories = []string{"/usr/share/dbus-1/system.d", "/etc/dbus-1/system.d"}

// policyFile is what the tests want to know of a policy file.
type policyFile struct {
	path     string
	Policies []struct {
		Attrs []xml.Attr `xml:",any,attr"`
		Rules []struct {
			XMLName xml.Name
			Attrs   []xml.Attr `xml:",any,attr"`
		} `xml:",any"`
	} `xml:"policy"`
}

func readPolicy(t *testing.T, path string) *policyFile {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &policyFile{path: path}
	if err := xml.Unmarshal(data, f); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return f
}

// packageFiles returns the policy files that packages have brought.
func packageFiles(t *testing.T) (files []*policyFile) {
	t.Helper()
	for _, dir := range packageDirectories {
		paths, err := filepath.Glob(filepath.Join(dir, "*.conf"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			files = append(files, readPolicy(t, path))
		}
	}
	return files
}

// values returns what attributes of rules with these names say, each once.
func (f *policyFile) values(names ...string) []string {
	found := map[string]bool{}
	for _, p := range f.Policies {
		for _, r := range p.Rules {
			for _, a := range r.Attrs {
				if slices.Contains(names, a.Name.Local) && a.Value != "*" {
					found[a.Value] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// users returns the users for whom there are policies, as far as they exist.
func (f *policyFile) users() (names []string) {
	for _, p := range f.Policies {
		for _, a := range p.Attrs {
			if a.Name.Local != "user" {
				continue
			}
			if u, err := user.Lookup(a.Value); err == nil {
				names = append(names, u.Username)
			}
		}
	}
	return names
}

// names returns the bus names that services with this policy have.
func (f *policyFile) names() []string {
	return slices.DeleteFunc(f.values("own", "send_destination", "receive_sender"), func(name string) bool {
		return name == "org.freedesktop.DBus" || !strings.Contains(name, ".")
	})
}

var policyElement = regexp.MustCompile(`(?s)<policy\b.*?</policy>`)

// stockPolicy is the policy of the system bus: what dbus-daemon comes with, and all packages. The files are
// included one by one: dbus-daemon reads a directory in the order in which the file system happens to
// have it, the bus under test by name.
func stockPolicy(t *testing.T, files []*policyFile) string {
	t.Helper()
	data, err := os.ReadFile(stockSystem)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, element := range policyElement.FindAllString(string(data), -1) {
		b.WriteString(element + "\n")
	}
	for _, f := range files {
		fmt.Fprintf(&b, "<include>%s</include>\n", f.path)
	}
	return b.String() + essential
}

// letters are what a rule is about, and what it is just not about: with another interface, another member, or
// none.
func letters(attrs []xml.Attr, name string) (all []letter) {
	value := func(attr, other string) string {
		for _, a := range attrs {
			if a.Name.Local == attr && a.Value != "*" {
				return a.Value
			}
		}
		return other
	}
	pick := func(field, otherwise string) string {
		return cmp.Or(value("send_"+field, ""), value("receive_"+field, ""), otherwise)
	}
	base := letter{
		name: name, typ: peer.TypeCall, alone: true,
		path: pick("path", "/org/example"), iface: pick("interface", "org.example.None"), member: pick("member", "Other"),
	}
	if pick("type", "") == "signal" {
		base.typ = peer.TypeSignal
	}
	all = append(all, base)
	for _, change := range []func(*letter){
		func(l *letter) { l.iface = "org.example.Other" },
		func(l *letter) { l.member = "Another" },
		func(l *letter) { l.path = "/" },
		func(l *letter) { l.iface, l.typ = "", peer.TypeCall },
		func(l *letter) { l.typ = peer.TypeSignal; l.iface = cmp.Or(l.iface, "org.example.None") },
	} {
		other := base
		change(&other)
		if !slices.Contains(all, other) {
			all = append(all, other)
		}
	}
	return all
}

// packageWorlds are the buses on which a service stands for each policy file, and one client for each
// user who might be meant.
func packageWorlds(t *testing.T, files []*policyFile) (worlds []*world, senders []string) {
	t.Helper()
	users := []string{"root", "daemon", "nobody"}
	var roles []role
	for i, f := range files {
		roles = append(roles, role{label: fmt.Sprintf("service%d", i), user: "root", names: f.names(), matches: []string{"type='signal'"}})
		users = append(users, f.users()...)
	}
	slices.Sort(users)
	for _, name := range slices.Compact(users) {
		roles = append(roles, role{label: name, user: name})
		senders = append(senders, name)
	}
	none := func(role) bool { return false }
	worlds = append(worlds, open(t, "dbus-daemon", testbus.DBusDaemon, roles, none))
	worlds = append(worlds, open(t, "under test", testbus.UnderTest(), roles, none))
	worlds = append(worlds, open(t, "under test, with native peers", testbus.UnderTest(), roles, func(role) bool { return true }))
	if !ruled(t, worlds, stockPolicy(t, files)) {
		t.Fatal("no bus accepts the stock policy")
	}
	return worlds, senders
}

func TestPackagesArePermittedTheSame(t *testing.T) {
	files := packageFiles(t)
	if len(files) < 20 {
		t.Errorf("there are only %d policy files; conformance/install installs packages that bring more", len(files))
	}
	worlds, senders := packageWorlds(t, files)
	outcomes, sent := map[string]int{}, 0
	for i, f := range files {
		t.Run(filepath.Base(f.path), func(t *testing.T) {
			tried := map[letter]bool{}
			for _, p := range f.Policies {
				for _, r := range p.Rules {
					for _, name := range f.names() {
						for _, l := range letters(r.Attrs, name) {
							for _, l.from = range senders {
								l.to = fmt.Sprintf("service%d", i)
								if tried[l] {
									continue
								}
								tried[l] = true
								letter := l
								outcomes[exchange(t, worlds, &letter, f.path)]++
								sent++
							}
						}
					}
				}
			}
		})
	}
	t.Logf("%d files, %d messages by %d users, %d different outcomes", len(files), sent, len(senders), len(outcomes))
}

func TestPackagesOwnTheSame(t *testing.T) {
	files := packageFiles(t)
	worlds, users := packageWorlds(t, files)
	for _, f := range files {
		for _, name := range append(f.names(), "org.example.None") {
			for _, who := range users {
				compare(t, worlds, who+" owns "+name, func(w *world) string {
					m := w.members[who]
					if err := m.own(name); err != nil {
						return w.normal(err.Error())
					}
					if err := m.release(name); err != nil {
						return w.normal(err.Error())
					}
					return "owned"
				})
			}
		}
	}
}
