# Runs the init script of OpenRC with the configuration of this machine. $1 is where kdbus is installed.
mount -t tmpfs tmpfs /run
for dir in daemons exclusive failed hotplugged inactive options scheduled started starting stopping tmp wasinactive; do
  mkdir -p /run/openrc/$dir # as openrc sysinit does
done
touch /run/openrc/softlevel
mount -t tmpfs tmpfs /etc/init.d # with nothing of this machine but
printf '#!/sbin/openrc-run\nstart() { return 0; }\n' >/etc/init.d/localmount
chmod +x /etc/init.d/localmount
script=/etc/init.d/kdbus
cp "$1/etc/init.d/kdbus" $script

$script start
$script status
dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames >/dev/null
echo "user: $(stat -c %U "/proc/$(cat /run/kdbus.pid)")"
echo "domain: $(stat -c %U /run/kdbus) $("$1/bin/kdbus" bus list --no-pager --no-legend | tr -s ' ')"
$script reload
$script stop
[ ! -e /run/kdbus ] && echo "domain removed"
$script status || echo "status: $?"
$script start # over the socket that is left
$script restart
$script stop

# One that was killed is known to be gone. Nobody suffers who has got the number of its process.
$script start
bus=$(cat /run/kdbus.pid)
kill -9 "$bus"
while [ -e "/proc/$bus/exe" ]; do sleep 0.01; done
$script status || echo "killed: $?"
sleep 1000 &
echo $! >/run/kdbus.pid
$script status || echo "another: $?"
$script stop || echo "not stopped: $?"
kill -0 $! && echo "the other lives"
kill $!
$script zap
$script start
echo "domain: $(stat -c %U /run/kdbus) $("$1/bin/kdbus" bus list --no-pager --no-legend | tr -s ' ')"
$script stop

# One that cannot start says why, and is not started.
sed -i 's|--system|--config-file=/nowhere|' $script
$script start || echo "failed: $?"
echo finished
