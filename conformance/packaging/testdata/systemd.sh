# Boots the systemd of this machine, on a copy of its file system that is thrown away, with kdbus in place of
# dbus.service for the system and for users. $2 is a directory to work in, $3 that of this module.
# What is asked of the machine is in the file $2/ask.sh; the answers go to $2/answers. $4 is a free port of TCP.
work=$2
port=$4
new=$work/root

# A copy of the file system, and directories of devices and processes of its own.
mkdir "$new" "$work/layers" "$work/cgroup"
mount -t tmpfs tmpfs "$work/layers"
mkdir "$work/layers/upper" "$work/layers/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layers/upper,workdir=$work/layers/work" "$new"
mount -t tmpfs tmpfs "$new/dev"
for device in null zero full random urandom tty; do
  : >"$new/dev/$device"
  mount --bind "/dev/$device" "$new/dev/$device"
done
mkdir "$new/dev/pts" "$new/dev/shm"
mount -t devpts devpts "$new/dev/pts" -o newinstance,ptmxmode=0666
ln -s pts/ptmx "$new/dev/ptmx"
mount -t proc proc "$new/proc"
mount -t sysfs -o ro sysfs "$new/sys"
mount -t tmpfs tmpfs "$new/run"
mount -t cgroup2 cgroup2 "$work/cgroup"
mkdir "$work/cgroup/${work##*/}"
echo 0 >"$work/cgroup/${work##*/}/cgroup.procs"

# Nothing of this machine but the bus, and nothing that reaches the kernel from inside.
units=$new/etc/systemd/system
rm -rf "$units" "$new/etc/systemd/user/dbus.service"
mkdir "$units"
for unit in systemd-sysctl.service systemd-binfmt.service systemd-modules-load.service systemd-remount-fs.service \
  systemd-tmpfiles-setup-dev.service systemd-update-utmp.service systemd-udevd.service systemd-udev-trigger.service \
  networking.service keyboard-setup.service console-setup.service tmp.mount proc-sys-fs-binfmt_misc.automount \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount; do
  ln -s /dev/null "$units/$unit"
done

# kdbus, as make install puts it, and as its documentation says to enable it.
cd "$3" || exit
DESTDIR=$new PREFIX=/usr/local INIT=systemd packaging/install install
systemctl --quiet --root="$new" enable kdbus.service
systemctl --quiet --root="$new" --global enable kdbus.service

# The bus listens on TCP, too, as its documentation says how.
mkdir -p "$units/dbus.socket.d" "$units/kdbus.service.d" "$new/etc/dbus-1"
printf '[Socket]\nListenStream=127.0.0.1:%s\n' "$port" >"$units/dbus.socket.d/tcp.conf"
printf '[Service]\nEnvironment=HOME=/var/lib/kdbus\nReadWritePaths=/var/lib/kdbus\n' >"$units/kdbus.service.d/tcp.conf"
chroot "$new" install -d -o messagebus -m 0700 /var/lib/kdbus
echo '<busconfig><auth>DBUS_COOKIE_SHA1</auth></busconfig>' >"$new/etc/dbus-1/system-local.conf"

cp "$work/ask.sh" "$new/etc/ask.sh"
: >"$new/etc/answers"
mount --bind "$work/answers" "$new/etc/answers"
cat >"$units/ask.service" <<END
[Unit]
After=basic.target dbus.service
Wants=basic.target dbus.service
[Service]
Type=oneshot
ExecStart=-/bin/bash -eux /etc/ask.sh
StandardOutput=append:/etc/answers
StandardError=append:/etc/answers
ExecStopPost=/bin/systemctl --no-block --force exit 0
TimeoutStartSec=150
END
# In this order: control groups of its own begin where this process is.
exec unshare --cgroup sh -euc "
  mount -t cgroup2 cgroup2 '$new/sys/fs/cgroup'
  container=kdbus-conformance exec chroot '$new' /lib/systemd/systemd --system --unit=ask.service --log-target=null --show-status=0"
