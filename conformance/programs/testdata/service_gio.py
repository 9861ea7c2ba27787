"""The service of service_dbus.py, written with GDBus.

usage: service_gio.py NAME    prints "ready" when it owns NAME, ends when Quit is called
"""
import os
import sys

from gi.repository import Gio, GLib

IFACE = 'com.example.Conformance'
XML = '''<node><interface name="com.example.Conformance">
  <method name="EchoAll">%s</method>
  <method name="Echo"><arg type="v" direction="in"/><arg type="v" direction="out"/></method>
  <method name="Fail"><arg type="s" direction="in"/></method>
  <method name="ReadFD"><arg type="h" direction="in"/><arg type="s" direction="out"/></method>
  <method name="OpenFD"><arg type="s" direction="in"/><arg type="h" direction="out"/></method>
  <method name="Emit"><arg type="s" direction="in"/></method>
  <method name="WhoAmI"><arg type="s" direction="out"/></method>
  <method name="Quit"/>
  <signal name="Ticked"><arg type="s"/><arg type="u"/></signal>
  <property name="Greeting" type="s" access="readwrite"/>
  <property name="Count" type="u" access="read"/>
</interface></node>'''
TYPES = ['y', 'b', 'n', 'q', 'i', 'u', 'x', 't', 'd', 's', 'o', 'g', 'a{sv}', 'as', '(is(b))', 'v', 'ay', 'aai']
ARGS = ''.join('<arg type="%s" direction="%s"/>' % (t, d) for d in ('in', 'out') for t in TYPES)
values = {'Greeting': GLib.Variant('s', 'hello'), 'Count': GLib.Variant('u', 0)}
loop = GLib.MainLoop()


def call(connection, sender, path, iface, method, params, invocation):
    if method in ('EchoAll', 'Echo'):
        invocation.return_value(params)
    elif method == 'Fail':
        invocation.return_dbus_error(IFACE + '.Error.Failed', params[0])
    elif method == 'ReadFD':
        fds = invocation.get_message().get_unix_fd_list()
        with os.fdopen(fds.get(params[0])) as f:
            invocation.return_value(GLib.Variant('(s)', (f.read(),)))
    elif method == 'OpenFD':
        r, w = os.pipe()
        os.write(w, params[0].encode())
        os.close(w)
        fds = Gio.UnixFDList.new()
        index = fds.append(r)
        os.close(r)
        invocation.return_value_with_unix_fd_list(GLib.Variant('(h)', (index,)), fds)
    elif method == 'Emit':
        connection.emit_signal(None, path, IFACE, 'Ticked', GLib.Variant('(su)', (params[0], len(params[0]))))
        invocation.return_value(None)
    elif method == 'WhoAmI':
        invocation.return_value(GLib.Variant('(s)', (sender,)))
    elif method == 'Quit':
        invocation.return_value(None)
        connection.flush_sync()
        loop.quit()


def get_property(connection, sender, path, iface, name):
    return values[name]


def set_property(connection, sender, path, iface, name, value):
    values[name] = value
    values['Count'] = GLib.Variant('u', values['Count'].unpack() + 1)
    connection.emit_signal(None, path, 'org.freedesktop.DBus.Properties', 'PropertiesChanged',
                           GLib.Variant('(sa{sv}as)', (IFACE, {name: value}, ['Count'])))
    return True


def acquired(connection, name):
    print('ready', flush=True)


def lost(connection, name):
    print('lost the name', flush=True)
    loop.quit()


bus = Gio.bus_get_sync(Gio.BusType.SESSION)
info = Gio.DBusNodeInfo.new_for_xml(XML % ARGS)
bus.register_object('/com/example/Conformance', info.interfaces[0], call, get_property, set_property)
Gio.bus_own_name_on_connection(bus, sys.argv[1], Gio.BusNameOwnerFlags.NONE, acquired, lost)
loop.run()
