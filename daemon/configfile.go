package daemon

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/busconfig"
)

// Load reads a configuration of dbus-daemon(1), with what it includes, for Config.File. It refuses what a
// bus of this package cannot do, so that nothing that somebody relies on is passed over; an
// error is a [*busconfig.Error] and names the line. Its Warnings are for whoever logs; there are some more
// than busconfig has, about mediation by security modules of the kernel.
func Load(file string) (*busconfig.Config, error) {
	// In full: a daemon changes its working directory, and reads the file again later.
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	modules := securityModules()
	conf, err := busconfig.Options{SELinuxRoot: modules.selinuxRoot}.Parse(file)
	if err != nil {
		return nil, err
	}
	if conf.AppArmor == busconfig.AppArmorRequired {
		return nil, &busconfig.Error{Source: conf.AppArmorAt, Element: "<apparmor>",
			Reason: `AppArmor mediation required but not present: kdbus does not mediate by AppArmor labels; write mode="disabled" if that is acceptable`}
	}
	if err := checkMechanisms(conf); err != nil {
		return nil, err
	}
	if err := checkAddresses(conf); err != nil {
		return nil, err
	}
	conf.Warnings = append(conf.Warnings, modules.warnings(conf)...)
	return conf, nil
}

// mechanisms are the SASL mechanisms that <auth> may name.
var mechanisms = []string{"EXTERNAL", "DBUS_COOKIE_SHA1", "ANONYMOUS"}

func checkMechanisms(conf *busconfig.Config) error {
	for i, name := range conf.Auth {
		if !slices.Contains(mechanisms, name) {
			return &busconfig.Error{Source: conf.AuthAt[i], Element: "<auth>",
				Reason: fmt.Sprintf("Unsupported auth mechanism %q in bus config file detected. Supported mechanisms are %q.",
					name, strings.Join(mechanisms, " "))}
		}
	}
	return nil
}

// checkAddresses checks addresses before the first one is opened. It does so even if others are used
// instead: the configuration would not work without them.
func checkAddresses(conf *busconfig.Config) error {
	for i, list := range conf.Listen {
		if _, err := address.Parse(list); err != nil {
			return &busconfig.Error{Source: conf.ListenAt[i], Element: "<listen>", Reason: err.Error(), Err: err}
		}
	}
	return nil
}

// listenOf returns the addresses of a configuration in the order in which dbus-daemon tells them: the last one
// first, so that a local file that adds one has the say.
func listenOf(conf *busconfig.Config) []string {
	list := slices.Clone(conf.Listen)
	slices.Reverse(list)
	return list
}
