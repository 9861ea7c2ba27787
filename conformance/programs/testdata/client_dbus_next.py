"""A client written with dbus-next on asyncio. Prints like client_dbus.py.

usage: client_dbus_next.py NAME
"""
import asyncio
import os
import sys

from dbus_next import DBusError, Message, Variant
from dbus_next.aio import MessageBus

IFACE = 'com.example.Conformance'
PATH = '/com/example/Conformance'


def check(what, got, want):
    print('ok' if got == want else 'not ok', what if got == want else '%s: expected %r, got %r' % (what, want, got), flush=True)


async def main():
    bus = await MessageBus(negotiate_unix_fd=True).connect()

    async def call(method, signature='', body=(), fds=()):
        return await bus.call(Message(sys.argv[1], PATH, IFACE, method, signature=signature, body=list(body), unix_fds=list(fds)))

    values = [255, True, -32768, 65535, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615, -2.5, 'd\u00fc', '/a', 'as',
              {'x': Variant('i', 1)}, ['', 'a'], [7, 's', [True]], Variant('u', 5), b'\x00\xff', [[1, 2], []]]
    check('every type', (await call('EchoAll', 'ybnqiuxtdsoga{sv}as(is(b))vayaai', values)).body, values)
    reply = await call('Fail', 's', ['on purpose'])
    check('error', (reply.error_name, reply.body), ('com.example.Conformance.Error.Failed', ['on purpose']))
    r, w = os.pipe()
    os.write(w, b'through the bus')
    os.close(w)
    check('descriptor sent', (await call('ReadFD', 'h', [0], [r])).body, ['through the bus'])
    reply = await call('OpenFD', 's', ['and back'])
    with os.fdopen(reply.unix_fds[reply.body[0]]) as f:
        check('descriptor received', f.read(), 'and back')

    introspection = await bus.introspect(sys.argv[1], PATH)
    check('introspection', IFACE in [i.name for i in introspection.interfaces], True)
    iface = bus.get_proxy_object(sys.argv[1], PATH, introspection).get_interface(IFACE)
    ticks = asyncio.get_event_loop().create_future()
    iface.on_ticked(lambda text, n: ticks.set_result((text, n)))
    await iface.call_emit('tick')
    check('signal', await asyncio.wait_for(ticks, 10), ('tick', 4))
    try:
        await iface.call_fail('again')
    except DBusError as e:
        check('error of the proxy', (e.type, e.text), ('com.example.Conformance.Error.Failed', 'again'))

asyncio.run(main())
print('done', flush=True)
