package dbus1

import (
	"os"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/wire"
)

// What the driver tells about peers: who they are, as the kernel has it.

// named reads the one argument of the call, a bus name, and finds who has it. self is true if that
// is the driver. what is wanted of it, for the error.
func (c *call) named(what string) (name string, owner *peer, self bool, err error) {
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
	return name, conn.Peer().(*peer), false, nil
}

func getConnectionUnixUser(c *call) error {
	name, owner, self, err := c.named("UID")
	switch {
	case err != nil:
		return err
	case self:
		return c.reply(c.server.uid)
	case !owner.known:
		return dbusErrorf("Failed", "Could not determine UID for '%s'", name)
	}
	return c.reply(owner.creds.UID)
}

func getConnectionUnixProcessID(c *call) error {
	name, owner, self, err := c.named("PID")
	switch {
	case err != nil:
		return err
	case self:
		return c.reply(uint32(os.Getpid()))
	case owner.creds.PID == 0:
		return dbusErrorf("UnixProcessIdUnknown", "Could not determine PID for '%s'", name)
	}
	return c.reply(owner.creds.PID)
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
		if label := owner.securityLabel(); label != "" {
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
		set("UnixUserID", "u", c.server.uid)
		return c.reply(credentials)
	}
	if owner.creds.PID != 0 {
		set("ProcessID", "u", owner.creds.PID)
	}
	if owner.known {
		set("UnixUserID", "u", owner.creds.UID)
		if groups, ok := owner.groups(); ok {
			set("UnixGroupIDs", "au", groups)
		}
	}
	if label := owner.securityLabel(); label != "" {
		// The label is bytes, ended by a NUL that counts.
		set("LinuxSecurityLabel", "ay", append([]byte(label), 0))
	}
	var fds []int
	if c.peer.takesFDs {
		if fd, ok := owner.pidfd(); ok {
			set("ProcessFD", "h", wire.UnixFD(0))
			fds = []int{fd}
		}
	}
	body, signature, err := wire.AppendBody(nil, wire.LittleEndian, credentials)
	if err != nil {
		closeAll(fds)
		return err
	}
	return c.peer.deliver(&wire.Header{
		Type:        wire.TypeMethodReturn,
		Flags:       wire.NoReplyExpected,
		ReplySerial: c.header.Serial,
		Signature:   string(signature),
	}, body, fds)
}

// The following ask the kernel about the peer's socket, which is possible while the peer is
// connected.

// groups returns the primary and the supplementary groups that the peer had when it connected.
func (p *peer) groups() (groups []uint32, ok bool) {
	if !p.acquire() {
		return nil, false
	}
	defer p.release()
	groups, err := meta.Socket(p.fd).Groups()
	if err != nil {
		return nil, false
	}
	for _, g := range groups {
		if g == p.creds.GID {
			return groups, true
		}
	}
	return append([]uint32{p.creds.GID}, groups...), true
}

func (p *peer) securityLabel() string {
	if !p.acquire() {
		return ""
	}
	defer p.release()
	label, err := meta.Socket(p.fd).SecurityLabel()
	if err != nil {
		return ""
	}
	return label
}

// pidfd returns a new pidfd of the peer's process.
func (p *peer) pidfd() (fd int, ok bool) {
	if !p.acquire() {
		return -1, false
	}
	defer p.release()
	fd, err := meta.Socket(p.fd).PIDFD()
	return fd, err == nil
}

var _ bus.Receiver = (*peer)(nil)
