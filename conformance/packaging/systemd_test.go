//go:build conformance

package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

func TestUnitsAreSound(t *testing.T) {
	dir := installed(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	system, users := dir+"/lib/systemd/system/kdbus.service", dir+"/lib/systemd/user/kdbus.service"
	for _, argv := range [][]string{{"--man=no", system}, {"--man=no", "--user", users}} {
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

: reloading
systemctl reload dbus.service
mkdir -p /etc/dbus-1
echo '<busconfig><policy context="default"><deny nonsense="x"/></policy></busconfig>' >/etc/dbus-1/system-local.conf
! systemctl reload dbus.service
hostnamectl hostname
rm /etc/dbus-1/system-local.conf
systemctl reload dbus.service

: what is denied is in the journal
! setpriv --reuid=nobody --regid=nogroup --clear-groups busctl call org.freedesktop.DBus / org.freedesktop.DBus UpdateActivationEnvironment 'a{ss}' 0
until journalctl --no-pager -b -u kdbus.service -o cat -g 'Rejected send' >/dev/null; do sleep 0.1; done
journalctl --no-pager -b -u kdbus.service -o cat
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

: a service without a unit
mkdir -p /usr/local/share/dbus-1/system-services /etc/systemd/system/kdbus.service.d
printf '[D-BUS Service]\nName=org.example.Direct\nExec=/usr/local/bin/direct\nUser=nobody\n' >/usr/local/share/dbus-1/system-services/org.example.Direct.service
printf '#!/bin/sh\ntouch /tmp/direct\nexit 3\n' >/usr/local/bin/direct
chmod +x /usr/local/bin/direct
systemctl reload dbus.service
! busctl call org.freedesktop.DBus / org.freedesktop.DBus StartServiceByName su org.example.Direct 0
cp /usr/local/share/kdbus/systemd/services-without-unit.conf /etc/systemd/system/kdbus.service.d
systemctl daemon-reload
systemctl restart dbus.service
until busctl status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.1; done
! busctl call org.freedesktop.DBus / org.freedesktop.DBus StartServiceByName su org.example.Direct 0
stat -c 'it ran as %U' /tmp/direct
grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/$(systemctl show -P MainPID dbus.service)/status

: the way back
systemctl disable kdbus.service
systemctl --global disable kdbus.service
systemctl daemon-reload
echo "after a reboot: $(systemctl show -P FragmentPath dbus.service)"

: in place of the program, in the unit of the distribution
rm /tmp/direct
ln -sf /usr/local/bin/kdbus /usr/bin/dbus-daemon
systemctl stop kdbus.service
systemctl start dbus.service
until busctl status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.1; done
echo "program: $(readlink /proc/$(systemctl show -P MainPID dbus.service)/exe)"
hostnamectl hostname
! busctl call org.freedesktop.DBus / org.freedesktop.DBus StartServiceByName su org.example.Direct 0
stat -c 'it ran as %U' /tmp/direct
systemctl reload dbus.service
echo finished
`

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
	for name, text := range map[string]string{"ask.sh": askSystemd, "answers": ""} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	boot := inNamespaces(t, "systemd.sh", work, module)
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
		`^\+ : reloading$`, `^Job for kdbus\.service failed`,
		`^\+ : what is denied is in the journal$`, `Access denied`,
		`reloaded the configuration`, `kdbus call: .*/etc/dbus-1/system-local\.conf:1: <deny>: the attribute nonsense is unknown`, `reloaded the configuration`,
		`Rejected send message, 3 matched rules; .* member="UpdateActivationEnvironment"`,
		`^denied: type=method_call, sender=.* member=UpdateActivationEnvironment`, `system\.conf:[0-9]+: <deny send_destination="org\.freedesktop\.DBus"`,
		`^user unit: kdbus\.service$`, `^org\.freedesktop\.systemd1`, `^user unit: active$`, `^NoNewPrivs:\s+1$`, `^Seccomp:\s+2$`,
		`^u 1$`, `^NoNewPrivs:\s+0$`, `^Seccomp:\s+0$`, `dbus-org\.example\.User`,
		`^Call failed: The permission of the setuid helper is not correct$`, `^it ran as nobody$`, `^NoNewPrivs:\s+0$`,
		`^after a reboot: /lib/systemd/system/dbus\.service$`,
		`^program: .*/usr/local/bin/kdbus$`, `^it ran as nobody$`, `^finished$`)
}
