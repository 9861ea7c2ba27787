package daemon

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kdbus-go/kdbus/busconfig"
)

// kernelModules are the security modules of the kernel by whose labels dbus-daemon mediates, and we do not. A
// system that relies on that has to be told.
type kernelModules struct {
	// selinuxRoot is the directory of the SELinux policy, "" if SELinux is off. Configurations include
	// a file in it that associates names with contexts.
	selinuxRoot string
	// apparmor is set if AppArmor is on and has rules for D-Bus.
	apparmor bool
}

func securityModules() kernelModules { return securityModulesAt("/") }

// securityModulesAt looks below root, the root directory of a system.
func securityModulesAt(root string) kernelModules {
	var m kernelModules
	if exists(filepath.Join(root, "sys/fs/selinux/enforce")) {
		m.selinuxRoot = filepath.Join(root, "etc/selinux", selinuxType(filepath.Join(root, "etc/selinux/config")))
	}
	enabled, err := os.ReadFile(filepath.Join(root, "sys/module/apparmor/parameters/enabled"))
	m.apparmor = err == nil && strings.HasPrefix(string(enabled), "Y") &&
		exists(filepath.Join(root, "sys/kernel/security/apparmor/features/dbus/mask"))
	return m
}

// selinuxType returns which policy selinux_config(5) says is used.
func selinuxType(config string) string {
	const byDefault = "targeted"
	f, err := os.Open(config)
	if err != nil {
		return byDefault
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "SELINUXTYPE="); ok {
			return strings.TrimSpace(value)
		}
	}
	return byDefault
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// warnings says what conf would have dbus-daemon mediate here.
func (m kernelModules) warnings(conf *busconfig.Config) []busconfig.Warning {
	var list []busconfig.Warning
	if m.selinuxRoot != "" {
		reason := "SELinux is enabled, but kdbus does not mediate by SELinux contexts: its rules for D-Bus have no effect on this bus"
		w := busconfig.Warning{Source: busconfig.Source{File: conf.File}, Reason: reason}
		if n := len(conf.Contexts); n > 0 {
			w.Source, w.Element = conf.Contexts[0].Source, "<associate>"
			w.Reason += fmt.Sprintf(", and %d names that are associated with contexts can be owned without regard to them", n)
		}
		list = append(list, w)
	}
	if m.apparmor && conf.AppArmor != busconfig.AppArmorDisabled {
		list = append(list, busconfig.Warning{Source: busconfig.Source{File: conf.File}, Element: "<apparmor>",
			Reason: `AppArmor is enabled, but kdbus does not mediate by AppArmor labels: rules for D-Bus in profiles have no effect on this bus; ` +
				`mode="disabled" makes this warning go away, mode="required" makes it an error`})
	}
	return list
}
