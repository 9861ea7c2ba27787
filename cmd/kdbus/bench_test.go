package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBenchRefusesFlagsThatContradict(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	for _, test := range []struct {
		name string
		args string
		code int
		want string
	}{
		{"no bus", "", exitUsage, "Give --address"},
		{"comparison of a running bus", "--compare --address unix:path=/x", exitUsage, "starts its own buses"},
		{"comparison of a process", "--compare --pid 1", exitUsage, "starts its own buses"},
		{"other buses without a comparison", "--address unix:path=/x --against dbus-daemon", exitUsage, "only for --compare"},
		{"argument", "fast", exitUsage, "fast"},
		{"unknown measurement", "--address unix:path=/x --only speed", exitFailure, "roundtrip"},
		{"unknown bus", "--compare --against ibus", exitFailure, "ibus"},
		{"nobody listens", "--address unix:path=/nonexistent/bus", exitFailure, "is a bus running there?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := execute(append([]string{"bench"}, strings.Fields(test.args)...), &stdout, &stderr)
			if code != test.code || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("exit code %d and %q, want %d and %q", code, stderr.String(), test.code, test.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("standard output has %q", stdout.String())
			}
		})
	}
}
