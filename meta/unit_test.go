package meta_test

import (
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/meta"
)

func TestUnitsOfAControlGroup(t *testing.T) {
	for path, want := range map[string]string{
		"/system.slice/foobar.service/sdfdsaf":                                  "foobar.service",
		"/system.slice/getty@tty5.service":                                      "getty@tty5.service",
		"/system.slice/getty@tty5.service/aaa/bbb":                              "getty@tty5.service",
		"/system.slice/getty@tty5.service////":                                  "getty@tty5.service",
		"/system.slice/system-waldo.slice/foobar.service/sdfdsaf":               "foobar.service",
		"//system.slice//foobar.service":                                        "foobar.service",
		"/init.scope":                                                           "init.scope",
		"/user.slice/user-1000.slice/session-2.scope":                           "session-2.scope",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/gnome.service": "user@1000.service",
		`/system.slice/dev-disk-by\x2dlabel-swap.swap`:                          `dev-disk-by\x2dlabel-swap.swap`,
		"/system.slice/dbus:a_b.service":                                        "dbus:a_b.service",
		// names that the kernel could take for its own have an underscore before them
		"/system.slice/system-waldo.slice/_cpu.service/sdfdsaf": "cpu.service",
		"/_cpu.slice/_cpu.service":                              "cpu.service",
		"/system.slice/__x.service":                             "_x.service",

		"":                             "",
		"/":                            "",
		"/system.slice":                "",
		"/user.slice/user-1000.slice":  "",
		"sadfdsafsda":                  "",
		"/docker/0123456789abcdef":     "",
		"/docker/foobar.service":       "",
		"/system.slice/getty@.service": "", // a template
		"/system.slice/@tty1.service":  "",
		"/system.slice/getty####@tty6.service/xx":                "",
		"/system.slice/.service":                                 "",
		"/system.slice/foobar":                                   "",
		"/system.slice/foobar.sarvice":                           "",
		"/system.slice/" + strings.Repeat("x", 248) + ".service": "",
	} {
		if got := meta.CGroupPath(path).Unit(); got != want {
			t.Errorf("unit of %q is %q, want %q", path, got, want)
		}
	}
	long := strings.Repeat("x", 247) + ".service"
	if got := meta.CGroupPath("/" + long).Unit(); got != long {
		t.Errorf("unit with a name of 255 bytes is %q", got)
	}
}

func TestSlicesOfAControlGroup(t *testing.T) {
	for path, want := range map[string]string{
		"":                             "-.slice",
		"/":                            "-.slice",
		"/foobar":                      "-.slice",
		"/init.scope":                  "-.slice",
		"/foobar.service/system.slice": "-.slice",
		"/system.slice":                "system.slice",
		"/system.slice/foobar.service": "system.slice",
		"/user.slice/user-1000.slice/session-2.scope":   "user-1000.slice",
		"/a.slice//a-b.slice///a-b-c.slice/foo.service": "a-b-c.slice",
		"/_cpu.slice/foo.service":                       "cpu.slice",
		"/a--b.slice/foo.service":                       "-.slice", // not a slice
		"/-a.slice":                                     "-.slice",
		"/a-.slice":                                     "-.slice",
		"/a@b.slice":                                    "-.slice",
	} {
		if got := meta.CGroupPath(path).Slice(); got != want {
			t.Errorf("slice of %q is %q, want %q", path, got, want)
		}
	}
}

func TestUserUnitsAndSlicesOfAControlGroup(t *testing.T) {
	for path, want := range map[string]struct{ unit, slice string }{
		"/user.slice/user-1000.slice/user@1000.service/server.service":                      {"server.service", "-.slice"},
		"/user.slice/user-1000.slice/user@1000.service/foobar.slice/foobar@pie.service":     {"foobar@pie.service", "foobar.slice"},
		"/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome.slice/x.scope/y": {"x.scope", "app-gnome.slice"},
		"/user.slice/user-1000.slice/user@1000.service/_cpu.service":                        {"cpu.service", "-.slice"},
		"/user.slice/user-1000.slice/user@1000.service/init.scope":                          {"init.scope", "-.slice"},
		"/user.slice/user-1000.slice/user@1000.service":                                     {"", "-.slice"},
		"/user@0.service/foo.service":                                                       {"foo.service", "-.slice"},
		"/xyz.slice/xyz-waldo.slice/session-77.scope/foobar@pie.service":                    {"foobar@pie.service", "-.slice"},
		"/user.slice/user-1000.slice/session-2.scope":                                       {"", "-.slice"},

		"":                                      {},
		"/":                                     {},
		"/meh.service":                          {},
		"/system.slice/foo.service/bar.service": {},
		"/user.slice/user-1000.slice/user@karl.service/foo.service":       {},
		"/user.slice/user-1000.slice/user@4294967295.service/foo.service": {},
		"/user.slice/user-1000.slice/session-.scope/foo.service":          {},
	} {
		p := meta.CGroupPath(path)
		if got := p.UserUnit(); got != want.unit {
			t.Errorf("user unit of %q is %q, want %q", path, got, want.unit)
		}
		if got := p.UserSlice(); got != want.slice {
			t.Errorf("user slice of %q is %q, want %q", path, got, want.slice)
		}
	}
}

