//go:build conformance

package services

import (
	"os/user"
	"testing"
)

// TestSystemServices starts services of Debian on the system bus and lets their clients talk to
// them.
func TestSystemServices(t *testing.T) {
	w := systemBus(t)
	// Where a package such as systemd-timesyncd is installed timedated would ask systemd for its unit. None of
	// what is tried here takes that package.
	w.env = append(w.env, "SYSTEMD_TIMEDATED_NTP_SERVICES=")
	w.try(t, succeeds(`(?m)^org.freedesktop.DBus `, "busctl", "--system", "--no-pager", "list"))
	for _, s := range []struct {
		name    string
		service []string
		clients []client
	}{
		{"org.freedesktop.PolicyKit1", []string{"/usr/lib/polkit-1/polkitd", "--no-debug"}, []client{
			succeeds(`(?m)^org.freedesktop.policykit.exec$`, "pkaction"),
			succeeds(``, "sh", "-c", `pkcheck --action-id org.freedesktop.policykit.exec --process $$`),
			fails(2, `requires authentication`, asNobody("sh", "-c", `pkcheck --action-id org.freedesktop.locale1.set-locale --process $$`)...),
		}},
		{"org.freedesktop.locale1", []string{"/lib/systemd/systemd-localed"}, []client{
			succeeds(``, "localectl", "set-locale", "LANG=C.UTF-8"),
			succeeds(`LANG=C.UTF-8`, "localectl", "status"),
			succeeds(`\.SetLocale +method`, "busctl", "--system", "--no-pager", "introspect", "org.freedesktop.locale1", "/org/freedesktop/locale1"),
			succeeds(`/org/freedesktop/locale1`, "busctl", "--system", "--no-pager", "tree", "org.freedesktop.locale1"),
			succeeds(`(?m)^UniqueName=:1\.\d+$`, "busctl", "--system", "--no-pager", "status", "org.freedesktop.locale1"),
			succeeds(`(?m)^Exe=/usr/lib/systemd/systemd-localed$`, "busctl", "--system", "--no-pager", "status", "org.freedesktop.locale1"),
			// Not every user may; who asks polkit is the service.
			fails(1, `authentication required`, asNobody("localectl", "--no-ask-password", "set-locale", "LANG=C")...),
		}},
		{"org.freedesktop.hostname1", []string{"/lib/systemd/systemd-hostnamed"}, []client{
			succeeds(``, "hostnamectl", "set-deployment", "conformance"),
			succeeds(`"conformance"`, "busctl", "--system", "get-property", "org.freedesktop.hostname1", "/org/freedesktop/hostname1", "org.freedesktop.hostname1", "Deployment"),
			succeeds(`"conformance"`, asNobody("busctl", "--system", "get-property", "org.freedesktop.hostname1", "/org/freedesktop/hostname1", "org.freedesktop.hostname1", "Deployment")...),
		}},
		{"org.freedesktop.timedate1", []string{"/lib/systemd/systemd-timedated"}, []client{
			succeeds(`(?m)^Timezone=`, "timedatectl", "show"),
			// One without an offset: timedated tells the kernel, which has one clock for all namespaces, and
			// moves it by the offset when it is told for the first time.
			succeeds(``, "timedatectl", "set-timezone", "Africa/Abidjan"),
			succeeds(`(?m)^Timezone=Africa/Abidjan`, "timedatectl", "show"),
		}},
		{"org.freedesktop.machine1", []string{"/lib/systemd/systemd-machined"}, []client{
			succeeds(`No machines`, "machinectl", "--no-pager", "list"),
		}},
		{"org.freedesktop.Avahi", []string{"avahi-daemon", "--no-rlimits", "--no-drop-root", "--no-chroot"}, []client{
			succeeds(``, "avahi-browse", "--all", "--terminate"),
			succeeds(`avahi \d`, "gdbus", "call", "--system", "-d", "org.freedesktop.Avahi", "-o", "/", "-m", "org.freedesktop.Avahi.Server.GetVersionString"),
			// Its policy lets only root and netdev do that.
			fails(1, `AccessDenied`, asNobody("gdbus", "call", "--system", "-d", "org.freedesktop.Avahi", "-o", "/", "-m", "org.freedesktop.Avahi.Server.SetHostName", "conformance")...),
		}},
		{"org.freedesktop.Accounts", []string{"/usr/libexec/accounts-daemon"}, []client{
			succeeds(`/org/freedesktop/Accounts/User0`, "gdbus", "call", "--system", "-d", "org.freedesktop.Accounts", "-o", "/org/freedesktop/Accounts", "-m", "org.freedesktop.Accounts.FindUserById", "0"),
		}},
		{"org.freedesktop.UPower", []string{"/usr/libexec/upowerd"}, []client{
			succeeds(`daemon-version`, "upower", "--dump"),
			succeeds(`daemon-version`, asNobody("upower", "--dump")...),
		}},
		{"org.freedesktop.UDisks2", []string{"/usr/libexec/udisks2/udisksd"}, []client{
			succeeds(`MODEL`, "udisksctl", "status"),
			succeeds(`org.freedesktop.UDisks2.Manager`, asNobody("udisksctl", "dump")...),
		}},
		{"org.freedesktop.ColorManager", []string{"/usr/libexec/colord"}, []client{
			succeeds(``, "colormgr", "get-profiles"),
		}},
		{"org.freedesktop.ModemManager1", []string{"ModemManager"}, []client{
			succeeds(`No modems`, "mmcli", "--list-modems"),
			// It has polkit say who may.
			fails(1, `Unauthorized`, asNobody("gdbus", "call", "--system", "-d", "org.freedesktop.ModemManager1", "-o", "/org/freedesktop/ModemManager1", "-m", "org.freedesktop.ModemManager1.SetLogging", "ERR")...),
		}},
		{"org.freedesktop.NetworkManager", []string{"NetworkManager", "--no-daemon"}, []client{
			succeeds(`STATE`, "nmcli", "general", "status"),
			succeeds(`lo`, asNobody("nmcli", "device")...),
		}},
		{"org.fedoraproject.FirewallD1", []string{"firewalld", "--nofork", "--nopid"}, []client{
			succeeds(`running`, "firewall-cmd", "--state"),
			succeeds(`public`, "firewall-cmd", "--get-zones"),
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			w.start(t, s.service...)
			w.try(t, succeeds(``, "gdbus", "wait", "--system", "--timeout", "15", s.name))
			w.try(t, s.clients...)
			// No policy lets just anybody have the name of a service, or become a monitor.
			w.try(t, fails(1, `AccessDenied: Connection "[:\d.]+" is not allowed to own the service "`+s.name+`" due to security policies in the configuration file`,
				asNobody("dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.RequestName", "string:"+s.name, "uint32:0")...))
		})
	}
}

