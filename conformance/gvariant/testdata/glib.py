"""What GLib makes of serialised values: one on each line of standard input.

A line is WHAT TYPE HEX. The answer to "normal" is 1 or 0, whether the bytes are in
normal form, the normal form, and the names of the peculiarities of GLib that the bytes
come across; the answer to "swap" is the value in the other byte order. The answer to
"parse", with text instead of HEX, is the normal form. Hexadecimal digits of nothing are
"-".
"""
import re
import sys

from gi.repository import GLib

SIZES = dict(zip("ybnqiuhxtd", (1, 1, 2, 2, 4, 4, 4, 8, 8, 8)))


def variant(type_string, data):
    return GLib.Variant.new_from_bytes(GLib.VariantType(type_string), GLib.Bytes(data), False)


def serialised(value):
    return value.get_data_as_bytes().get_data() or b""


def hexadecimal(data):
    return data.hex() or "-"


def complete(type_string, i):
    """Where the complete type at an index ends."""
    depth = 0
    while True:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(type_string[i], 0)
        i += 1
        if depth == 0 and type_string[i - 1] not in "am":
            return i


def members(type_string):
    """The types in a tuple or dict entry type."""
    i, found = 1, []
    while i < len(type_string) - 1:
        end = complete(type_string, i)
        found.append(type_string[i:end])
        i = end
    return found


def alignment(type_string):
    kind = type_string[0]
    if kind in "am":
        return alignment(type_string[1:])
    if kind in "({":
        return max([alignment(m) for m in members(type_string)], default=1)
    return 8 if kind == "v" else SIZES.get(kind, 1)


def size(type_string):
    """The size of all values of a type, or None if they differ."""
    if type_string[0] not in "({":
        return SIZES.get(type_string[0])
    total, align = 0, alignment(type_string)
    for m in members(type_string):
        if size(m) is None:
            return None
        total += -total % alignment(m) + size(m)
    return max(1, total + -total % align)


def peculiarities(value, found):
    """Finds out where GLib is not what its own rules say."""
    type_string = value.get_type_string()
    if size(type_string) is not None:
        return
    data = serialised(value)
    kind = type_string[0]
    if kind == "g":
        text = data[:-1].decode("ascii", "replace")
        if GLib.Variant.is_signature(text) and re.search(r"\(\)|(?<!a)\{", text):
            found.add("lenient-signature")
    if kind in "({" and len(type_string) > 2:
        types = members(type_string)
        frames = sum(size(m) is None for m in types[:-1])
        width = 0 if not data else 1 if len(data) < 256 else 2 if len(data) < 65536 else 4
        if size(types[0]) is not None:
            end = size(types[0])
        elif len(types) > 1:
            end = int.from_bytes(data[len(data) - width:], "little")
        else:
            end = len(data)
        # The order of the others is not looked at: the index before 0 is a large one.
        if end > len(data):
            found.add("first-member-outside")
        if not data and frames:
            found.add("no-bytes-for-offsets")
    if kind in "amv({":
        for i in range(value.n_children()):
            peculiarities(value.get_child_value(i), found)


for line in sys.stdin:
    what, type_string, digits = line.rstrip("\n").split(" ", 2)
    if what == "parse":
        value = GLib.Variant.parse(GLib.VariantType(type_string), digits, None, None)
        print(hexadecimal(serialised(value)))
        continue
    data = b"" if digits == "-" else bytes.fromhex(digits)
    if what == "normal":
        # Each question needs a value of its own: GLib remembers.
        normal = variant(type_string, data).is_normal_form()
        found = set()
        peculiarities(variant(type_string, data), found)
        print(int(normal), hexadecimal(serialised(variant(type_string, data).get_normal_form())), *sorted(found))
    else:
        print(hexadecimal(serialised(variant(type_string, data).byteswap())))
