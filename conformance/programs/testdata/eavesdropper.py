"""A client that sees what is not for it by means of match rules with eavesdrop='true'.

usage: eavesdropper.py RULE    prints "ready", then a line for each message that is overheard
"""
import sys

import dbus
import dbus.mainloop.glib
from gi.repository import GLib


def overheard(connection, message):
    if message.get_destination() != connection.get_unique_name():
        print(type(message).__name__, message.get_member(), *message.get_args_list(), flush=True)


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
bus.add_message_filter(overheard)
bus.add_match_string("eavesdrop='true'," + sys.argv[1])
print('ready', flush=True)
GLib.MainLoop().run()
