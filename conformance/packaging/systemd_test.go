//go:build conformance

package packaging

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestUnitsAreSound(t *testing.T) {
	dir := installed(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	system, launch, users := dir+"/lib/systemd/system/kdbus.service", dir+"/lib/systemd/system/kdbus-launch@.service", dir+"/lib/systemd/user/kdbus.service"
	for _, argv := range [][]string{{"--man=no", system}, {"--man=no", launch}, {"--man=no", "--user", users}} {
		if out := output(t, append([]string{"systemd-analyze", "verify"}, argv...)...); out != "" {
			t.Errorf("systemd-analyze verify %q:\n%s", argv, out)
		}
	}
	out := output(t, "systemd-analyze", "security", "--offline=true", "--no-pager", system)
	m := regexp.MustCompile(`Overall exposure level for kdbus.service: ([0-9.]+) `).FindStringSubmatch(out)
	if m == nil {
		t.Fatal(out)
	}
	// dbus-broker's unit has 8.6, that of dbus-daemon 9.6.
	if exposure, err := strconv.ParseFloat(m[1], 64); err != nil || exposure > 2.5 {
		t.Errorf("the exposure of the unit is %s:\n%s", m[1], out)
	}
}

// What a machine that runs with kdbus is asked. Of systemctl only what it says is looked at: what it says to a terminal
// changes.
const askSystemd = `
echo "state: $(systemctl is-system-running)"
echo "unit: $(systemctl show -P Id dbus.service) $(systemctl is-active dbus.service)"
systemctl is-active --quiet dbus.service || systemctl --no-pager status kdbus.service dbus.socket
bus=$(systemctl show -P MainPID dbus.service)
tr '\0' ' ' </proc/$bus/cmdline
echo
stat -c 'user: %U' /proc/$bus
grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/$bus/status
until busctl status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.1; done
busctl list --no-pager --acquired

: services are started by systemd
hostnamectl hostname
timedatectl show -p CanNTP
busctl --no-pager list | grep hostname1

: over TCP, for those who can read the keyring
setpriv --reuid=messagebus --regid=messagebus --clear-groups env HOME=/var/lib/kdbus dbus-send --bus=tcp:host=127.0.0.1,port=@port@ \
  --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetId
stat -c '%U %a %n' /var/lib/kdbus/.dbus-keyrings/*

: reloading
rm /etc/dbus-1/system-local.conf
systemctl reload dbus.service
echo '<busconfig><policy context="default"><deny nonsense="x"/></policy></busconfig>' >/etc/dbus-1/system-local.conf
! systemctl reload dbus.service
hostnamectl hostname
rm /etc/dbus-1/system-local.conf
systemctl reload dbus.service

: what is denied is in the journal
! setpriv --reuid=nobody --regid=nogroup --clear-groups busctl call org.freedesktop.DBus / org.freedesktop.DBus UpdateActivationEnvironment 'a{ss}' 0
until journalctl --no-pager -b -u kdbus.service -o cat -g 'Rejected send' >/dev/null; do sleep 0.1; done
journalctl --no-pager -b -u kdbus.service -o cat
echo "by the alias: $(journalctl --no-pager -q -b -u dbus.service -o cat | wc -l)"
! journalctl --no-pager -b -u kdbus.service -o cat -g 'Rejected send' | kdbus policy explain -

: the bus of a user
systemctl start user@0.service
export XDG_RUNTIME_DIR=/run/user/0
echo "user unit: $(systemctl --user show -P Id dbus.service)"
until busctl --user status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.1; done
busctl --user list --no-pager --acquired
echo "user unit: $(systemctl --user is-active dbus.service)"
systemctl --user reload dbus.service
grep -E '^(NoNewPrivs|Seccomp):' /proc/$(systemctl --user show -P MainPID dbus.service)/status

: a service of a user without a unit is not confined as the bus is
mkdir -p /usr/local/share/dbus-1/services
printf '[D-BUS Service]\nName=org.example.User\nExec=/usr/local/bin/user-service\n' >/usr/local/share/dbus-1/services/org.example.User.service
printf '#!/bin/sh\nexec dbus-test-tool echo --session --name=org.example.User\n' >/usr/local/bin/user-service
chmod +x /usr/local/bin/user-service
systemctl --user reload dbus.service
busctl --user call org.freedesktop.DBus / org.freedesktop.DBus StartServiceByName su org.example.User 0
service=$(busctl --user call org.freedesktop.DBus / org.freedesktop.DBus GetConnectionUnixProcessID s org.example.User)
grep -E '^(NoNewPrivs|Seccomp):' /proc/${service#u }/status
cat /proc/${service#u }/cgroup

: a service of the system without a unit, as its user, and not confined as the bus is
mkdir -p /usr/local/share/dbus-1/system-services
printf '[D-BUS Service]\nName=org.example.Direct\nExec=/usr/local/bin/direct --option\nUser=nobody\n' >/usr/local/share/dbus-1/system-services/org.example.Direct.service
echo '<busconfig><policy user="nobody"><allow own="org.example.Direct"/></policy></busconfig>' >/etc/dbus-1/system-local.conf
printf '#!/bin/sh\nrm -f /tmp/direct; (date; env) >/tmp/direct; exec dbus-test-tool echo --system --name=org.example.Direct\n' >/usr/local/bin/direct
chmod +x /usr/local/bin/direct
chmod 1777 /tmp
systemctl reload dbus.service
busctl call org.freedesktop.DBus / org.freedesktop.DBus StartServiceByName su org.example.Direct 0
service=$(busctl call org.freedesktop.DBus / org.freedesktop.DBus GetConnectionUnixProcessID s org.example.Direct)
stat -c 'it runs as %U' /proc/${service#u }
grep -E '^(NoNewPrivs|Seccomp):' /proc/${service#u }/status
cat /proc/${service#u }/cgroup
grep DBUS /tmp/direct
kill ${service#u }
until ! busctl status org.example.Direct >/dev/null 2>&1; do sleep 0.1; done

: the domain of the machine
stat -c '%U %a %n' /run/kdbus /run/kdbus/control /run/kdbus/0-system /run/kdbus/0-system/bus
kdbus bus list --no-pager
! kdbus daemon --domain=/run/kdbus
useradd --uid 4711 --user-group --no-create-home ann
as_ann() { setpriv --reuid=ann --regid=ann --clear-groups env -C / XDG_RUNTIME_DIR=/run/user/4711 "$@"; }
gone() { [ ! -e "$1" ]; } # soon after who has made it
cat >/usr/local/bin/own-bus <<'END'
echo "on $DBUS_SESSION_BUS_ADDRESS"
dbus-test-tool echo --session --name=org.example.Player &
until dbus-send --session --print-reply --dest=org.example.Player / org.example.Player.Play; do sleep 0.1; done
kill $!
END
as_ann kdbus bus make --domain=/run/kdbus --access=world tests -- sh /usr/local/bin/own-bus
kdbus endpoint make --system --access=world --see=org.freedesktop.systemd1 door -- sh -c \
  'stat -c "%n" ${DBUS_SESSION_BUS_ADDRESS#unix:path=}; setpriv --reuid=ann --clear-groups --regid=ann dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner string:org.freedesktop.systemd1
  dbus-send --session --print-reply --dest=org.freedesktop.systemd1 / org.freedesktop.DBus.Peer.Ping' || echo "nobody is excepted"
until gone /run/kdbus/4711-tests && gone /run/kdbus/0-system/0-door; do sleep 0.1; done
ls /run/kdbus /run/kdbus/0-system

: the domain of a user
systemctl start user@4711.service
until as_ann busctl --user status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.1; done
as_ann kdbus bus list --no-pager
cat >/usr/local/bin/see <<'END'
stat -c 'made: %U %a %n' ${DBUS_SESSION_BUS_ADDRESS#unix:path=}
dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames
dbus-send --session --print-reply --dest=org.example.Player / org.example.Player.Play && echo "it plays"
dbus-send --session --print-reply --dest=org.freedesktop.systemd1 / org.freedesktop.DBus.Peer.Ping
dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.RequestName string:org.example.Mine uint32:0
END
as_ann env DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/4711/bus dbus-test-tool echo --session --name=org.example.Player &
player=$!
until as_ann busctl --user status org.example.Player >/dev/null 2>&1; do sleep 0.1; done
! as_ann kdbus endpoint make --user --talk=org.example.Player door -- sh /usr/local/bin/see
as_ann kdbus bus make mine -- sh -c 'stat -c "made: %U %a %n" ${DBUS_SESSION_BUS_ADDRESS#unix:path=}; kdbus bus list --no-pager --no-legend'
until gone /run/user/4711/kdbus/4711-mine && gone /run/user/4711/kdbus/4711-user/4711-door; do sleep 0.1; done
ls /run/user/4711/kdbus/*
kill $player

: a bus that is killed leaves nothing in the way
as_ann sh -c '! kdbus bus make stale -- sh -c "kill -9 $(systemctl --user show -P MainPID dbus.service); dbus-monitor --session || exit 1"'
until ! as_ann systemctl --user is-active dbus.service >/dev/null || [ -e /run/user/4711/kdbus/control ]; do sleep 0.1; done
until as_ann busctl --user status org.freedesktop.DBus >/dev/null 2>&1; do sleep 0.1; done
ls /run/user/4711/kdbus
as_ann systemctl --user stop dbus.socket kdbus.service
! ls -d /run/user/4711/kdbus
systemctl stop user@4711.service

as_ann kdbus bus make --domain=/run/kdbus --access=world stale -- sh -c 'touch /tmp/stale; dbus-monitor --session' &
until [ -e /tmp/stale ]; do sleep 0.1; done
kill -9 $(systemctl show -P MainPID dbus.service)
wait $! || :
until busctl status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.1; done
stat -c 'again: %U %a %n' /run/kdbus /run/kdbus/*
systemctl stop dbus.socket kdbus.service
! ls -d /run/kdbus
systemctl start dbus.socket

: the way back
systemctl disable kdbus.service
systemctl --global disable kdbus.service
systemctl daemon-reload
echo "after a reboot: $(systemctl show -P FragmentPath dbus.service)"

: in place of the program, in the unit of the distribution
ln -sf /usr/local/bin/kdbus /usr/bin/dbus-daemon
systemctl stop kdbus.service
systemctl start dbus.service
until busctl status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.1; done
echo "program: $(readlink /proc/$(systemctl show -P MainPID dbus.service)/exe)"
hostnamectl hostname
busctl call org.freedesktop.DBus / org.freedesktop.DBus StartServiceByName su org.example.Direct 0
service=$(busctl call org.freedesktop.DBus / org.freedesktop.DBus GetConnectionUnixProcessID s org.example.Direct)
stat -c 'by the helper it runs as %U' /proc/${service#u }
systemctl reload dbus.service
echo finished
`

// freePort returns a port of TCP that nobody listens on just now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func TestSystemdRunsWithKdbusAsItsBus(t *testing.T) {
	work, err := os.MkdirTemp("", "kdbus-machine-")
	if err != nil {
		t.Fatal(err)
	}
	module, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.RemoveAll(work) // what was mounted below it was mounted for others only
	})
	t.Cleanup(func() {
		const remove = `mount -t cgroup2 cgroup2 "$1/cgroup" && find "$1/cgroup/${1##*/}" -depth -type d -exec rmdir {} +`
		if out, err := exec.Command("unshare", "--mount", "--propagation=private", "sh", "-c", remove, "sh", work).CombinedOutput(); err != nil {
			t.Logf("removing control groups: %v %s", err, out)
		}
	})
	port := freePort(t)
	ask := strings.ReplaceAll(askSystemd, "@port@", port)
	for name, text := range map[string]string{"ask.sh": ask, "answers": ""} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	boot := inNamespaces(t, "systemd.sh", work, module, port)
	answers, err := os.ReadFile(filepath.Join(work, "answers"))
	if err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		t.Logf("%s%s", boot, answers)
	}
	expect(t, string(answers),
		`^unit: kdbus\.service active$`, `^/usr/local/bin/kdbus daemon --system `, `^user: messagebus$`,
		`^CapEff:\s+0+$`, `^NoNewPrivs:\s+1$`, `^Seccomp:\s+2$`, `^org\.freedesktop\.systemd1\s+1 systemd`,
		`^CanNTP=`, `^org\.freedesktop\.hostname1 +[0-9]`,
		`^\+ : over TCP`, `^ +string "[0-9a-f]{32}"$`, `^messagebus 600 /var/lib/kdbus/\.dbus-keyrings/org_freedesktop_general$`,
		`^\+ : reloading$`, `^Job for kdbus\.service failed`,
		`^\+ : what is denied is in the journal$`, `Access denied`,
		`reloaded the configuration`, `kdbus call: .*/etc/dbus-1/system-local\.conf:1: <deny>: the attribute nonsense is unknown`, `reloaded the configuration`,
		`Rejected send message, 3 matched rules; .* member="UpdateActivationEnvironment"`,
		`^by the alias: 0$`, `^denied: type=method_call, sender=.* member=UpdateActivationEnvironment`, `system\.conf:[0-9]+: <deny send_destination="org\.freedesktop\.DBus"`,
		`^user unit: kdbus\.service$`, `^org\.freedesktop\.systemd1`, `^user unit: active$`, `^NoNewPrivs:\s+1$`, `^Seccomp:\s+2$`,
		`^u 1$`, `^NoNewPrivs:\s+0$`, `^Seccomp:\s+0$`, `dbus-org\.example\.User`,
		`^it runs as nobody$`, `^NoNewPrivs:\s+0$`, `^Seccomp:\s+0$`, `kdbus-launch@org\.example\.Direct\.service$`, `^DBUS_STARTER_BUS_TYPE=system$`,
		`^\+ : the domain of the machine$`, `^messagebus 755 /run/kdbus$`, `^messagebus 666 /run/kdbus/control$`, `^messagebus 666 /run/kdbus/0-system/bus$`,
		`^0-system messagebus +[0-9]+ kdbus +world +- +unix:path=/run/kdbus/0-system/bus$`,
		`^kdbus daemon: serve the domain /run/kdbus: address already in use: another daemon serves it`,
		`^on unix:path=/run/kdbus/4711-tests/bus$`, `^method return `,
		`^/run/kdbus/0-system/0-door$`, `^ +boolean true$`, `AccessDenied`, `^nobody is excepted$`,
		`^/run/kdbus:\n0-system\ncontrol\n\n/run/kdbus/0-system:\nbus$`,
		`^\+ : the domain of a user$`, `^4711-user ann +[0-9]+ kdbus +user +- +unix:path=/run/user/4711/kdbus/4711-user/bus$`,
		`^made: ann 600 /run/user/4711/kdbus/4711-user/4711-door$`,
		`^ +string "org.freedesktop.DBus"\n +string "org.example.Player"\n +string ":1\.[0-9]+"\n +string ":1\.[0-9]+"\n +\]$`,
		`^it plays$`, `^Error org.freedesktop.DBus.Error.ServiceUnknown: The name org.freedesktop.systemd1 `, `^Error .*AccessDenied: .* own the service "org.example.Mine"`,
		`^made: ann 600 /run/user/4711/kdbus/4711-mine/bus$`, `^4711-mine ann [0-9]+ kdbus user - `, `^/run/user/4711/kdbus/4711-user:\nbus$`,
		`^\+ : a bus that is killed leaves nothing in the way$`, `^\+ ls /run/user/4711/kdbus\n4711-user\ncontrol$`, `^ls: cannot access '/run/user/4711/kdbus'`,
		`^\+ kill -9 `, `^again: messagebus 755 /run/kdbus\nagain: messagebus 755 /run/kdbus/0-system\nagain: messagebus 666 /run/kdbus/control$`, `^ls: cannot access '/run/kdbus'`,
		`^after a reboot: /lib/systemd/system/dbus\.service$`,
		`^program: .*/usr/local/bin/kdbus$`, `^by the helper it runs as nobody$`, `^finished$`)
}
