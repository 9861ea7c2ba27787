package kdbus

import (
	"bytes"
	"context"
	"fmt"

	"github.com/kdbus-go/kdbus/abi"
)

// PeerMetadata returns what the bus knows of the owner of a bus name: of the kinds asked for, those
// that it has, as they were when the owner connected; a name without owner is
// [ErrNameHasNoOwner]. The bus itself, org.freedesktop.DBus, stands for who started it.
//
// On D-Bus 1 that is GetConnectionCredentials: the kinds abi.AttachCreds (of which only UID and
// EUID are known, others are abi.IDUnset), abi.AttachPIDs (only PID), abi.AttachAuxGroups
// and abi.AttachSecLabel, as far as the bus tells them.
func (c *Conn) PeerMetadata(ctx context.Context, name string, kinds abi.AttachFlags) (*abi.Metadata, error) {
	m, err := c.registry.peerMetadata(ctx, name, kinds)
	if err != nil {
		return nil, fmt.Errorf("kdbus: metadata of %s: %w", name, err)
	}
	return m, nil
}

func (b *nativeBus) peerMetadata(ctx context.Context, name string, kinds abi.AttachFlags) (*abi.Metadata, error) {
	conn := &abi.ConnInfo{AttachFlags: kinds}
	b.address(conn, name)
	cmd := abi.Command(conn)
	if name == busName {
		cmd = &abi.BusCreatorInfo{AttachFlags: kinds} // which is answered likewise
	}
	info, err := b.info(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return &info.Metadata, nil
}

// info runs a command that is answered by an Info.
func (b *nativeBus) info(ctx context.Context, cmd abi.Command) (info abi.Info, err error) {
	err = b.object.conn.do(ctx, cmd, func(answer []byte, err error) error {
		if err != nil {
			return notStarted(err)
		}
		info, err = infoOf(answer)
		return err
	})
	return info, err
}

func (b busObject) peerMetadata(ctx context.Context, name string, kinds abi.AttachFlags) (*abi.Metadata, error) {
	answer, err := Call[map[string]Variant](ctx, b.object, busName+".GetConnectionCredentials", name)
	if err != nil {
		return nil, err
	}
	m := new(abi.Metadata)
	if uid, ok := answer["UnixUserID"].Value.(uint32); ok && kinds&abi.AttachCreds != 0 {
		const unset = abi.IDUnset
		m.Creds = abi.Creds{UID: uint64(uid), EUID: uint64(uid), SUID: unset, FSUID: unset,
			GID: unset, EGID: unset, SGID: unset, FSGID: unset}
		m.Has |= abi.AttachCreds
	}
	if pid, ok := answer["ProcessID"].Value.(uint32); ok && kinds&abi.AttachPIDs != 0 {
		m.PIDs.PID = uint64(pid)
		m.Has |= abi.AttachPIDs
	}
	if groups, ok := answer["UnixGroupIDs"].Value.([]uint32); ok && kinds&abi.AttachAuxGroups != 0 {
		for _, g := range groups {
			m.AuxGroups = append(m.AuxGroups, uint64(g))
		}
		m.Has |= abi.AttachAuxGroups
	}
	if label, ok := answer["LinuxSecurityLabel"].Value.([]byte); ok && kinds&abi.AttachSecLabel != 0 {
		m.SecLabel = string(bytes.TrimRight(label, "\x00"))
		m.Has |= abi.AttachSecLabel
	}
	return m, nil
}

// BusInfo returns what a native bus tells of itself and of who made it: its name, such as "1000-user"; in Flags,
// as [abi.MakeFlags], who may connect; and of the kinds of metadata asked for, those that are known of the process
// that made it, at that time (kdbus.connection(7), "Retrieving information about a connection's bus creator").
// On D-Bus 1 the error is [ErrNotNative].
func (c *Conn) BusInfo(ctx context.Context, kinds abi.AttachFlags) (*abi.Info, error) {
	bus, native := c.registry.(*nativeBus)
	err := ErrNotNative
	info := new(abi.Info)
	if native {
		*info, err = bus.info(ctx, &abi.BusCreatorInfo{AttachFlags: kinds})
	}
	if err != nil {
		return nil, fmt.Errorf("kdbus: info of the bus: %w", err)
	}
	return info, nil
}
