package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/kdbus-go/kdbus/busconfig"
)

// What a configuration says about a running bus comes into force here, at the start and when it is read again.

// apply puts conf in force on the running bus.
func (d *Daemon) apply(conf *busconfig.Config) {
	d.inForce.Store(conf)
	d.hub.setLimits(limitsOf(&conf.Limits))
	newPolicy(conf, d.denials).install(d.bus)
}

// allowUser returns who decides about who may connect; nil for the default of the transport.
func (d *Daemon) allowUser() func(uid uint32, groups []uint32) error {
	if d.file == nil {
		return nil
	}
	owner := uint32(os.Getuid())
	return func(uid uint32, groups []uint32) error {
		verdict := d.inForce.Load().Policy.MayConnect(uid, groups, owner)
		switch {
		case verdict.Allowed:
			return nil
		case verdict.Rule == nil:
			return fmt.Errorf("only user %d, who runs the bus, may: no rule of the configuration allows others", owner)
		}
		return fmt.Errorf("%s forbids it: %s", verdict.Rule.Source, verdict.Rule)
	}
}

// logWarnings logs what conf warns of, unless the one before did.
func logWarnings(log *slog.Logger, before, conf *busconfig.Config) {
	for _, w := range conf.Warnings {
		if before == nil || !slices.Contains(before.Warnings, w) {
			log.Warn("in the configuration: " + w.String())
		}
	}
}
