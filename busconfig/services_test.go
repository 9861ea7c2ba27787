package busconfig

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func serviceText(name string, more ...string) string {
	return "[D-BUS Service]\nName=" + name + "\nExec=/bin/true\n" + strings.Join(more, "\n")
}

func TestServicesInOrderOfPrecedence(t *testing.T) {
	dir := t.TempDir()
	put := func(file, text string) { write(t, filepath.Join(dir, file), text) }
	put("1/a.b.service", serviceText("a.b"))
	put("1/other.service", serviceText("c.d"))
	put("1/broken.service", "Name=x")
	put("1/a.b.service.bak", "no service")
	put("1/directory.service/x", "")
	put("2/a.b.service", serviceText("a.b", "User=second"))
	put("2/c.d.service", serviceText("c.d", "User=second"))
	put("2/AAA.service", serviceText("e.f"))
	put("2/e.f.service", serviceText("e.f", "User=right"))
	put("2/zzz.service", serviceText("e.f"))
	put("runtime/g.h.service", serviceText("g.h"))
	put("runtime/wrong.service", serviceText("i.j"))
	put("file", "")
	dirs := []ServiceDirectory{
		{Path: dir + "/runtime", Runtime: true}, {Path: dir + "/1"}, {Path: dir + "/none"}, {Path: dir + "/file"}, {Path: dir + "/2"},
	}
	s := LoadServices(dirs, false)
	var got, warnings []string
	for one := range s.All() {
		got = append(got, strings.TrimPrefix(one.File, dir)+" "+one.User)
	}
	if diff := cmp.Diff([]string{"/1/a.b.service ", "/1/other.service ", "/2/e.f.service right", "/runtime/g.h.service "}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, w := range s.Warnings {
		warnings = append(warnings, strings.ReplaceAll(w.String(), dir, "DIR"))
	}
	slices.Sort(warnings)
	if diff := cmp.Diff([]string{
		`DIR/1/broken.service:1: "Name=x" stands before the first [section]; move it into one; the service is not found`,
		"DIR/1/directory.service: cannot read the file DIR/1/directory.service: it is not a regular file; the service is not found",
		"DIR/2/e.f.service: Name: e.f is provided by DIR/2/AAA.service too; remove one of the files",
		"DIR/2/zzz.service: Name: e.f is provided by DIR/2/e.f.service too; remove one of the files",
		"DIR/file: services in it are not found: not a directory",
		"DIR/runtime/wrong.service: Name: the file is ignored, for in this directory it has to be called i.j.service; rename it",
	}, warnings); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if s.Len() != 4 || s.Lookup("a.b") == nil || s.Lookup("i.j") != nil {
		t.Error(s.Len(), "services")
	}
	s = LoadServices(dirs, true)
	if !slices.ContainsFunc(s.Warnings, func(w Warning) bool {
		return strings.HasSuffix(w.File, "/1/other.service") && strings.HasPrefix(w.Reason, "only systemd can start the service unless")
	}) {
		t.Error(s.Warnings)
	}
}

func TestHelperStartsOnlyWhatIsNamedAfterItsName(t *testing.T) {
	dir := t.TempDir()
	put := func(file, text string) { write(t, filepath.Join(dir, file), text) }
	put("1/a.b.service", serviceText("a.b", "User=joe"))
	put("1/no.user.service", serviceText("no.user"))
	put("1/other.name.service", serviceText("x.y", "User=joe"))
	put("1/file.service", serviceText("z.z", "User=joe"))
	put("1/broken.one.service", "x")
	put("2/a.b.service", serviceText("a.b", "User=root"))
	put("2/c.d.service", serviceText("c.d", "User=root"))
	put("1/second.try.service", "x")
	put("2/second.try.service", serviceText("second.try", "User=root"))
	put("e.f.service", serviceText("../e.f", "User=root"))
	dirs := []ServiceDirectory{{Path: dir + "/none"}, {Path: dir + "/1"}, {Path: dir + "/2"}}
	for name, want := range map[string]string{
		"a.b":        "user joe",
		"c.d":        "user root",
		"second.try": "user root",
		"no.user":    "User: is missing",
		"other.name": "Name: is x.y, but the file is named after other.name; rename it to x.y.service",
		"z.z":        "no such service: no directory has z.z.service",
		"broken.one": `:1: "x" stands before`,
		"../e.f":     "no such service: wire: invalid well-known name",
		"":           "no such service: wire: invalid well-known name",
	} {
		s, info, err := FindHelperService(dirs, name)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = "user " + s.User
			if file, err := os.Stat(s.File); err != nil || !os.SameFile(file, info) {
				t.Errorf("%q: %v is not about %s; %v", name, info, s.File, err)
			}
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s", name, got)
		}
		if none := strings.HasPrefix(want, "no such"); errors.Is(err, ErrNoService) != none {
			t.Errorf("%q: ErrNoService is %t", name, !none)
		}
	}
}

