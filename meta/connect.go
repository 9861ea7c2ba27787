package meta

import "golang.org/x/sys/unix"

// Collect returns what can be known of the process that connected, of the kinds in want. It costs
// nothing if want has none of [ProcessKinds]. The error is that the socket cannot say who connected;
// it is no UNIX socket then, or not connected.
//
// What the socket itself knows was true when the peer connected. The rest is what the process is now,
// if it still runs; see the package comment for what is believed of that, and for the wait that
// [KindCmdline] can bring.
func (s Socket) Collect(want Kinds) (Data, error) {
	var d Data
	want &= ProcessKinds
	if want == 0 {
		return d, nil
	}
	creds, err := s.Creds()
	if err != nil {
		return d, err
	}
	if creds.UID == IDUnset {
		return d, errNotConnected
	}
	d.setKnown(want, IDs{
		IDUnset, creds.UID, IDUnset, IDUnset,
		IDUnset, creds.GID, IDUnset, IDUnset,
	}, creds.PID)
	if want&KindAuxGroups != 0 {
		if groups, err := s.Groups(); err == nil {
			d.AuxGroups = groups
			d.Has |= KindAuxGroups
		}
	}
	if want&KindSecLabel != 0 {
		if label, err := s.SecurityLabel(); err == nil {
			d.setSecLabel(want, label)
		}
	}
	rest := want & later &^ KindAuxGroups
	if rest == 0 || creds.PID == 0 {
		return d, nil
	}
	if pidfd, err := s.PIDFD(); err == nil {
		d.observe(pidfd, rest, proof{pid: creds.PID, uid: creds.UID, gid: creds.GID, which: effectiveID})
		unix.Close(pidfd)
	}
	return d, nil
}
