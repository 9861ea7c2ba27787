package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/activation/exitcode"
)

// fakeWorld is a system in which this program is setuid root, and root runs the bus.
type fakeWorld struct {
	real, effective int
	owner           int
	mode            os.FileMode
	become          error

	judged fs.FileInfo
	became *account
	exec   []string
	env    []string
}

func (w *fakeWorld) IDs() (int, int) { return w.real, w.effective }

func (w *fakeWorld) Owner(info fs.FileInfo) (int, fs.FileMode) {
	w.judged = info
	return w.owner, w.mode
}

func (w *fakeWorld) Become(a *account) error {
	w.became = a
	return w.become
}

func (w *fakeWorld) Exec(words, environment []string) error {
	w.exec, w.env = words, environment
	return errors.New("it is not there")
}

// configure makes a configuration and its services, by name, and has the helper use it.
func configure(t *testing.T, elements string, services map[string]string) {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range services {
		put(name+".service", text)
	}
	put("system.conf", fmt.Sprintf("<busconfig><listen>unix:path=/x</listen><servicedir>%s</servicedir>%s</busconfig>", dir, elements))
	before := configFile
	configFile = filepath.Join(dir, "system.conf")
	t.Cleanup(func() { configFile = before })
}

func service(name string, more ...string) string {
	return "[D-BUS Service]\nName=" + name + "\n" + strings.Join(more, "\n")
}

func TestHelperBecomesTheService(t *testing.T) {
	configure(t, "<user>root</user>", map[string]string{
		"com.example.A": service("com.example.A", "Exec=/usr/bin/a --one 'two three'", "User=root"),
	})
	t.Setenv("DBUS_STARTER_ADDRESS", "unix:path=/somewhere/else")
	w := &fakeWorld{mode: 0o644}
	if err := launch([]string{"com.example.A"}, w); err.code != exitcode.ExecFailed {
		t.Fatal(err.code, err)
	}
	if want := []string{"/usr/bin/a", "--one", "two three"}; !slices.Equal(w.exec, want) {
		t.Errorf("%q", w.exec)
	}
	if want := []string{"DBUS_STARTER_ADDRESS=unix:path=/run/dbus/system_bus_socket", "DBUS_STARTER_BUS_TYPE=system"}; !slices.Equal(w.env, want) {
		t.Errorf("%q", w.env)
	}
	if w.became == nil || w.became.uid != 0 || w.became.gid != 0 {
		t.Errorf("%+v", w.became)
	}
	if file, err := os.Stat(filepath.Join(filepath.Dir(configFile), "com.example.A.service")); err != nil || !os.SameFile(file, w.judged) {
		t.Errorf("%v was judged, not the file of the service; %v", w.judged, err)
	}
}

// systemd starts the helper as root, in a unit for services that have none.
func TestHelperIsForRootToo(t *testing.T) {
	configure(t, "<user>daemon</user>", map[string]string{"com.example.A": service("com.example.A", "Exec=/usr/bin/a", "User=daemon")})
	w := &fakeWorld{mode: 0o644}
	if err := launch([]string{"com.example.A"}, w); err.code != exitcode.ExecFailed || w.became == nil || w.became.uid == 0 {
		t.Errorf("%d, %v, becomes %+v", err.code, err, w.became)
	}
}

