package dbus1

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/wire"
)

// What the driver tells about peers: who they are, as the kernel has it, or as whom they are privileged to be known.

// nameOwner is a connection that has a name.
type nameOwner struct {
	conn *bus.Conn
	Identity
}

// named reads the one argument of the call, a bus name, and finds who has it. self is true if that
// is the driver. what is wanted of it, for the error.
func (c *call) named(what string) (name string, owner *nameOwner, self bool, err error) {
	if err := c.args(&name); err != nil {
		return "", nil, false, err
	}
	if name == driverName {
		return name, nil, true, nil
	}
	conn := c.find(name)
	if conn == nil {
		return "", nil, false, dbusErrorf("NameHasNoOwner", "Could not get %s of name '%s': no such name", what, name)
	}
	return name, &nameOwner{conn, toldOf(conn)}, false, nil
}

// toldOf returns who others are told is behind a connection. In everything else it is who has connected: see identityOf.
func toldOf(c *bus.Conn) Identity {
	if fake := c.Fake(); fake != nil {
		return impostor{identityOf(c), fake}
	}
	return identityOf(c)
}

// impostor is a peer that passes for somebody else, of whom nothing is known but what it gives: kdbus.connection(7).
type impostor struct {
	Identity
	fake *meta.Data
}

func (i impostor) Creds() meta.Creds {
	return meta.Creds{PID: i.fake.PIDs.PID, UID: i.fake.Creds.EUID, GID: i.fake.Creds.EGID}
}

func (i impostor) Known() bool { return i.fake.Has&meta.KindCreds != 0 && i.fake.Creds.EUID != unset }

func (impostor) Groups() (groups []uint32, ok bool) { return nil, false }

func (i impostor) SecurityLabel() string { return i.fake.SecLabel }

func (impostor) PIDFD() (fd int, ok bool) { return -1, false }

// unset is an id that is not known: see setreuid(2).
const unset = 1<<32 - 1

func getConnectionUnixUser(c *call) error {
	name, owner, self, err := c.named("UID")
	switch {
	case err != nil:
		return err
	case self:
		return c.reply(c.server.UID())
	case !owner.Known():
		return dbusErrorf("Failed", "Could not determine UID for '%s'", name)
	}
	return c.reply(owner.Creds().UID)
}

func getConnectionUnixProcessID(c *call) error {
	name, owner, self, err := c.named("PID")
	switch {
	case err != nil:
		return err
	case self:
		return c.reply(uint32(os.Getpid()))
	case owner.Creds().PID == 0:
		return dbusErrorf("UnixProcessIdUnknown", "Could not determine PID for '%s'", name)
	}
	return c.reply(owner.Creds().PID)
}

// getAdtAuditSessionData: only Solaris has such data.
func getAdtAuditSessionData(c *call) error {
	name, _, _, err := c.named("audit session data")
	if err != nil {
		return err
	}
	return dbusErrorf("AdtAuditDataUnknown", "Could not determine audit session data for '%s'", name)
}

func getConnectionSELinuxSecurityContext(c *call) error {
	name, owner, self, err := c.named("security context")
	if err != nil {
		return err
	}
	if !self && selinux() {
		if label := owner.SecurityLabel(); label != "" {
			return c.reply([]byte(label))
		}
	}
	return dbusErrorf("SELinuxSecurityContextUnknown", "Could not determine security context for '%s'", name)
}

// selinux reports whether SELinux is the security module in charge.
func selinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// getConnectionCredentials answers with everything that is known. The keys are those of the
// specification.
func getConnectionCredentials(c *call) error {
	_, owner, self, err := c.named("credentials")
	if err != nil {
		return err
	}
	credentials := make(map[string]wire.Variant)
	set := func(key string, signature wire.Signature, value any) {
		credentials[key] = wire.Variant{Signature: signature, Value: value}
	}
	if self {
		set("ProcessID", "u", uint32(os.Getpid()))
		set("UnixUserID", "u", c.server.UID())
		return c.reply(credentials)
	}
	if owner.Creds().PID != 0 {
		set("ProcessID", "u", owner.Creds().PID)
	}
	if owner.Known() {
		set("UnixUserID", "u", owner.Creds().UID)
		if groups, ok := owner.Groups(); ok {
			set("UnixGroupIDs", "au", groups)
		}
	}
	if label := owner.SecurityLabel(); label != "" {
		// The label is bytes, ended by a NUL that counts.
		set("LinuxSecurityLabel", "ay", append([]byte(label), 0))
	}
	var fds []int
	if c.peer.conn.AcceptFDs() {
		if fd, ok := owner.PIDFD(); ok {
			set("ProcessFD", "h", wire.UnixFD(0))
			fds = []int{fd}
		}
	}
	body, signature, err := wire.AppendBody(nil, wire.LittleEndian, credentials)
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return err
	}
	return c.peer.deliver(&wire.Header{
		Type:        wire.TypeMethodReturn,
		Flags:       wire.NoReplyExpected,
		ReplySerial: c.header.Serial,
		Signature:   string(signature),
	}, body, fds)
}
