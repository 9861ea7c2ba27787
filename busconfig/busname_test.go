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

// twoUsers knows joe and his group.
type twoUsers struct{}

func (twoUsers) User(name string) (uint32, error) {
	if name == "joe" {
		return 1000, nil
	}
	return 0, errors.New("no such user")
}

func (twoUsers) Group(name string) (uint32, error) {
	if name == "audio" {
		return 29, nil
	}
	return 0, errors.New("no such group")
}

// put writes a file, and its directory.
func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBusNameFilesAreReadAsSystemdDid(t *testing.T) {
	for _, test := range []struct {
		what, text string
		want       BusName
	}{
		{"nothing", "[BusName]\n", BusName{Name: "org.example.File", Activating: true, Service: "org.example.File.service", AcceptFileDescriptors: true}},
		{"everything", `# a comment
; another
[Unit]
Description=Something
[BusName]
Name = org.example.Other
Activating=no
Service=other@x.service
AcceptFileDescriptors=off
AllowUser=joe own
AllowUser=0   see
	AllowGroup=audio	talk
AllowWorld=see
[Install]
WantedBy=busnames.target
`, BusName{Name: "org.example.Other", Service: "other@x.service", Access: []NameAccess{
			{AllowUser, 1000, OwnName}, {AllowUser, 0, SeeName}, {AllowGroup, 29, TalkToName}, {AllowWorld, 0, SeeName}}}},
		{"later lines count", "[BusName]\nActivating=no\nActivating=TRUE\nName=a.b\n[X]\nName=c.d\n[BusName]\nName=e.f",
			BusName{Name: "e.f", Activating: true, Service: "org.example.File.service", AcceptFileDescriptors: true}},
		{"lines that go on", "[BusName]\nAllowUser=joe \\\n# between\n  own\nUnknown\\\n=x\\", BusName{Name: "org.example.File", Activating: true,
			Service: "org.example.File.service", AcceptFileDescriptors: true, Access: []NameAccess{{AllowUser, 1000, OwnName}}}},
	} {
		file := put(t, filepath.Join(t.TempDir(), "org.example.File.busname"), test.text)
		got, err := ParseBusName(file, twoUsers{})
		if err != nil {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		test.want.File = file
		if diff := cmp.Diff(&test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, diff)
		}
	}
}

