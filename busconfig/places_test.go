package busconfig

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whoever refuses an address, a mechanism, a user or a mode can say where it is written, in whatever file.
func TestPlacesAreThoseOfWhatCounts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	local := write("local.conf", "<busconfig>\n<listen>unix:path=/b</listen>\n<auth>ANONYMOUS</auth>\n"+
		"<user>daemon</user><apparmor mode=\"required\"/>\n</busconfig>\n")
	main := write("main.conf", "<busconfig><listen>unix:path=/a</listen>\n<auth>EXTERNAL</auth>\n<user>nobody</user>\n"+
		"<apparmor mode=\"disabled\"/><include>local.conf</include>\n<include>empty.conf</include>\n"+
		"<listen>unix:path=/c</listen>\n</busconfig>\n")
	write("empty.conf", "<busconfig/>")
	c, err := Parse(main)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]Source{"listen": c.ListenAt, "auth": c.AuthAt, "user": {c.UserAt}, "apparmor": {c.AppArmorAt}}
	want := map[string][]Source{
		"listen":   {{main, 1}, {local, 2}, {main, 6}},
		"auth":     {{main, 2}, {local, 3}},
		"user":     {{local, 4}},
		"apparmor": {{local, 4}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c.User != "daemon" || c.AppArmor != AppArmorRequired || len(c.Listen) != 3 || len(c.Auth) != 2 {
		t.Errorf("%+v", c)
	}
}
