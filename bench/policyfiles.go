package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// With Options.Policies buses are started as the bus of a machine is: with the policy that dbus-daemon
// comes with, and as many files of packages, each for a service of its own, of one of the kinds that
// packages ship. The service that is measured has such a file, too, and its name. dbus-broker reads no
// files; it goes on to allow everything.

// serviceName is the name of the service that is measured, if there is a policy or it is called by it.
const serviceName = "org.kdbus.Bench"

// stockRules are those of dbus-daemon's system.conf.
const stockRules = `<policy context="default">
  <allow user="*"/>
  <deny own="*"/>
  <deny send_type="method_call"/>
  <allow send_type="signal"/>
  <allow send_requested_reply="true" send_type="method_return"/>
  <allow send_requested_reply="true" send_type="error"/>
  <allow receive_type="method_call"/>
  <allow receive_type="method_return"/>
  <allow receive_type="error"/>
  <allow receive_type="signal"/>
  <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
  <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
  <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
  <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus" send_member="UpdateActivationEnvironment"/>
  <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/>
  <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.systemd1.Activator"/>
</policy>
<policy user="root">
  <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.systemd1.Activator"/>
  <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
  <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/>
</policy>
`

// packageRules returns the rules for a service: who may own it, and method by method what everybody may
// call. There are 17.
func packageRules(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<busconfig>\n<policy user=\"%d\">\n", os.Getuid())
	fmt.Fprintf(&b, "  <allow own=%q/>\n  <allow send_destination=%q/>\n  <allow receive_sender=%q/>\n", name, name, name)
	b.WriteString("</policy>\n<policy context=\"default\">\n")
	fmt.Fprintf(&b, "  <deny send_destination=%q/>\n", name)
	for _, iface := range []string{"Introspectable", "Peer", "Properties"} {
		fmt.Fprintf(&b, "  <allow send_destination=%q send_interface=\"org.freedesktop.DBus.%s\"/>\n", name, iface)
	}
	fmt.Fprintf(&b, "  <deny send_destination=%q send_interface=%q/>\n", name, name+".Admin")
	for _, member := range []string{"Call", "Get", "Set", "List", "Add", "Remove", "Start", "Stop", "Reset"} {
		fmt.Fprintf(&b, "  <allow send_destination=%q send_interface=%q send_member=%q/>\n", name, name, member)
	}
	b.WriteString("</policy>\n</busconfig>\n")
	return b.String()
}

// writePolicies writes policy files for count services into a directory below dir, and returns the
// elements of a configuration that has them.
func writePolicies(dir string, count int) (string, error) {
	system := filepath.Join(dir, "system.d")
	if err := os.Mkdir(system, 0o700); err != nil {
		return "", fmt.Errorf("make a directory for policies: %w", err)
	}
	for i := range count {
		name := serviceName
		if i > 0 {
			name = fmt.Sprintf("org.example.Service%d", i)
		}
		if err := os.WriteFile(filepath.Join(system, name+".conf"), []byte(packageRules(name)), 0o600); err != nil {
			return "", fmt.Errorf("write a policy: %w", err)
		}
	}
	return stockRules + "<includedir>" + system + "</includedir>", nil
}
