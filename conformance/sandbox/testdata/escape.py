"""Tries to get at a message bus from which it is to be kept.

Prints a line "out: WAY" for each way that leads to the bus, and "in: WAY" for each that does not. The
bus has been reached where the name SECRET is seen. As arguments it takes JSON, see escape_test.go.
"""
import ctypes
import json
import os
import re
import socket
import struct
import sys

SECRET = b"com.example.Secret"
arguments = json.loads(sys.argv[1])
BUS, DIRECTORY = arguments["bus"], os.path.dirname(arguments["bus"])
UID = os.getuid()  # as the bus has it, whatever it is in namespaces of its own
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_REC, MNT_DETACH = 4096, 16384, 2
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
PIDFD_OPEN, PIDFD_GETFD = 434, 438
SO_PEERPIDFD = 77


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def message(serial, member):
    def field(code, kind, text):
        return struct.pack("<B", code) + b"\x01" + kind + b"\0" + struct.pack("<I", len(text)) + text + b"\0"

    fields = b""
    for part in (field(1, b"o", b"/org/freedesktop/DBus"), field(2, b"s", b"org.freedesktop.DBus"),
                 field(3, b"s", member), field(6, b"s", b"org.freedesktop.DBus")):
        fields += b"\0" * (-len(fields) % 8) + part
    head = struct.pack("<cBBBIII", b"l", 1, 0, 1, 0, serial, len(fields)) + fields
    return head + b"\0" * (-len(head) % 8)


def sees_secret(s):
    """Whether a connected socket leads to the bus."""
    s.settimeout(5)
    uid = str(UID).encode().hex().encode()
    s.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\nBEGIN\r\n" + message(1, b"Hello") + message(2, b"ListNames"))
    got = b""
    while SECRET not in got:
        # The answer to ListNames is an array of strings, which begins with the name of the bus.
        listed = re.search(rb"org\.freedesktop\.DBus\0[^\0]*.{0,8}as\0", got, re.S)
        part = s.recv(65536)
        if not part:
            return False
        got += part
        if listed and len(got) > listed.end() + 200:
            break
        if b"as\0" in got and got.count(b":1.") > 3 and SECRET not in got:
            s.settimeout(0.3)
    return SECRET in got


def reach(path):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(path)
        return sees_secret(s)
    except TimeoutError:
        return False
    finally:
        s.close()


