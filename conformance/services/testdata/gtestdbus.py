"""Start a bus with GTestDBus, have it activate com.example.Echo, and stop it.

usage: gtestdbus.py DIRECTORY-OF-SERVICE-FILES
"""
import sys

import gi
gi.require_version('Gio', '2.0')
from gi.repository import Gio, GLib


def call(connection, name, path, interface, method, arguments=None):
    return connection.call_sync(name, path, interface, method, arguments, None, Gio.DBusCallFlags.NONE, 10000, None)


bus = Gio.TestDBus.new(Gio.TestDBusFlags.NONE)
bus.add_service_dir(sys.argv[1])
bus.up()
print('address', bus.get_bus_address())
# The address is in the environment as well.
connection = Gio.bus_get_sync(Gio.BusType.SESSION, None)
connection.set_exit_on_close(False)
pid = call(connection, 'org.freedesktop.DBus', '/org/freedesktop/DBus', 'org.freedesktop.DBus', 'GetConnectionUnixProcessID',
           GLib.Variant('(s)', ('org.freedesktop.DBus',)))
print('pid', pid.unpack()[0])
print('reply', call(connection, 'com.example.Echo', '/', 'com.example.Echo', 'Anything'))
del connection
bus.down()
print('down')
