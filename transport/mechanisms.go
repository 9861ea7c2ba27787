package transport

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"

	"github.com/kdbus-go/kdbus/keyring"
)

// Which ways to authenticate a peer is offered.

// Mechanisms are the names of the mechanisms of authentication that there are, the most trustworthy
// first (D-Bus specification, "Authentication Mechanisms").
var Mechanisms = []string{"EXTERNAL", "DBUS_COOKIE_SHA1", "ANONYMOUS"}

// offers returns what the peer may negotiate.
func (p *Peer) offers(guid string) saslConfig {
	s, local := p.server, p.remote == nil
	allowed := func(mechanism string) bool {
		return s.config.Mechanisms == nil || slices.Contains(s.config.Mechanisms, mechanism)
	}
	c := saslConfig{
		ServerGUID: guid,
		External:   allowed("EXTERNAL") && (local || s.config.Mechanisms != nil), // in vain, but clients want to see something
		Anonymous:  s.config.AllowAnonymous && allowed("ANONYMOUS"),
		UnixFD:     local,
		Native:     local && s.config.Native != nil, // which needs memfds
	}
	if allowed("DBUS_COOKIE_SHA1") && (!local || s.config.Mechanisms != nil) {
		c.Cookie = p.cookie
	}
	return c
}

// errNotOurs is why only cookies of this user are offered: in the keyring of another, who can put
// there what it likes, a privileged process would write to files that the other chooses (CVE-2019-12749).
var errNotOurs = errors.New("only the user who runs the bus can be authenticated so")

// cookie returns the cookie that the peer has to know to be who it says. A local one can only be who it
// is.
func (p *Peer) cookie(identity string) (c keyring.Cookie, uid uint32, err error) {
	p.TakeLong() // the files can be anywhere, and locked
	s := p.server
	if identity != strconv.FormatUint(uint64(s.uid), 10) && !slices.Contains(s.names(), identity) || p.remote == nil && p.creds.UID != s.uid {
		return c, 0, errNotOurs
	}
	ring, err := s.cookies()
	if err == nil {
		c, err = ring.Recent(keyring.GeneralContext)
	}
	return c, s.uid, err
}

// ownKeyring returns the keyring of the user of this process.
func (s *Server) ownKeyring() (*keyring.Ring, error) {
	if s.config.Keyring != nil {
		return s.config.Keyring, nil
	}
	return keyring.Own()
}

// ownNames returns what the user of this process is called.
func (s *Server) ownNames() []string {
	me, err := user.LookupId(strconv.FormatUint(uint64(s.uid), 10))
	if err != nil {
		s.log.Warn("the user of the bus has no name, so clients have to give its number", "uid", s.uid, "error", err)
		return nil
	}
	return []string{me.Username}
}

// memberships returns the groups of the peer, the primary one included: those that it has, or, for one
// that the kernel does not know, those of its user. Nil if they cannot be known.
func (p *Peer) memberships() []uint32 {
	if p.remote == nil {
		groups, _ := p.Groups()
		return groups
	}
	if !p.known {
		return nil
	}
	return p.remote.groups
}

// lookUpGroups finds the groups that the user database has for a remote peer.
func (p *Peer) lookUpGroups() error {
	p.TakeLong()
	account, err := user.LookupId(strconv.FormatUint(uint64(p.creds.UID), 10))
	if err != nil {
		return err
	}
	ids, err := account.GroupIds()
	if err != nil {
		return fmt.Errorf("find the groups of %s: %w", account.Username, err)
	}
	for _, id := range append([]string{account.Gid}, ids...) {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil && !slices.Contains(p.remote.groups, uint32(gid)) {
			p.remote.groups = append(p.remote.groups, uint32(gid))
		}
	}
	return nil
}
