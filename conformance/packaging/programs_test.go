//go:build conformance

package packaging

import (
	"strings"
	"testing"
)

func TestS6RunsTheBus(t *testing.T) {
	out := inNamespaces(t, "s6.sh")
	expect(t, out, `^ready: true$`, `^user: messagebus$`, `reloaded the configuration`, `^stopped: 0$`, `^restarted after SIGKILL$`,
		`cannot read the file /nowhere`, `^given up$`, `^finished$`)
	if strings.Contains(out, "WARN msg=\"cannot remove") {
		t.Errorf("the bus complains about the socket that it may not remove:\n%s", out)
	}
}

func TestOpenRCRunsTheBus(t *testing.T) {
	out := inNamespaces(t, "openrc.sh")
	expect(t, out, `Starting the message bus \(kdbus\)`, `status: started`, `^user: messagebus$`, `Reloading`, `Stopping`, `^status: 3$`,
		`Starting`, `Stopping`, `^killed: 32$`, `^another: 32$`, `^the other lives$`, `Starting`, `Stopping`, `cannot read the file /nowhere`, `failed to start`, `^failed: 1$`, `^finished$`)
}
