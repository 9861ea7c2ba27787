package main

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDBusDaemon(t *testing.T) {
	base := busOptions{configFile: "F", printAddress: noDescriptor, printPID: noDescriptor, level: slog.LevelInfo, asDBusDaemon: true}
	with := func(change func(*busOptions)) busOptions {
		o := base
		change(&o)
		return o
	}
	for name, c := range map[string]struct {
		args []string
		want busOptions
	}{
		"a file":                  {[]string{"--config-file=F"}, base},
		"a file behind":           {[]string{"--config-file", "F"}, base},
		"an empty file, then one": {[]string{"--config-file=", "--config-file", "F"}, base},
		"an address": {[]string{"--address", "unix:path=a,b=c", "--config-file=F"},
			with(func(o *busOptions) { o.addresses = []string{"unix:path=a,b=c"} })},
		"an address with =": {[]string{"--address=systemd:", "--config-file=F"},
			with(func(o *busOptions) { o.addresses = []string{"systemd:"} })},
		"descriptors": {[]string{"--print-address=8", "--print-pid=9", "--config-file=F"},
			with(func(o *busOptions) { o.printAddress, o.printPID = 8, 9 })},
		"descriptors behind": {[]string{"--print-pid", "9", "--print-address", "8", "--config-file=F"},
			with(func(o *busOptions) { o.printAddress, o.printPID = 8, 9 })},
		"descriptors left out": {[]string{"--print-pid", "--print-address", "--config-file=F"},
			with(func(o *busOptions) { o.printAddress, o.printPID = 1, 1 })},
		"the last of what contradicts": {
			[]string{"--fork", "--nofork", "--nosyslog", "--syslog", "--nopidfile", "--systemd-activation", "--config-file=F"},
			with(func(o *busOptions) {
				o.fork, o.syslog, o.noPIDFile, o.systemdActivation = never, always, true, true
			})},
		"syslog only": {[]string{"--nosyslog", "--nofork", "--fork", "--syslog-only", "--config-file=F"},
			with(func(o *busOptions) { o.fork, o.syslog, o.syslogOnly = always, always, true })},
		"no syslog after all": {[]string{"--syslog-only", "--nosyslog", "--config-file=F"},
			with(func(o *busOptions) { o.syslog = never })},
	} {
		got, err := parseDBusDaemon(c.args)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(busOptions{})); err != nil || diff != "" {
			t.Errorf("%s: %v, %s", name, err, diff)
		}
	}
}
