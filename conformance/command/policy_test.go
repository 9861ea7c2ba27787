//go:build conformance

package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// policyConfig is a policy with something of everything: contexts, groups, voided rules, paths, interfaces alone.
const policyConfig = `<busconfig><type>system</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow own="org.example.Void"/>
<allow user="*"/><deny own="*"/>
<deny send_type="method_call"/>
<allow send_type="signal"/><allow send_type="method_return"/><allow send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus"/>
<deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus" send_member="UpdateActivationEnvironment"/>
<allow send_destination="com.example.Player"/>
<deny send_destination="com.example.Player" send_interface="com.example.Player" send_member="Write"/>
<deny send_destination_prefix="com.example" send_path="/com/other" send_member="Many"/>
<allow send_destination="com.example.Player" send_path="/com/other" send_interface="com.example.Player" send_member="Echo"/>
</policy>
<policy user="root"><allow own_prefix="com.example"/><deny receive_interface="org.example.Unwanted"/></policy>
<policy group="nogroup"><deny send_destination="com.example.Player" send_member="Echo" send_interface="com.example.Player"/></policy>
<policy user="nobody"><allow send_interface="com.example.Player" send_member="Many" send_destination="com.example.Player"/><allow own="org.example.Nobody"/></policy>
<policy context="mandatory"><deny send_destination="com.example.Player" send_interface="org.example.Forbidden"/></policy>
</busconfig>
`

// asked is a call that somebody makes.
type asked struct {
	uid                                   uint32
	destination, path, interface_, member string
}

func (a asked) String() string {
	return fmt.Sprintf("%d %s %s %s.%s", a.uid, a.destination, a.path, a.interface_, a.member)
}

// as runs the command as a user, who has no other groups than the one of that number.
func as(t *testing.T, uid uint32, argv ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, kdbusCommand, argv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{uid}}}
	cmd.Dir = "/"
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// What kdbus policy says of a configuration is what a bus with that configuration does, and it understands what
// the bus says about it.
func TestPolicyIsExplainedAsTheBusDecides(t *testing.T) {
	if os.Getuid() != 0 {
		program.CannotTest(t, "only root can ask as several users")
	}
	dir, err := os.MkdirTemp("", "policy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, []byte(policyConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, open := range []string{dir, filepath.Dir(kdbusCommand)} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	var questions []asked
	for _, uid := range []uint32{0, nobody} {
		for _, iface := range []string{"com.example.Player", "org.example.Unwanted", "org.example.Forbidden"} {
			for _, member := range []string{"Echo", "Write", "Many"} {
				for _, path := range []string{"/com/example/Player", "/com/other"} {
					questions = append(questions, asked{uid, "com.example.Player", path, iface, member})
				}
			}
		}
		for _, member := range []string{"GetId", "UpdateActivationEnvironment"} {
			questions = append(questions, asked{uid, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", member})
		}
	}
	for _, kind := range []testbus.Kind{testbus.KDBus, testbus.DBusDaemon} {
		t.Run(string(kind), func(t *testing.T) {
			bus := testbus.StartKind(t, kind, testbus.Options{Config: config})
			startPlayer(t, bus)
			denied := 0
			for _, q := range questions {
				said, _ := as(t, q.uid, "call", "--address", bus.Address, q.destination, q.path, q.interface_, q.member)
				isDenied := strings.Contains(said, "Rejected ")
				check := []string{"policy", "check", "--config-file", config, fmt.Sprintf("--user=%d", q.uid), "send",
					"--to", q.destination, "--path", q.path, "--interface", q.interface_, "--member", q.member}
				if q.destination != "org.freedesktop.DBus" {
					check = append(check, "--peer=0")
				}
				answer, code := as(t, 0, check...)
				if want := map[bool]int{false: 0, true: 1}[isDenied]; code != want {
					t.Errorf("%s: kdbus policy check has the exit code %d, and the bus says %q:\n%s", q, code, said, answer)
				}
				if !isDenied {
					continue
				}
				denied++
				why, code := as(t, 0, "policy", "explain", "--config-file", config, "--path", q.path, said)
				if code != 1 || strings.Contains(why, "The bus ") { // which has another opinion
					t.Errorf("%s: of %q kdbus policy explain says, with exit code %d:\n%s", q, said, code, why)
				}
			}
			if denied < 5 || denied > len(questions)-5 {
				t.Errorf("of %d calls %d were denied: the policy is not much of a test", len(questions), denied)
			}
			for _, q := range []asked{{uid: 0, destination: "com.example.X"}, {uid: 0, destination: "org.example.Void"},
				{uid: nobody, destination: "org.example.Nobody"}, {uid: nobody, destination: "com.example.X"}} {
				said, code := as(t, q.uid, "call", "--address", bus.Address, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
					"RequestName", "su", q.destination, "0")
				if answer, want := as(t, 0, "policy", "check", "--config-file", config, fmt.Sprintf("--user=%d", q.uid), "own", q.destination); code != want {
					t.Errorf("%s: the bus says %q, kdbus policy check\n%s", q, said, answer)
				}
				if code == 0 {
					continue
				}
				if why, code := as(t, 0, "policy", "explain", "--config-file", config, fmt.Sprintf("--user=%d", q.uid), said); code != 1 || !strings.Contains(why, "may not own "+q.destination) {
					t.Errorf("of %q kdbus policy explain says, with exit code %d:\n%s", said, code, why)
				}
			}
		})
	}
}
