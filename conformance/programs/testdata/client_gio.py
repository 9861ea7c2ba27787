"""The client of client_dbus.py, written with GDBus.

usage: client_gio.py NAME    prints "ok WHAT" or "not ok WHAT: WHY" for each thing tried, then "done"
"""
import os
import sys

from gi.repository import Gio, GLib

IFACE = 'com.example.Conformance'
PATH = '/com/example/Conformance'
PROPERTIES = 'org.freedesktop.DBus.Properties'
EVERYTHING = '(ybnqiuxtdsoga{sv}as(is(b))vayaai)'


def check(what, got, want):
    if got == want:
        print('ok', what, flush=True)
    else:
        print('not ok %s: expected %r, got %r' % (what, want, got), flush=True)


def wait(condition):
    """Run the default main context until condition() holds, for 10 seconds at most."""
    deadline = GLib.get_monotonic_time() + 10 * 1000 * 1000
    GLib.timeout_add(5, lambda: GLib.get_monotonic_time() < deadline)
    while not condition() and GLib.get_monotonic_time() < deadline:
        GLib.MainContext.default().iteration(True)


bus = Gio.bus_get_sync(Gio.BusType.SESSION)
name = sys.argv[1]


def call(method, signature=None, args=(), iface=IFACE, dest=None):
    params = GLib.Variant(signature, args) if signature else None
    return bus.call_sync(dest or name, PATH, iface, method, params, None, Gio.DBusCallFlags.NONE, 10000, None)


def error_of(*args, **kw):
    try:
        call(*args, **kw)
    except GLib.Error as e:
        return Gio.DBusError.get_remote_error(e), e.message.split(': ', 1)[-1]
    return None, None


values = (255, True, -32768, 65535, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615, -2.5,
          'd\u00fc\u4e16\U0001f600', '/a/b_c/D1', 'a{s(iv)}',
          {'x': GLib.Variant('i', 1), 'y': GLib.Variant('as', ['p', 'q'])}, ['', 'a'], (7, 's', (True,)),
          GLib.Variant('a{s(is)}', {'k': (1, 'v')}), b'\x00\x01\xff', [[1, 2], []])
sent = GLib.Variant(EVERYTHING, values)
got = call('EchoAll', EVERYTHING, values)
check('types of the reply', got.get_type_string(), EVERYTHING)
check('every type', got.print_(True), sent.print_(True))
for text in ['byte 0x07', 'true', 'int16 -1', 'uint16 1', '-5', 'uint32 5', 'int64 -5', 'uint64 5', '0.1', "'text'", "objectpath '/'",
             "signature 'a(ii)'", '@a{oq} {}', '@aas []', "(1, 'two', [3.0])", '<<<true>>>', "b'bytes'"]:
    v = GLib.Variant.parse(None, text, None, None)
    back = call('Echo', '(v)', (v,)).get_child_value(0).get_variant()
    check('variant ' + v.get_type_string(), back.print_(True), v.print_(True))
big = 'x' * (1 << 20)
check('a string of a MiB', call('Echo', '(v)', (GLib.Variant('s', big),)).unpack()[0], big)
check('error', error_of('Fail', '(s)', ('on purpose',)), ('com.example.Conformance.Error.Failed', 'on purpose'))
check('unknown method', error_of('NoSuchMethod')[0], 'org.freedesktop.DBus.Error.UnknownMethod')
check('unknown service', error_of('X', dest='com.example.Missing')[0], 'org.freedesktop.DBus.Error.ServiceUnknown')
check('who am I', call('WhoAmI').unpack()[0], bus.get_unique_name())

r, w = os.pipe()
os.write(w, b'through the bus')
os.close(w)
fds = Gio.UnixFDList.new()
index = fds.append(r)
os.close(r)
reply, _ = bus.call_with_unix_fd_list_sync(name, PATH, IFACE, 'ReadFD', GLib.Variant('(h)', (index,)), None,
                                           Gio.DBusCallFlags.NONE, 10000, fds, None)
check('descriptor sent', reply.unpack()[0], 'through the bus')
reply, fds = bus.call_with_unix_fd_list_sync(name, PATH, IFACE, 'OpenFD', GLib.Variant('(s)', ('and back',)), None,
                                             Gio.DBusCallFlags.NONE, 10000, None, None)
with os.fdopen(fds.get(reply.unpack()[0])) as f:
    check('descriptor received', f.read(), 'and back')

signals = []
owner = call('GetNameOwner', '(s)', (name,), 'org.freedesktop.DBus', 'org.freedesktop.DBus').unpack()[0]
subscription = bus.signal_subscribe(name, IFACE, 'Ticked', PATH, None, Gio.DBusSignalFlags.NONE,
                                    lambda c, sender, path, iface, member, params: signals.append((list(params.unpack()), sender)))
call('Emit', '(s)', ('tick',))
call('Emit', '(s)', ('tock',))
wait(lambda: len(signals) >= 2)
check('signals', signals, [(['tick', 4], owner), (['tock', 4], owner)])
bus.signal_unsubscribe(subscription)
call('Emit', '(s)', ('nobody hears this',))

proxy = Gio.DBusProxy.new_sync(bus, Gio.DBusProxyFlags.NONE, None, name, PATH, IFACE, None)
changes = []
proxy.connect('g-properties-changed', lambda p, changed, invalidated: changes.append((changed.unpack(), list(invalidated))))
before = call('Get', '(ss)', (IFACE, 'Count'), PROPERTIES).unpack()[0]
call('Set', '(ssv)', (IFACE, 'Greeting', GLib.Variant('s', 'good evening')), PROPERTIES)
wait(lambda: changes)
check('property set', call('Get', '(ss)', (IFACE, 'Greeting'), PROPERTIES).unpack()[0], 'good evening')
check('PropertiesChanged', changes, [({'Greeting': 'good evening'}, ['Count'])])
check('all properties', call('GetAll', '(s)', (IFACE,), PROPERTIES).unpack()[0], {'Greeting': 'good evening', 'Count': before + 1})
check('nobody heard', len(signals), 2)

seen = []
watch = Gio.bus_watch_name_on_connection(bus, 'com.example.Conformance.Client', Gio.BusNameWatcherFlags.NONE,
                                         lambda c, n, o: seen.append('appeared ' + o), lambda c, n: seen.append('vanished'))
wait(lambda: seen)
own = Gio.bus_own_name_on_connection(bus, 'com.example.Conformance.Client', Gio.BusNameOwnerFlags.NONE, None, None)
wait(lambda: len(seen) == 2)
Gio.bus_unown_name(own)
wait(lambda: len(seen) == 3)
check('a name appears and vanishes', seen, ['vanished', 'appeared ' + bus.get_unique_name(), 'vanished'])

replies = []
for i in range(100):
    bus.call(name, PATH, IFACE, 'Echo', GLib.Variant('(v)', (GLib.Variant('i', i),)), None, Gio.DBusCallFlags.NONE, 10000, None,
             lambda c, result: replies.append(c.call_finish(result).unpack()[0]))
wait(lambda: len(replies) == 100)
check('a hundred calls at once', replies, list(range(100)))
print('done', flush=True)
