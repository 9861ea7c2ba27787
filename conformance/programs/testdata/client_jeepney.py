"""A client written with jeepney, blocking. Prints like client_dbus.py.

usage: client_jeepney.py NAME
"""
import os
import sys

from jeepney import DBusAddress, MatchRule, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

IFACE = 'com.example.Conformance'


def check(what, got, want):
    print('ok' if got == want else 'not ok', what if got == want else '%s: expected %r, got %r' % (what, want, got), flush=True)


with open_dbus_connection(bus='SESSION', enable_fds=True) as bus:
    address = DBusAddress('/com/example/Conformance', sys.argv[1], IFACE)

    def call(method, signature=None, body=(), addr=address):
        return bus.send_and_get_reply(new_method_call(addr, method, signature, body), timeout=10)

    signature = 'ybnqiuxtdsoga{sv}as(is(b))vayaai'
    values = (255, True, -32768, 65535, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615, -2.5, 'd\u00fc',
              '/a', 'as', {'x': ('i', 1)}, ['', 'a'], (7, 's', (True,)), ('u', 5), b'\x00\xff', [[1, 2], []])
    check('every type', call('EchoAll', signature, values).body, values)
    reply = call('Fail', 's', ('on purpose',))
    check('error', (reply.header.message_type, reply.body), (MessageType.error, ('on purpose',)))
    r, w = os.pipe()
    os.write(w, b'through the bus')
    os.close(w)
    check('descriptor sent', call('ReadFD', 'h', (r,)).body, ('through the bus',))
    os.close(r)
    with call('OpenFD', 's', ('and back',)).body[0].to_file('r') as f:
        check('descriptor received', f.read(), 'and back')
    driver = DBusAddress('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'org.freedesktop.DBus')
    rule = MatchRule(type='signal', interface=IFACE, member='Ticked')
    call('AddMatch', 's', (rule.serialise(),), driver)
    with bus.filter(rule) as queue:
        call('Emit', 's', ('tick',))
        check('signal', bus.recv_until_filtered(queue, timeout=10).body, ('tick', 4))
print('done', flush=True)