def in_child(way):
    """Runs a way in a process of its own, whose namespaces it may change."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if way() else 1)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def own_namespaces():
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    for name, text in (("setgroups", "deny"), ("uid_map", "0 %d 1" % uid), ("gid_map", "0 %d 1" % gid)):
        try:
            with open("/proc/self/" + name, "w") as f:
                f.write(text)
        except OSError:
            pass  # it has all capabilities there nevertheless


def uncovered_by_umount():
    own_namespaces()
    for path in (BUS.encode(), DIRECTORY.encode(), arguments["domain"].encode()):
        libc.umount2(path, MNT_DETACH)
    return reach(BUS)


def uncovered_by_bind(flags):
    own_namespaces()
    check(libc.mount(b"none", b"/mnt", b"tmpfs", 0, None))
    os.mkdir("/mnt/below")
    check(libc.mount(DIRECTORY.encode(), b"/mnt/below", None, MS_BIND | flags, None))
    return reach("/mnt/below/" + os.path.basename(BUS))


def moved_away():
    os.rename(BUS, BUS + ".moved")
    try:
        return reach(BUS + ".moved") or reach(BUS)
    finally:
        os.rename(BUS + ".moved", BUS)


def linked():
    os.link(BUS, BUS + ".link")
    try:
        return reach(BUS + ".link")
    finally:
        os.unlink(BUS + ".link")


def relative():
    os.chdir(DIRECTORY)
    return reach("./" + os.path.basename(BUS))


def from_where_it_started():
    return reach(os.path.basename(BUS))


def through_roots():
    """/proc/PID/root of all processes, and of those that are known to be outside."""
    pids = [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
    for pid in pids + [str(p) for p in arguments["outside"]]:
        for link in ("root", "cwd"):
            try:
                if os.path.samefile("/proc/%s/%s" % (pid, link), "/") or link == "cwd":
                    path = "/proc/%s/root%s" % (pid, BUS)
                    if int(pid) in arguments["outside"] and reach(path):
                        return True
            except OSError:
                pass
    return False


def stolen(pidfd):
    """A descriptor of another process."""
    for fd in range(64):
        if libc.syscall(PIDFD_GETFD, pidfd, fd, 0) >= 0:
            return True
    return False


def stolen_by_pid():
    for pid in arguments["outside"]:
        pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
        if pidfd >= 0 and stolen(pidfd):
            return True
    return False


def peer_of_the_bus():
    s = socket.socket(socket.AF_UNIX)
    s.connect(BUS)
    return struct.unpack("i", s.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, 4))[0]


def entered_by_peer():
    check(libc.setns(peer_of_the_bus(), CLONE_NEWNS))
    return reach(BUS)


def entered_by_nsfs():
    for pid in arguments["outside"]:
        try:
            fd = os.open("/proc/%d/ns/mnt" % pid, os.O_RDONLY)
        except OSError:
            continue
        # To enter takes a privilege, in whatever namespace; to hold it is bad enough.
        return fd >= 0
    return False


def traced():
    for pid in arguments["outside"]:
        if libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0:
            libc.ptrace(PTRACE_DETACH, pid, None, None)
            return True
    return False


def memory():
    for pid in arguments["outside"]:
        try:
            os.close(os.open("/proc/%d/mem" % pid, os.O_RDWR))
            return True
        except OSError:
            pass
    return False


def signalled():
    for pid in arguments["outside"]:
        try:
            os.kill(pid, 0)
            return True
        except OSError:
            pass
    return False


def inherited():
    for fd in range(3, 64):
        try:
            os.fstat(fd)
            return True
        except OSError:
            pass
    return False


def other_endpoints():
    """Sockets of the domain, by which the bus can be reached, or another endpoint."""
    for top, _, files in os.walk(arguments["domain"]):
        for name in files:
            try:
                if reach(os.path.join(top, name)):
                    return True
            except OSError:
                pass
    return False


def root_by_setuid():
    os.setuid(0)
    return os.getuid() == 0 and capable()


def capable():
    with open("/proc/self/status") as f:
        return int(re.search(r"CapEff:\s*(\S+)", f.read()).group(1), 16) != 0


WAYS = [
    ("descriptors that were inherited", inherited),
    ("the old address", lambda: reach(BUS)),
    ("the old address from the working directory", from_where_it_started),
    ("another socket of the bus", lambda: reach(arguments["second"])),
    ("an abstract socket of the bus", lambda: reach("\0" + arguments["abstract"])),
    ("a relative path", lambda: in_child(relative)),
    ("another endpoint", other_endpoints),
    ("/proc/PID/root", through_roots),
    ("a descriptor of a process", stolen_by_pid),
    ("a descriptor of the bus, by its socket", lambda: stolen(peer_of_the_bus())),
    ("the namespace of the bus, by its socket", lambda: in_child(entered_by_peer)),
    ("the namespace of a process", entered_by_nsfs),
    ("tracing a process", traced),
    ("memory of a process", memory),
    ("signals to a process", signalled),
    ("unmounting what covers it", lambda: in_child(uncovered_by_umount)),
    ("mounting what is below", lambda: in_child(lambda: uncovered_by_bind(0))),
    ("mounting all that is below", lambda: in_child(lambda: uncovered_by_bind(MS_REC))),
    ("moving what covers it", moved_away),
    ("linking what is covered", linked),
    ("being root", lambda: in_child(root_by_setuid)),
]

for name, way in WAYS:
    try:
        found = way()
    except OSError:
        found = False
    print("out:" if found else "in:", name, flush=True)