func TestBusNameFilesThatAreWrong(t *testing.T) {
	for _, test := range []struct {
		text, want string
		line       int
	}{
		{"[BusName]\nName=nodot", "Name: is no name", 2},
		{"[BusName]\n\nService=x", "Service: \"x\" is not the name of a unit that ends in .service", 3},
		{"[BusName]\nService=.service", "is not the name of a unit", 2},
		{"[BusName]\nService=a/b.service", "is not the name of a unit", 2},
		{"[BusName]\nActivating=maybe", "Activating: \"maybe\" is neither yes nor no", 2},
		{"[BusName]\nAllowUser=joe", "AllowUser: is \"joe\"; write a user, a space, and one of see, talk and own", 2},
		{"[BusName]\nAllowUser=nobody-here talk", "there is no user \"nobody-here\" on this machine", 2},
		{"[BusName]\nAllowGroup=joe own", "there is no group \"joe\"", 2},
		{"[BusName]\nAllowUser=4294967295 own", "there is no user", 2},
		{"[BusName]\nAllowWorld=everything", "AllowWorld: \"everything\" is not one of see, talk and own", 2},
		{"[BusName]\nAllowUser=joe \\\n dance", "\"dance\" is not one of", 2},
		{"Name=a.b", "stands before the first [section]", 1},
		{"[BusName]\nName", "has no =", 2},
		{"[BusName]\n=x", "has no key", 2},
		{"[BusName", "is not a section", 1},
		{"\xff", "is not text in UTF-8", 0},
	} {
		file := put(t, filepath.Join(t.TempDir(), "a.b.busname"), test.text)
		_, err := ParseBusName(file, twoUsers{})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.File != file || e.Line != test.line || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want line %d: %s", test.text, err, test.line, test.want)
		}
	}
	if _, err := ParseBusName(filepath.Join(t.TempDir(), "none.busname"), twoUsers{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	file := put(t, filepath.Join(t.TempDir(), "nodot.busname"), "[BusName]\n")
	if _, err := ParseBusName(file, twoUsers{}); err == nil || !strings.Contains(err.Error(), "what the file is called is no name") {
		t.Errorf("no name at all: %v", err)
	}
}

func TestDirectoriesOfBusNamesHaveAnOrder(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	put(t, filepath.Join(first, "both.is.busname"), "[BusName]\nService=first.service\n")
	put(t, filepath.Join(second, "both.is.busname"), "[BusName]\nService=second.service\n")
	put(t, filepath.Join(second, "only.second.busname"), "[BusName]\n")
	put(t, filepath.Join(second, "only.second.busname.d/20.conf"), "[BusName]\nAllowWorld=talk\n")
	put(t, filepath.Join(second, "only.second.busname.d/10.conf"), "[BusName]\nAllowWorld=see\nActivating=no\n")
	put(t, filepath.Join(first, "only.second.busname.d/10.conf"), "[BusName]\nAllowUser=joe own\n")
	put(t, filepath.Join(second, "masked.by.link.busname"), "[BusName]\n")
	if err := os.Symlink("/dev/null", filepath.Join(first, "masked.by.link.busname")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(first, "masked.empty.busname"), "")
	put(t, filepath.Join(second, "masked.empty.busname"), "[BusName]\n")
	put(t, filepath.Join(second, "z.alias.busname"), "[BusName]\nName=both.is\n")
	put(t, filepath.Join(second, "broken.one.busname"), "[BusName]\nName=\n")
	put(t, filepath.Join(second, "dbus.service"), "[Service]\n")

	names, warnings := LoadBusNames([]string{first, filepath.Join(first, "none"), second}, twoUsers{})
	var got []string
	for _, b := range names {
		got = append(got, b.Name+" "+b.Service)
	}
	if want := []string{"both.is first.service", "only.second only.second.service"}; !slices.Equal(got, want) {
		t.Fatalf("the names are %q, want %q", got, want)
	}
	want := []NameAccess{{AllowUser, 1000, OwnName}, {AllowWorld, 0, TalkToName}}
	if diff := cmp.Diff(want, names[1].Access); diff != "" || !names[1].Activating {
		t.Errorf("with drop-ins (-want +got):\n%s", diff)
	}
	var said []string
	for _, w := range warnings {
		said = append(said, w.String())
	}
	if len(said) != 2 || !strings.Contains(said[0], "broken.one.busname:2: Name: is no name") || !strings.Contains(said[1], "z.alias.busname: Name: both.is is that of") {
		t.Errorf("the warnings are %q", said)
	}
}

// Whoever wrote a policy did not mean the name to be open.
func TestBusNameWithAWrongPolicyIsClosed(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file.name.busname"), "[BusName]\nAllowUser=ghost own\nAllowWorld=talk\nName=real.name\n")
	names, warnings := LoadBusNames([]string{dir}, twoUsers{})
	if len(names) != 1 || names[0].Name != "real.name" || names[0].Activating {
		t.Fatalf("the names are %+v", names)
	}
	if diff := cmp.Diff([]NameAccess{{AllowUser, 0, OwnName}}, names[0].Access); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].String(), `busname:2: AllowUser: there is no user "ghost"`) {
		t.Errorf("the warnings are %q", warnings)
	}
}

func TestBusNamesAreWhereUnitsAre(t *testing.T) {
	runtime := t.TempDir()
	environment := map[string]string{"HOME": "/home/joe", "XDG_RUNTIME_DIR": runtime, "XDG_DATA_HOME": "/data"}
	lookup := func(name string) (string, bool) { v, ok := environment[name]; return v, ok }
	want := []string{"/home/joe/.config/systemd/user", "/etc/systemd/user", runtime + "/systemd/user", "/run/systemd/user",
		"/data/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"}
	if diff := cmp.Diff(want, BusNameDirectories("session", lookup)); diff != "" {
		t.Errorf("of a session (-want +got):\n%s", diff)
	}
	if got := BusNameDirectories("system", lookup); len(got) != 5 || got[0] != "/etc/systemd/system" {
		t.Errorf("of the system: %q", got)
	}
	if got := BusNameDirectories("", lookup); got != nil {
		t.Errorf("of another bus: %q", got)
	}
}

// FuzzBusName reads any bytes as a .busname file: it ends in an [*Error] that names the file, or in a name.
func FuzzBusName(f *testing.F) {
	f.Add([]byte("[BusName]\nName=a.b\nAllowUser=joe own\nAllowGroup=audio \\\n;\n talk\nActivating=no\nService=x.service\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBusName("/dir/a.b.busname")
		err := b.read("fuzz.busname", data, twoUsers{})
		if err == nil {
			err = b.check()
		}
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Reason == "" || e.File == "" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if !strings.Contains(b.Name, ".") || !strings.HasSuffix(b.Service, unitSuffix) {
			t.Errorf("%+v", b)
		}
		for _, a := range b.Access {
			if a.Kind < AllowUser || a.Kind > AllowWorld || a.Level < SeeName || a.Level > OwnName {
				t.Errorf("it permits %+v", a)
			}
		}
	})
}
