package daemon

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

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

// listenAsConfigured opens what conf says, in the order in which dbus-daemon tells it: the last one first, so that
// a local file that adds an address has the say. An error names the line.
func listenAsConfigured(conf *busconfig.Config, log *slog.Logger) ([]*listener, error) {
	var out []*listener
	for i, list := range slices.Backward(conf.Listen) {
		opened, err := listen(list, log)
		if err != nil {
			return nil, closeAll(out, &busconfig.Error{
				Source: conf.ListenAt[i], Element: "<listen>", Reason: err.Error(), Err: err})
		}
		out = append(out, opened...)
	}
	return out, nil
}
