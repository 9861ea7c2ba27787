package busconfig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// testUsers are the users and groups of tests.
type testUsers struct{}

func (testUsers) User(name string) (uint32, error) {
	return lookupTest(map[string]uint32{"root": 0, "daemon": 1, "joe": 1000}, name)
}

func (testUsers) Group(name string) (uint32, error) {
	return lookupTest(map[string]uint32{"root": 0, "audio": 29, "video": 44}, name)
}

func lookupTest(m map[string]uint32, name string) (uint32, error) {
	if id, ok := m[name]; ok {
		return id, nil
	}
	return 0, errors.New("unknown")
}

// testOptions are a world where XDG directories are in dir.
func testOptions(dir string) Options {
	env := map[string]string{"XDG_DATA_HOME": dir + "/home", "XDG_DATA_DIRS": "/a: :/b/", "XDG_RUNTIME_DIR": dir}
	return Options{
		Users:     testUsers{},
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}
}

// Every file in testdata/config holds a configuration that begins with main.conf, and what comes of
// it: "want", or "error", and perhaps "warnings". The directory is called DIR in them. The comment may say
// "selinux".
func TestConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no test data", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			testConfiguration(t, archive)
		})
	}
}

func testConfiguration(t *testing.T, archive *txtar.Archive) {
	dir := t.TempDir()
	expected := map[string]string{}
	for _, f := range archive.Files {
		if f.Name == "want" || f.Name == "error" || f.Name == "warnings" {
			expected[f.Name] = string(f.Data)
			continue
		}
		write(t, filepath.Join(dir, f.Name), string(f.Data))
	}
	options := testOptions(dir)
	if strings.Contains(string(archive.Comment), "selinux") {
		options.SELinuxRoot = dir
	}
	c, err := options.Parse(dir + "/main.conf")
	got := map[string]string{}
	if err != nil {
		got["error"] = strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("the error is a %T", err)
		}
	} else {
		got["want"] = describe(c, dir)
		for _, w := range c.Warnings {
			got["warnings"] += strings.ReplaceAll(w.String(), dir, "DIR") + "\n"
		}
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
		if os.Getenv("UPDATE") != "" {
			for name, text := range got {
				t.Logf("-- %s --\n%s", name, text)
			}
		}
	}
}

func write(t testing.TB, file, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return file
}

// describe writes down what differs from an empty configuration, a line for each fact.
func describe(c *Config, dir string) string {
	var b strings.Builder
	say := func(what string, value any, unless any) {
		if fmt.Sprint(value) != fmt.Sprint(unless) {
			fmt.Fprintf(&b, "%s: %v\n", what, value)
		}
	}
	say("type", c.Type, "")
	say("user", c.User, "")
	say("fork", c.Fork, false)
	say("keep_umask", c.KeepUmask, false)
	say("syslog", c.Syslog, false)
	say("allow_anonymous", c.AllowAnonymous, false)
	say("pidfile", c.PIDFile, "")
	for _, a := range c.Listen {
		say("listen", a, "")
	}
	for _, a := range c.Auth {
		say("auth", a, "")
	}
	for _, d := range c.ServiceDirectories {
		if d.Runtime {
			say("runtime servicedir", d.Path, "")
		} else {
			say("servicedir", d.Path, "")
		}
	}
	say("servicehelper", c.ServiceHelper, "")
	defaults := DefaultLimits()
	values := map[string]int64{}
	for name, v := range defaults.All() {
		values[name] = v
	}
	for name, v := range c.Limits.All() {
		say(name, v, values[name])
	}
	say("apparmor", c.AppArmor, AppArmorEnabled)
	for _, a := range c.Contexts {
		say("associate", a.Name+" "+a.Context, "")
	}
	for _, d := range c.IncludeDirectories {
		say("includedir", d, "")
	}
	for _, r := range c.Policy.Rules() {
		fmt.Fprintf(&b, "%s: %s %s", r.Source, r.Context, r)
		if r.Context.Kind == OfUser || r.Context.Kind == OfGroup {
			fmt.Fprintf(&b, " of %d", r.Context.ID)
		}
		b.WriteString("\n")
	}
	return strings.ReplaceAll(b.String(), dir, "DIR")
}
