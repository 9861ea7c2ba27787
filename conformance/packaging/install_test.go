//go:build conformance

package packaging

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// files returns the files below dir with their modes.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if strings.HasPrefix(name, "/usr/share/man/man1/kdbus-") {
			name = "/usr/share/man/man1/kdbus-*.1"
		}
		all[name] = fmt.Sprintf("%04o", info.Sys().(*syscall.Stat_t).Mode&0o7777)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The helper is setuid only if there is somebody who may run it, and root to say so.
func helperMode() (mode, group string) {
	if os.Getuid() == 0 {
		for _, group := range []string{"messagebus", "dbus"} {
			if _, err := user.LookupGroup(group); err == nil {
				return "4754", group
			}
		}
	}
	return "0754", ""
}

func TestInstallPutsFilesWhereTheyBelong(t *testing.T) {
	mode, group := helperMode()
	everywhere := map[string]string{
		"/usr/bin/kdbus":                                  "0755",
		"/usr/libexec/kdbus-launch-helper":                mode,
		"/usr/share/man/man1/kdbus.1":                     "0644",
		"/usr/share/man/man1/kdbus-*.1":                   "0644",
		"/usr/share/bash-completion/completions/kdbus":    "0644",
		"/usr/share/zsh/site-functions/_kdbus":            "0644",
		"/usr/share/fish/vendor_completions.d/kdbus.fish": "0644",
	}
	systemd := map[string]string{
		"/usr/lib/systemd/system/kdbus.service":         "0644",
		"/usr/lib/systemd/user/kdbus.service":           "0644",
		"/usr/lib/systemd/system/kdbus-launch@.service": "0644",
	}
	s6 := map[string]string{
		"/usr/share/kdbus/s6/kdbus/run":             "0755",
		"/usr/share/kdbus/s6/kdbus/finish":          "0755",
		"/usr/share/kdbus/s6/kdbus/type":            "0644",
		"/usr/share/kdbus/s6/kdbus/notification-fd": "0644",
	}
	openrc := map[string]string{"/etc/init.d/kdbus": "0755"}
	for _, test := range []struct {
		init string
		want []map[string]string
	}{
		{all, []map[string]string{everywhere, systemd, s6, openrc}},
		{"INIT=openrc", []map[string]string{everywhere, openrc}},
		{"INIT=none", []map[string]string{everywhere}},
	} {
		t.Run(test.init, func(t *testing.T) {
			dir := t.TempDir()
			if err := makeTarget("install", "DESTDIR="+dir, "PREFIX=/usr", test.init); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			for _, part := range test.want {
				for name, mode := range part {
					want[name] = mode
				}
			}
			if diff := cmp.Diff(want, files(t, dir)); diff != "" {
				t.Error(diff)
			}
			if group != "" {
				info, err := os.Stat(filepath.Join(dir, "usr/libexec/kdbus-launch-helper"))
				if err != nil {
					t.Fatal(err)
				}
				stat := info.Sys().(*syscall.Stat_t)
				if g, err := user.LookupGroupId(fmt.Sprint(stat.Gid)); err != nil || g.Name != group || stat.Uid != 0 {
					t.Errorf("the helper is of user %d and group %v, %v", stat.Uid, g, err)
				}
			}
			// What somebody else has put there stays.
			other := filepath.Join(dir, "usr/share/kdbus/s6/other")
			if err := os.MkdirAll(filepath.Dir(other), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(other, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := makeTarget("uninstall", "DESTDIR="+dir, "PREFIX=/usr"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"/usr/share/kdbus/s6/other": "0644"}, files(t, dir)); diff != "" {
				t.Error("after make uninstall:", diff)
			}
		})
	}
}

// Files have no place in them where they were built or staged.
func TestInstalledFilesNameTheirPrefix(t *testing.T) {
	dir := t.TempDir()
	if err := makeTarget("install", "DESTDIR="+dir, "PREFIX=/opt/bus", all); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lib/systemd/system/kdbus.service", "lib/systemd/user/kdbus.service", "lib/systemd/system/kdbus-launch@.service", "share/kdbus/s6/kdbus/run", "etc/init.d/kdbus"} {
		text, err := os.ReadFile(filepath.Join(dir, "opt/bus", name))
		switch {
		case err != nil:
			t.Error(err)
		case !strings.Contains(string(text), "/opt/bus/"), strings.Contains(string(text), "dir@"), strings.Contains(string(text), dir):
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestScriptsAreSound(t *testing.T) {
	dir := installed(t)
	for _, script := range []string{
		root + "/packaging/install", dir + "/share/kdbus/s6/kdbus/run", dir + "/share/kdbus/s6/kdbus/finish", dir + "/etc/init.d/kdbus",
		"testdata/s6.sh", "testdata/openrc.sh", "testdata/systemd.sh",
	} {
		output(t, "sh", "-n", script)
		output(t, "shellcheck", "--shell=sh", script)
	}
	output(t, "shellcheck", root+"/conformance/install", root+"/.ci/run")
}