func TestStandardDirectories(t *testing.T) {
	runtime := t.TempDir()
	file := write(t, filepath.Join(t.TempDir(), "file"), "")
	for name, test := range map[string]struct {
		env       map[string]string
		want      []string
		complaint string
	}{
		"defaults": {
			map[string]string{"HOME": "/home/joe"},
			[]string{"/home/joe/.local/share/dbus-1/services", "/usr/local/share/dbus-1/services", "/usr/share/dbus-1/services"}, "",
		},
		"all set": {
			map[string]string{"HOME": "/h", "XDG_RUNTIME_DIR": runtime, "XDG_DATA_HOME": "/d", "XDG_DATA_DIRS": "/a::/b/ :/d"},
			[]string{"runtime " + runtime + "/dbus-1/services", "/d/dbus-1/services", "/a/dbus-1/services", "/b/dbus-1/services", "/usr/share/dbus-1/services"}, "",
		},
		"set to nothing": {
			map[string]string{"HOME": "/h", "XDG_DATA_HOME": "", "XDG_DATA_DIRS": ""},
			[]string{"/usr/share/dbus-1/services"}, "",
		},
		"not there": {
			map[string]string{"XDG_RUNTIME_DIR": runtime + "/none", "XDG_DATA_HOME": "", "XDG_DATA_DIRS": ""},
			[]string{"/usr/share/dbus-1/services"}, "cannot be used: no such file or directory",
		},
		"not a directory": {
			map[string]string{"XDG_RUNTIME_DIR": file, "XDG_DATA_HOME": "", "XDG_DATA_DIRS": ""},
			[]string{"/usr/share/dbus-1/services"}, "is not a directory",
		},
	} {
		dirs, complaint := SessionServiceDirectories(func(name string) (string, bool) { v, ok := test.env[name]; return v, ok })
		var got []string
		for _, d := range dirs {
			if d.Runtime {
				d.Path = "runtime " + d.Path
			}
			got = append(got, d.Path)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if (complaint != "") != (test.complaint != "") || !strings.HasSuffix(complaint, test.complaint) {
			t.Errorf("%s: %s", name, complaint)
		}
	}
	if os.Geteuid() == 0 {
		return // all directories may be root's
	}
	if _, complaint := SessionServiceDirectories(func(name string) (string, bool) { return "/", name == "XDG_RUNTIME_DIR" }); complaint == "" {
		t.Error("a directory of another user is taken")
	}
}

func TestSystemUsers(t *testing.T) {
	u := SystemUsers{}
	if id, err := u.User("root"); err != nil || id != 0 {
		t.Error(id, err)
	}
	if id, err := u.Group("root"); err != nil || id != 0 {
		t.Error(id, err)
	}
	if _, err := u.User("no such user"); err == nil {
		t.Error("found")
	}
	if _, err := u.Group("no such group"); err == nil {
		t.Error("found")
	}
}
