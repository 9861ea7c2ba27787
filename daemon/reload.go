package daemon

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/busconfig"
)

// Reload reads the configuration again and puts it in force. If it cannot be read, or there is
// something in it that a bus cannot do, all stays as it is and the error says why; it
// has been logged. What cannot change while the bus runs is logged if it differs. Every message
// is judged by the policy before or by the one after, and none is lost.
func (d *Daemon) Reload() error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.file == nil {
		return errors.New("there is no configuration to read again: the bus was not started from a file")
	}
	d.config.Notify(reloadingState())
	defer d.config.Notify("READY=1")
	next, err := Load(d.file.File)
	if err != nil {
		d.log.Error("cannot reload the configuration, so the old one stays in force", "error", err)
		return err
	}
	logWarnings(d.log, d.file, next)
	for _, what := range unchangeable(d.file, next) {
		d.log.Warn("a change of the configuration takes effect when the bus is started anew", "element", what)
	}
	d.watch.follow(next)
	d.apply(next)
	d.updateActivation(next)
	d.file = next
	d.log.Info("reloaded the configuration", "file", next.File)
	return nil
}

// reloadChanged is Reload when something has changed in a directory of the configuration.
func (d *Daemon) reloadChanged() {
	select {
	case <-d.started:
		d.Reload() // which logs
	case <-d.ending:
	}
}

// reloadFor returns what the method ReloadConfig does; nil for nothing.
func (d *Daemon) reloadFor() func() error {
	if d.file == nil {
		return nil
	}
	return newAskedReloads(d.Reload, d.ending).ask
}

// reloadingState is what a service manager wants to know when a service begins to reload
// (sd_notify(3), Type=notify-reload).
func reloadingState() string {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail for this clock
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000)
}

// unchangeable returns the elements that differ between two configurations and are only looked at when
// a bus starts.
func unchangeable(old, next *busconfig.Config) []string {
	var list []string
	for _, one := range []struct {
		element   string
		old, next any
	}{
		{"<type>", old.Type, next.Type},
		{"<user>", old.User, next.User},
		{"<fork>", old.Fork, next.Fork},
		{"<keep_umask>", old.KeepUmask, next.KeepUmask},
		{"<syslog>", old.Syslog, next.Syslog},
		{"<pidfile>", old.PIDFile, next.PIDFile},
		{"<allow_anonymous>", old.AllowAnonymous, next.AllowAnonymous},
		{"<listen>", strings.Join(old.Listen, " "), strings.Join(next.Listen, " ")},
		{"<auth>", sorted(old.Auth), sorted(next.Auth)},
	} {
		if !reflect.DeepEqual(one.old, one.next) {
			list = append(list, one.element)
		}
	}
	return list
}

func sorted(s []string) string {
	return strings.Join(slices.Sorted(slices.Values(s)), " ")
}
