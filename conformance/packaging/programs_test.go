//go:build conformance

package packaging

import (
	"strings"
	"testing"
)

// domain is what there is in the domain of a machine.
const domain = `^domain: messagebus 0-system messagebus [0-9]+ kdbus world - unix:path=/run/kdbus/0-system/bus$`

func TestS6RunsTheBus(t *testing.T) {
	out := inNamespaces(t, "s6.sh")
	expect(t, out, `^ready: true$`, `^user: messagebus$`, domain, `reloaded the configuration`, `^stopped: 0$`, `^domain removed$`, `^restarted after SIGKILL$`, domain,
		`cannot read the file /nowhere`, `^given up$`, `^finished$`)
	if strings.Contains(out, "WARN msg=\"cannot remove") {
		t.Errorf("the bus complains about the socket that it may not remove:\n%s", out)
	}
}

func TestOpenRCRunsTheBus(t *testing.T) {
	out := inNamespaces(t, "openrc.sh")
	expect(t, out, `Starting the message bus \(kdbus\)`, `status: started`, `^user: messagebus$`, domain, `Reloading`, `Stopping`, `^domain removed$`, `^status: 3$`,
		`Starting`, `Stopping`, `Starting`, `Stopping`, `^killed: 32$`, `^another: 32$`, `^the other lives$`, `Starting`, domain, `Stopping`, `cannot read the file /nowhere`, `failed to start`, `^failed: 1$`, `^finished$`)
}
