"""A client written with pydbus. Prints like client_dbus.py.

usage: client_pydbus.py NAME
"""
import sys

import pydbus
from gi.repository import GLib


def check(what, got, want):
    print('ok' if got == want else 'not ok', what if got == want else '%s: expected %r, got %r' % (what, want, got), flush=True)


bus = pydbus.SessionBus()
service = bus.get(sys.argv[1], '/com/example/Conformance')
check('call', service.Echo(GLib.Variant('as', ['a', 'b'])), ['a', 'b'])
check('property', service.Get('com.example.Conformance', 'Count') >= 0, True)
try:
    service.Fail('on purpose')
except GLib.Error as e:
    check('error', 'on purpose' in e.message, True)
loop = GLib.MainLoop()
GLib.timeout_add_seconds(10, loop.quit)
got = []
service.Ticked.connect(lambda *args: (got.append(args), loop.quit()))
service.Emit('tick')
loop.run()
check('signal', got, [('tick', 4)])
check('names', 'org.freedesktop.DBus' in bus.get('.DBus').ListNames(), True)
print('done', flush=True)
