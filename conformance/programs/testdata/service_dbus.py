"""A service written with dbus-python: com.example.Conformance on /com/example/Conformance.

usage: service_dbus.py NAME    prints "ready" when it owns NAME, ends when Quit is called
"""
import os
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

IFACE = 'com.example.Conformance'
PROPERTIES = 'org.freedesktop.DBus.Properties'
EVERYTHING = 'ybnqiuxtdsoga{sv}as(is(b))vayaai'


class Failed(dbus.DBusException):
    _dbus_error_name = 'com.example.Conformance.Error.Failed'


class Object(dbus.service.Object):
    def __init__(self, bus, path, loop):
        super().__init__(bus, path)
        self.loop = loop
        self.values = {'Greeting': dbus.String('hello'), 'Count': dbus.UInt32(0)}

    @dbus.service.method(IFACE, in_signature=EVERYTHING, out_signature=EVERYTHING)
    def EchoAll(self, y, b, n, q, i, u, x, t, d, s, o, g, asv, strings, struct, v, ay, aai):
        return y, b, n, q, i, u, x, t, d, s, o, g, asv, strings, struct, v, ay, aai

    @dbus.service.method(IFACE, in_signature='v', out_signature='v')
    def Echo(self, value):
        if getattr(value, 'variant_level', 0) == 0:
            value = type(value)(value, variant_level=1)
        return value

    @dbus.service.method(IFACE, in_signature='s')
    def Fail(self, text):
        raise Failed(text)

    @dbus.service.method(IFACE, in_signature='h', out_signature='s')
    def ReadFD(self, fd):
        with os.fdopen(fd.take()) as f:
            return f.read()

    @dbus.service.method(IFACE, in_signature='s', out_signature='h')
    def OpenFD(self, text):
        r, w = os.pipe()
        os.write(w, text.encode())
        os.close(w)
        fd = dbus.types.UnixFd(r)
        os.close(r)
        return fd

    @dbus.service.method(IFACE, in_signature='s')
    def Emit(self, text):
        self.Ticked(text, len(text))

    @dbus.service.signal(IFACE, signature='su')
    def Ticked(self, text, length):
        pass

    @dbus.service.method(IFACE)
    def Quit(self):
        GLib.idle_add(self.loop.quit)

    @dbus.service.method(IFACE, out_signature='s', sender_keyword='sender')
    def WhoAmI(self, sender):
        return sender

    @dbus.service.method(PROPERTIES, in_signature='ss', out_signature='v')
    def Get(self, iface, name):
        return self.values[name]

    @dbus.service.method(PROPERTIES, in_signature='s', out_signature='a{sv}')
    def GetAll(self, iface):
        return self.values

    @dbus.service.method(PROPERTIES, in_signature='ssv')
    def Set(self, iface, name, value):
        if name != 'Greeting':
            raise dbus.DBusException('read-only', name='org.freedesktop.DBus.Error.PropertyReadOnly')
        self.values[name] = dbus.String(value)
        self.values['Count'] = dbus.UInt32(self.values['Count'] + 1)
        self.PropertiesChanged(IFACE, {name: self.values[name]}, ['Count'])

    @dbus.service.signal(PROPERTIES, signature='sa{sv}as')
    def PropertiesChanged(self, iface, changed, invalidated):
        pass


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
name = dbus.service.BusName(sys.argv[1], bus, do_not_queue=True)
loop = GLib.MainLoop()
service = Object(bus, '/com/example/Conformance', loop)
print('ready', flush=True)
loop.run()