// TestBluetoothDaemon sees BlueZ come, and go, as in a container it may not look for adapters.
func TestBluetoothDaemon(t *testing.T) {
	w := systemBus(t)
	m := w.start(t, "dbus-monitor", "--system", "sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.bluez'")
	m.Await(t, "member=NameLost")
	w.start(t, "/usr/libexec/bluetooth/bluetoothd", "--nodetach")
	m.Await(t, `string "org.bluez"\s+string ""\s+string ":1\.\d+"`)
	m.Await(t, `string "org.bluez"\s+string ":1\.\d+"\s+string ""`)
}

// TestSystemActivation calls services that do not run, as a user without rights: the bus, which has
// left root behind, has its helper start them as root or whoever the .service file says. (polkitd is
// root's, but becomes another.)
func TestSystemActivation(t *testing.T) {
	w := systemBus(t)
	driver := func(method string, args ...string) []string {
		return asNobody(append([]string{"busctl", "--system", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", method}, args...)...)
	}
	for _, s := range []struct {
		name, user string
		call       []string
		prints     string
	}{
		{"org.freedesktop.Accounts", "root", []string{"/org/freedesktop/Accounts", "org.freedesktop.Accounts", "FindUserById", "x", "0"}, `^o "/org/freedesktop/Accounts/User0"`},
		{"org.freedesktop.UPower", "root", []string{"/org/freedesktop/UPower", "org.freedesktop.UPower", "EnumerateDevices"}, `^ao `},
		{"org.freedesktop.UDisks2", "root", []string{"/org/freedesktop/UDisks2/Manager", "org.freedesktop.UDisks2.Manager", "GetBlockDevices", "a{sv}", "0"}, `^ao `},
		{"org.freedesktop.ColorManager", "colord", []string{"/org/freedesktop/ColorManager", "org.freedesktop.ColorManager", "GetProfiles"}, `^ao `},
		{"org.freedesktop.PolicyKit1", "polkitd", []string{"/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority", "EnumerateActions", "s", ""}, `org.freedesktop.policykit.exec`},
	} {
		t.Run(s.name, func(t *testing.T) {
			w.try(t,
				succeeds(s.prints, asNobody(append([]string{"busctl", "--system", "call", s.name}, s.call...)...)...),
				succeeds("^u "+uid(t, s.user)+"\n", driver("GetConnectionUnixUser", "s", s.name)...),
				succeeds("^u 2\n", driver("StartServiceByName", "su", s.name, "0")...), // runs already
			)
		})
	}
	t.Run("a service whose program fails", func(t *testing.T) {
		w.try(t, fails(1, `Launch helper exited with unknown return code 1`, driver("StartServiceByName", "su", "org.freedesktop.systemd1", "0")...),
			fails(1, `Spawn.ChildExited: Launch helper exited with unknown return code 1`, "dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.systemd1", "/", "com.example.A.B"))
	})
	t.Run("a service there is not", func(t *testing.T) {
		w.try(t, fails(1, `The name com.example.None was not provided by any .service files`, driver("StartServiceByName", "su", "com.example.None", "0")...))
	})
}

// uid returns the number of a user of Debian's packages.
func uid(t *testing.T, name string) string {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return u.Uid
}

// asNobody is argv run as a user without rights.
func asNobody(argv ...string) []string {
	return append([]string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}, argv...)
}
