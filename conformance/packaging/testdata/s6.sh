# Runs the service directory for s6 with the configuration of this machine. $1 is where kdbus is installed.
exec 3>&1
mount -t tmpfs tmpfs /run
service=/run/service
cp -r "$1/share/kdbus/s6/kdbus" $service
# What the bus logs is awaited in a file, and shown in its place among the rest.
log=/run/log
exec >>$log 2>&1
trap 'cat $log >&3' EXIT
s6-supervise $service &
supervisor=$!
until s6-svok $service; do sleep 0.01; done

s6-svwait -U -t 10000 $service
echo "ready: $(s6-svstat -o ready $service)"
dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames >/dev/null
echo "user: $(stat -c %U "/proc/$(s6-svstat -o pid $service)")"
echo "domain: $(stat -c %U /run/kdbus) $("$1/bin/kdbus" bus list --no-pager --no-legend | tr -s ' ')"
s6-svc -h $service
until grep -q "reloaded the configuration" $log; do sleep 0.01; done
s6-svc -wD -T 10000 -d $service
echo "stopped: $(s6-svstat -o exitcode $service)"
[ ! -e /run/kdbus ] && echo "domain removed"

# A bus that was killed comes back.
s6-svc -wU -T 10000 -u $service
before=$(s6-svstat -o pid $service)
s6-svc -wr -T 10000 -k $service
s6-svwait -U -t 10000 $service
[ "$before" != "$(s6-svstat -o pid $service)" ] && echo "restarted after SIGKILL"
echo "domain: $(stat -c %U /run/kdbus) $("$1/bin/kdbus" bus list --no-pager --no-legend | tr -s ' ')"
s6-svc -wd -T 10000 -d $service

# One that cannot start does not come back.
sed -i 's|--system|--config-file=/nowhere|' $service/run
s6-svc -u $service
until [ "$(s6-svstat -o wantedup,exitcode $service)" = "false 1" ]; do sleep 0.01; done
echo "given up"
s6-svc -x $service
wait $supervisor
echo finished
