"""A client written with dbus-python that tries everything the service offers.

usage: client_dbus.py NAME    prints "ok WHAT" or "not ok WHAT: WHY" for each thing tried, then "done"
"""
import os
import sys

import dbus
import dbus.mainloop.glib
from gi.repository import GLib

IFACE = 'com.example.Conformance'
PATH = '/com/example/Conformance'
EVERYTHING = 'ybnqiuxtdsoga{sv}as(is(b))vayaai'


def check(what, got, want):
    if got == want:
        print('ok', what, flush=True)
    else:
        print('not ok %s: expected %r, got %r' % (what, want, got), flush=True)


def echo(value, **kw):
    return bus.call_blocking(name, PATH, IFACE, 'Echo', 'v', [value], **kw)


def wait(condition):
    """Run the main loop until condition() holds, for 10 seconds at most."""
    loop = GLib.MainLoop.new(None, False)
    deadline = GLib.get_monotonic_time() + 10 * 1000 * 1000

    def poll():
        if condition() or GLib.get_monotonic_time() > deadline:
            loop.quit()
            return False
        return True
    GLib.timeout_add(5, poll)
    loop.run()


def error_of(function, *args):
    try:
        function(*args)
    except dbus.DBusException as e:
        return e.get_dbus_name(), e.get_dbus_message()
    return None, None


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
name = sys.argv[1]
proxy = bus.get_object(name, PATH, introspect=False)
service = dbus.Interface(proxy, IFACE)
properties = dbus.Interface(proxy, 'org.freedesktop.DBus.Properties')

values = [
    dbus.Byte(255), dbus.Boolean(True), dbus.Int16(-32768), dbus.UInt16(65535), dbus.Int32(-2147483648), dbus.UInt32(4294967295),
    dbus.Int64(-9223372036854775808), dbus.UInt64(18446744073709551615), dbus.Double(-2.5), dbus.String('d\u00fc\u4e16\U0001f600'),
    dbus.ObjectPath('/a/b_c/D1'), dbus.Signature('a{s(iv)}'),
    dbus.Dictionary({'x': dbus.Int32(1), 'y': dbus.Array(['p', 'q'], signature='s')}, signature='sv'),
    dbus.Array(['', 'a'], signature='s'), dbus.Struct((dbus.Int32(7), 's', dbus.Struct((True,)))),
    dbus.Dictionary({'k': dbus.Struct((1, 'v'))}, signature='s(is)'), dbus.ByteArray(b'\x00\x01\xff'),
    dbus.Array([dbus.Array([1, 2], signature='i'), dbus.Array([], signature='i')], signature='ai'),
]
got = bus.call_blocking(name, PATH, IFACE, 'EchoAll', EVERYTHING, values, byte_arrays=True)
check('every type', [str(g) if isinstance(g, str) else g for g in got], [str(v) if isinstance(v, str) else v for v in values])
check('types of the reply', ''.join(str(dbus.lowlevel.Message.guess_signature(g)) for g in got[:12]), 'ybnqiuxtdsog')
for v in values[:12] + [dbus.Array([], signature='a{oq}'), dbus.Dictionary({}, signature='us')]:
    check('variant of %s' % type(v).__name__, echo(v), v)
big = 'x' * (1 << 20)
check('a string of a MiB', echo(big), big)
check('error', error_of(service.Fail, 'on purpose'), ('com.example.Conformance.Error.Failed', 'on purpose'))
check('unknown method', error_of(service.NoSuchMethod)[0], 'org.freedesktop.DBus.Error.UnknownMethod')
check('unknown service', error_of(bus.get_object, 'com.example.Missing', '/')[0], 'org.freedesktop.DBus.Error.ServiceUnknown')
check('who am I', service.WhoAmI(), bus.get_unique_name())

r, w = os.pipe()
os.write(w, b'through the bus')
os.close(w)
check('descriptor sent', service.ReadFD(dbus.types.UnixFd(r)), 'through the bus')
os.close(r)
with os.fdopen(service.OpenFD('and back').take()) as f:
    check('descriptor received', f.read(), 'and back')

signals = []
match = bus.add_signal_receiver(lambda *args, **kw: signals.append((list(args), kw['sender'])), 'Ticked', IFACE, name, PATH, sender_keyword='sender')
service.Emit('tick')
service.Emit('tock')
wait(lambda: len(signals) >= 2)
owner = bus.get_name_owner(name)
check('signals', signals, [(['tick', 4], owner), (['tock', 4], owner)])
match.remove()
service.Emit('nobody hears this')

changes = []
proxy.connect_to_signal('PropertiesChanged', lambda *args: changes.append(args), 'org.freedesktop.DBus.Properties')
before = int(properties.Get(IFACE, 'Count'))
bus.call_blocking(name, PATH, 'org.freedesktop.DBus.Properties', 'Set', 'ssv', [IFACE, 'Greeting', 'good evening'])
wait(lambda: changes)
check('property set', properties.Get(IFACE, 'Greeting'), 'good evening')
check('PropertiesChanged', changes, [(IFACE, {'Greeting': 'good evening'}, ['Count'])])
check('all properties', properties.GetAll(IFACE), {'Greeting': 'good evening', 'Count': before + 1})
check('nobody heard', len(signals), 2)

check('request_name', bus.request_name('com.example.Conformance.Client'), dbus.bus.REQUEST_NAME_REPLY_PRIMARY_OWNER)
check('name_has_owner', bus.name_has_owner('com.example.Conformance.Client'), True)
check('release_name', bus.release_name('com.example.Conformance.Client'), dbus.bus.RELEASE_NAME_REPLY_RELEASED)

replies = []
for i in range(100):
    bus.call_async(name, PATH, IFACE, 'Echo', 'v', [dbus.Int32(i)], replies.append, replies.append)
wait(lambda: len(replies) == 100)
check('a hundred calls at once', replies, list(range(100)))
print('done', flush=True)
