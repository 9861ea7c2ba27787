package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/busconfig"
)

func TestWhatTheKernelWouldMediateIsTold(t *testing.T) {
	const (
		enforce  = "sys/fs/selinux/enforce"
		selinux  = "etc/selinux/config"
		apparmor = "sys/module/apparmor/parameters/enabled"
		mask     = "sys/kernel/security/apparmor/features/dbus/mask"
	)
	associated := &busconfig.Config{File: "bus.conf", Contexts: []busconfig.Association{
		{Source: busconfig.Source{File: "bus.conf", Line: 5}, Name: "com.example.A", Context: "a_t"},
		{Source: busconfig.Source{File: "bus.conf", Line: 6}, Name: "com.example.B", Context: "b_t"},
	}}
	for _, c := range []struct {
		name  string
		files map[string]string
		conf  *busconfig.Config
		root  string   // of the SELinux policy
		want  []string // beginnings of the warnings
	}{
		{"nothing there", nil, associated, "", nil},
		{"SELinux", map[string]string{enforce: "1", selinux: "SELINUX=enforcing\n # SELINUXTYPE=none\nSELINUXTYPE=mls\n"},
			&busconfig.Config{File: "bus.conf"}, "etc/selinux/mls", []string{"bus.conf: SELinux is enabled, but"}},
		{"SELinux with associations", map[string]string{enforce: "0"}, associated, "etc/selinux/targeted",
			[]string{"bus.conf:5: <associate>: SELinux is enabled, but"}},
		{"AppArmor", map[string]string{apparmor: "Y\n", mask: "acquire send receive\n"}, &busconfig.Config{File: "bus.conf"}, "",
			[]string{"bus.conf: <apparmor>: AppArmor is enabled, but"}},
		{"AppArmor without D-Bus", map[string]string{apparmor: "Y\n"}, &busconfig.Config{}, "", nil},
		{"AppArmor that is off", map[string]string{apparmor: "N\n", mask: "acquire\n"}, &busconfig.Config{}, "", nil},
		{"AppArmor that is not wanted", map[string]string{apparmor: "Y\n", mask: "acquire\n"},
			&busconfig.Config{AppArmor: busconfig.AppArmorDisabled}, "", nil},
	} {
		root := t.TempDir()
		for name, content := range c.files {
			file := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m := securityModulesAt(root)
		if c.root != "" {
			c.root = filepath.Join(root, c.root)
		}
		if m.selinuxRoot != c.root {
			t.Errorf("%s: the SELinux policy is in %q, want %q", c.name, m.selinuxRoot, c.root)
		}
		got := m.warnings(c.conf)
		if len(got) != len(c.want) {
			t.Fatalf("%s: %v", c.name, got)
		}
		for i, w := range got {
			if !strings.HasPrefix(w.String(), c.want[i]) {
				t.Errorf("%s: %v", c.name, w)
			}
		}
	}
}