func TestSessionsOfAControlGroup(t *testing.T) {
	for path, want := range map[string]string{
		"/user.slice/user-1000.slice/session-2.scope/foobar.service": "2",
		"/user.slice/user-1000.slice/session-3.scope":                "3",
		"/user.slice/user-1000.slice/session-c1.scope":               "c1",
		"/user.slice/user-1000.slice/user@1000.service/foo.service":  "",
		"/user.slice/user-1000.slice/session-.scope":                 "",
		"/user.slice/user-1000.slice/session-2:3.scope":              "",
		"/session-2.service":                                         "",
		"":                                                           "",
	} {
		if got := meta.CGroupPath(path).Session(); got != want {
			t.Errorf("session of %q is %q, want %q", path, got, want)
		}
	}
}

func TestOwnersOfAControlGroup(t *testing.T) {
	const none = -1
	for path, want := range map[string]int64{
		"/user.slice/user-1000.slice/session-2.scope/foobar.service": 1000,
		"/user.slice/user-1006.slice":                                1006,
		"/user.slice/user-0.slice/session-1.scope":                   0,
		"/user.slice/user-4294967294.slice":                          4294967294,
		"":                                                           none,
		"/system.slice/foo.service":                                  none,
		"/user.slice":                                                none,
		"/user.slice/user-.slice":                                    none,
		"/user.slice/user-karl.slice":                                none,
		"/user.slice/user-01.slice":                                  none,
		"/user.slice/user-65535.slice":                               none, // (uid_t) -1 of 16 bits
		"/user.slice/user-4294967295.slice":                          none,
		"/user.slice/user-4294967296.slice":                          none,
	} {
		uid, ok := meta.CGroupPath(path).OwnerUID()
		got := int64(uid)
		if !ok {
			got = none
		}
		if got != want {
			t.Errorf("owner of %q is %d, want %d", path, got, want)
		}
	}
}

// Whatever the path: what is found in it is there.
func TestControlGroupsAreNotInventedFrom(t *testing.T) {
	elements := rapid.SampledFrom([]string{
		"user.slice", "user-1000.slice", "user@1000.service", "session-2.scope", "foo.service", "_cpu.service",
		"a-b.slice", "x", "_", "", "@", ".", "-.slice", "getty@.service", "user@.service", "\x00", "\xff.service",
	})
	rapid.Check(t, func(t *rapid.T) {
		path := strings.Join(rapid.SliceOf(elements).Draw(t, "elements"), "/")
		p := meta.CGroupPath(path)
		for _, got := range []string{p.Unit(), p.UserUnit(), p.Session()} {
			if !strings.Contains(path, got) {
				t.Errorf("%q is not in %q", got, path)
			}
		}
		for _, got := range []string{p.Slice(), p.UserSlice()} {
			if got != "-.slice" && !strings.Contains(path, got) {
				t.Errorf("%q is not in %q", got, path)
			}
		}
		if uid, ok := p.OwnerUID(); ok && !strings.Contains(path, "user-"+strconv.Itoa(int(uid))+".slice") {
			t.Errorf("user %d is not in %q", uid, path)
		}
	})
}

func FuzzCGroupPath(f *testing.F) {
	f.Add("/user.slice/user-1000.slice/user@1000.service/app.slice/foo@bar.service/x")
	f.Add("/user.slice/user-1000.slice/session-2.scope")
	f.Add("//_cpu.slice/__x.service")
	f.Fuzz(func(t *testing.T, path string) {
		p := meta.CGroupPath(path)
		p.UserUnit()
		p.UserSlice()
		p.OwnerUID()
		if s := p.Session(); s != "" && p.Unit() != "session-"+s+".scope" {
			t.Errorf("session %q in unit %q", s, p.Unit())
		}
	})
}
