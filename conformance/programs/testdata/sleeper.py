"""A service that owns com.example.Sleeper and does not read its socket until a line comes on
standard input. It then prints how many calls Note(u) came, and whether their arguments count up
from 0, when the one with the argument of the command line has come.

usage: sleeper.py LAST
"""
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

last = int(sys.argv[1])
got = []
loop = GLib.MainLoop()


class Object(dbus.service.Object):
    @dbus.service.method('com.example.Sleeper', in_signature='us')
    def Note(self, number, text):
        got.append(number)
        if number == last:
            loop.quit()


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
name = dbus.service.BusName('com.example.Sleeper', bus)
service = Object(bus, '/')
print('asleep', flush=True)
sys.stdin.readline()
loop.run()
print(len(got), 'in order' if got == list(range(last + 1)) else 'out of order', flush=True)
