package daemon

import (
	"os"
	"path/filepath"
	"time"

	"github.com/kdbus-go/kdbus/activation"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/dbus1"
)

// Services that are started when they are called, of a bus that has a configuration.

// newActivation makes the services of the configuration known to the bus.
func (d *Daemon) newActivation(rules *dbus1.Subscriptions) error {
	if d.file == nil {
		return nil
	}
	var err error
	d.activation, err = activation.New(activation.Config{
		Endpoint:   d.bus.Endpoint(),
		Address:    d.Address,
		Systemd:    d.config.SystemdActivation,
		LaunchUnit: d.config.LaunchUnit,
		Rules:      rules,
		Journal:    d.config.Journal,
		Log:        d.log,
		Settings:   startSettings(d.file),
	})
	return err
}

// starter returns d.activation as the driver needs it; nil if there is none.
func (d *Daemon) starter() dbus1.Activation {
	if d.activation == nil {
		return nil
	}
	return d.activation
}

// startSettings returns what a configuration says about starting services.
func startSettings(conf *busconfig.Config) activation.Settings {
	s := activation.Settings{
		Directories: conf.ServiceDirectories,
		BusNames:    busconfig.BusNameDirectories(conf.Type, os.LookupEnv),
		Helper:      conf.ServiceHelper,
		BusType:     conf.Type,
		Timeout:     max(conf.Limits.ServiceStartTimeout, time.Nanosecond), // 0 is none at all
		MaxPending:  atMost(conf.Limits.MaxPendingServiceStarts),
		MaxBytes:    atMost(conf.Limits.MaxOutgoingBytes),
	}
	if s.MaxPending == 0 {
		s.MaxPending = -1 // none may
	}
	return s
}

// atMost returns n as an int.
func atMost(n int64) int { return int(min(n, 1<<31-1)) }

// updateActivation puts a new configuration in force, and tells clients if the names of services have
// changed.
func (d *Daemon) updateActivation(conf *busconfig.Config) {
	if d.activation.Update(startSettings(conf)) {
		d.server.AnnounceActivatableServices()
	}
}

// makeRuntimeDirectories makes the directory for .service files that go when the user logs out, as dbus-daemon
// does. Who cannot have it does without.
func (d *Daemon) makeRuntimeDirectories() {
	for _, services := range d.file.ServiceDirectories {
		if !services.Runtime {
			continue
		}
		for _, dir := range []string{filepath.Dir(services.Path), services.Path} {
			if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
				d.log.Warn("cannot make a directory for service files", "directory", dir, "error", err)
				break
			}
		}
	}
}
