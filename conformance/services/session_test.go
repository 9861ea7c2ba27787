//go:build conformance

package services

import (
	"regexp"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
)

// TestSessionServices has programs of a desktop session start the services they need, by activation,
// and talk to them.
func TestSessionServices(t *testing.T) {
	for _, s := range []struct {
		name    string
		service []string // to be started by hand; most are activated
		owns    string
		clients []client
	}{
		{name: "dconf", owns: "ca.desrt.dconf", clients: []client{
			succeeds(``, "dconf", "write", "/conformance/x", "'hello'"),
			succeeds(`^'hello'\n$`, "dconf", "read", "/conformance/x"),
			succeeds(``, "gsettings", "set", "org.gnome.desktop.interface", "clock-format", "12h"),
			succeeds(`^'12h'\n$`, "gsettings", "get", "org.gnome.desktop.interface", "clock-format"),
			succeeds(`clock-format='12h'`, "dconf", "dump", "/org/gnome/desktop/interface/"),
		}},
		{name: "gnome-keyring", owns: "org.freedesktop.secrets", service: []string{"sh", "-c", `printf pw | exec gnome-keyring-daemon --unlock --components=secrets --foreground`}, clients: []client{
			succeeds(``, "sh", "-c", `printf s3cret | secret-tool store --label=conformance a b`),
			succeeds(`^s3cret$`, "secret-tool", "lookup", "a", "b"),
			succeeds(`label = conformance`, "secret-tool", "search", "a", "b"),
		}},
		{name: "permission store", owns: "org.freedesktop.impl.portal.PermissionStore", clients: []client{
			succeeds(`interface org.freedesktop.impl.portal.PermissionStore`, "gdbus", "introspect", "--session", "-d", "org.freedesktop.impl.portal.PermissionStore", "-o", "/org/freedesktop/impl/portal/PermissionStore"),
			succeeds(``, "busctl", "--user", "call", "org.freedesktop.impl.portal.PermissionStore", "/org/freedesktop/impl/portal/PermissionStore", "org.freedesktop.impl.portal.PermissionStore", "SetPermission", "sbssas", "table", "true", "id", "app", "1", "yes"),
			succeeds(`^as 1 "yes"\n`, "busctl", "--user", "call", "org.freedesktop.impl.portal.PermissionStore", "/org/freedesktop/impl/portal/PermissionStore", "org.freedesktop.impl.portal.PermissionStore", "GetPermission", "sss", "table", "id", "app"),
		}},
		{name: "portals", owns: "org.freedesktop.portal.Desktop", clients: []client{
			succeeds(`org.freedesktop.portal.(Settings|Trash|NetworkMonitor)`, "gdbus", "introspect", "--session", "-d", "org.freedesktop.portal.Desktop", "-o", "/org/freedesktop/portal/desktop"),
		}},
		{name: "at-spi", owns: "org.a11y.Bus", clients: []client{
			succeeds(`^\('unix:path=.*',\)\n$`, "gdbus", "call", "--session", "-d", "org.a11y.Bus", "-o", "/org/a11y/bus", "-m", "org.a11y.Bus.GetAddress"),
		}},
		{name: "notifications", owns: "org.freedesktop.Notifications", service: []string{program.Python, "-m", "dbusmock", "--session", "--template", "notification_daemon"}, clients: []client{
			succeeds(``, "notify-send", "hello", "world"),
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := sessionBus(t)
			w.env = append(w.env, "GSETTINGS_BACKEND=dconf")
			if s.service != nil {
				w.start(t, s.service...)
				w.try(t, succeeds(``, "gdbus", "wait", "--session", "--timeout", "15", s.owns))
			}
			w.try(t, s.clients...)
			w.try(t, succeeds(`(?m)^`+regexp.QuoteMeta(s.owns)+` +\d`, "busctl", "--user", "--no-pager", "--acquired", "list"))
		})
	}
}

// TestAccessibilityBus looks at the bus that at-spi's launcher starts when it is asked for: another
// dbus-daemon, with at-spi's configuration, on which at-spi's registry is activated.
func TestAccessibilityBus(t *testing.T) {
	w := sessionBus(t)
	r := w.run(t, "gdbus", "call", "--session", "-d", "org.a11y.Bus", "-o", "/org/a11y/bus", "-m", "org.a11y.Bus.GetAddress")
	r.Expect(t, 0)
	address := regexp.MustCompile(`unix:[^']*`).FindString(r.Stdout)
	w.try(t,
		succeeds(`org.a11y.atspi.Registry`, "busctl", "--address="+address, "--no-pager", "--activatable", "list"),
		succeeds(`org.a11y.atspi.Registry`, "busctl", "--address="+address, "--no-pager", "introspect", "org.a11y.atspi.Registry", "/org/a11y/atspi/registry"),
	)
}