func TestHelperRefuses(t *testing.T) {
	good := func(name string) string { return service(name, "Exec=/usr/bin/a", "User=root") }
	services := map[string]string{
		"com.example.Good":     good("com.example.Good"),
		"com.example.Other":    good("com.example.Good"),
		"com.example.NoUser":   service("com.example.NoUser", "Exec=/usr/bin/a"),
		"com.example.NoExec":   service("com.example.NoExec", "User=root"),
		"com.example.Relative": service("com.example.Relative", "Exec=a", "User=root"),
		"com.example.Quote":    service("com.example.Quote", "Exec=/usr/bin/a 'b", "User=root"),
		"com.example.Stranger": service("com.example.Stranger", "Exec=/usr/bin/a", "User=no-such-user"),
		"com.example.None":     service("com.example.None", "Exec=/usr/bin/a", "User=4294967295"),
		"file":                 good("com.example.Hidden"),
	}
	const user = "<user>root</user>"
	for _, test := range []struct {
		name     string
		args     []string
		elements string
		change   func(*fakeWorld)
		code     int
	}{
		{"no argument", nil, user, nil, exitcode.InvalidArgs},
		{"two arguments", []string{"com.example.Good", "x"}, user, nil, exitcode.InvalidArgs},
		{"an option", []string{"--config-file=/tmp/x"}, user, nil, exitcode.NameInvalid},
		{"a path", []string{"../../tmp/com.example.Good"}, user, nil, exitcode.NameInvalid},
		{"a unique name", []string{":1.5"}, user, nil, exitcode.NameInvalid},
		{"nothing", []string{""}, user, nil, exitcode.NameInvalid},
		{"a name that is too long", []string{"a." + strings.Repeat("b", 300)}, user, nil, exitcode.NameInvalid},
		{"an unknown service", []string{"com.example.Unknown"}, user, nil, exitcode.ServiceNotFound},
		{"a service in a file of another name", []string{"com.example.Hidden"}, user, nil, exitcode.ServiceNotFound},
		{"a file with another service", []string{"com.example.Other"}, user, nil, exitcode.FileInvalid},
		{"a service without user", []string{"com.example.NoUser"}, user, nil, exitcode.FileInvalid},
		{"a service without program", []string{"com.example.NoExec"}, user, nil, exitcode.FileInvalid},
		{"a program that would be looked for", []string{"com.example.Relative"}, user, nil, exitcode.FileInvalid},
		{"a command line that is none", []string{"com.example.Quote"}, user, nil, exitcode.FileInvalid},
		{"a user who is not there", []string{"com.example.Stranger"}, user, nil, exitcode.SetupFailed},
		{"the user that stands for none", []string{"com.example.None"}, user, nil, exitcode.SetupFailed},
		{"a file of somebody else", []string{"com.example.Good"}, user, func(w *fakeWorld) { w.owner = 1000 }, exitcode.FileInvalid},
		{"a file that everybody can write", []string{"com.example.Good"}, user, func(w *fakeWorld) { w.mode = 0o666 }, exitcode.FileInvalid},
		{"a caller who is not the bus", []string{"com.example.Good"}, user, func(w *fakeWorld) { w.real = 1000 }, exitcode.PermissionsInvalid},
		{"missing privileges", []string{"com.example.Good"}, user, func(w *fakeWorld) { w.effective = 1000 }, exitcode.PermissionsInvalid},
		{"an unknown user of the bus", []string{"com.example.Good"}, "<user>no-such-user</user>", nil, exitcode.PermissionsInvalid},
		{"a bus without user", []string{"com.example.Good"}, "", nil, exitcode.ConfigInvalid},
		{"a broken configuration", []string{"com.example.Good"}, "<user>root", nil, exitcode.ConfigInvalid},
		{"a user whom it cannot become", []string{"com.example.Good"}, user, func(w *fakeWorld) { w.become = errors.New("no") }, exitcode.SetupFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			configure(t, test.elements, services)
			w := &fakeWorld{mode: 0o644}
			if test.change != nil {
				test.change(w)
			}
			err := launch(test.args, w)
			if err.code != test.code {
				t.Errorf("exit code %d, want %d (%v)", err.code, test.code, err)
			}
			if w.exec != nil {
				t.Errorf("it executes %q", w.exec)
			}
		})
	}
}

func TestServiceIsNotProtectedLikeTheBus(t *testing.T) {
	for was, want := range map[string]string{"-900\n": "0", "0\n": "0\n", "300\n": "300\n"} {
		file := filepath.Join(t.TempDir(), "oom_score_adj")
		if err := os.WriteFile(file, []byte(was), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unprotect(file); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%q became %q, want %q; %v", was, got, want, err)
		}
	}
}
