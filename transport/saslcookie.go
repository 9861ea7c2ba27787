package transport

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"

	"github.com/kdbus-go/kdbus/keyring"
)

// DBUS_COOKIE_SHA1, the server's half: the client says who it is and is told a challenge and which
// cookie of that user to prove knowing. What libdbus does not check is left unchecked here, too: which
// challenge the client answers with is its own affair.

// cookieTrial is an exchange that has begun.
type cookieTrial struct {
	uid       uint32
	cookie    keyring.Cookie
	challenge string // hexadecimal digits
}

// challengeBytes is how long the server's challenge is, before it is written in hexadecimal.
const challengeBytes = 16

// challenge answers a client that says who it is, by a number or a name.
func (s *sasl) challenge(identity []byte) {
	cookie, uid, err := s.cfg.Cookie(string(identity))
	if err != nil {
		s.refusal = err
		s.reject()
		return
	}
	var random [challengeBytes]byte
	s.cfg.random(random[:])
	s.cookie = cookieTrial{uid: uid, cookie: cookie, challenge: hex.EncodeToString(random[:])}
	s.state = saslWaitData
	data := fmt.Appendf(nil, "%s %d %s", keyring.GeneralContext, cookie.ID, s.cookie.challenge)
	s.send("DATA " + hex.EncodeToString(data))
}

// proof checks what a client has made of its own challenge, the server's and the cookie.
func (s *sasl) proof(response []byte) {
	challenge, rest := cutBlank(response)
	if len(challenge) == 0 || len(rest) == 0 || bytes.IndexByte(challenge, 0) >= 0 {
		s.reject()
		return
	}
	want := s.cookie.cookie.Hash(s.cookie.challenge, string(challenge))
	if subtle.ConstantTimeCompare([]byte(want), rest) != 1 {
		s.reject()
		return
	}
	s.accept(saslIdentity{UID: s.cookie.uid})
}
