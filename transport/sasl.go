package transport

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/kdbus-go/kdbus/keyring"
)

// This file is the server's half of the authentication protocol (D-Bus
// specification, "Authentication Protocol") as a state machine without I/O:
// whoever owns the socket feeds it bytes, writes what comes back, and asks
// done. It answers what dbus-daemon 1.14 answers, with the exceptions noted
// where they are made.

const (
	// saslMaxLine is the longest line a client may send, counted with its
	// CR LF. It is the limit of libdbus (16 KiB of buffered input).
	saslMaxLine = 16 << 10

	// saslMaxOutput bounds the answers one call of feed may produce. A client
	// that pipelines so many commands that more than this would have to be
	// answered before it reads anything is not authenticating. libdbus draws
	// the same line at the same number.
	saslMaxOutput = 16 << 10

	// saslMaxRejected is the number of REJECTED lines after which the server
	// disconnects, as in libdbus.
	saslMaxRejected = 6
)

// Why an exchange ended without success. feed wraps these with what the client
// sent; errors.Is tells them apart.
var (
	errSASLNoNul       = errors.New("client did not begin with a NUL byte")
	errSASLLineTooLong = errors.New("authentication line is longer than " + strconv.Itoa(saslMaxLine) + " bytes")
	errSASLFlood       = errors.New("client pipelined more commands than it may have answers to")
	errSASLRejected    = errors.New("client was rejected " + strconv.Itoa(saslMaxRejected) + " times")
	errSASLEarlyBegin  = errors.New("client sent BEGIN before it was authenticated")
)

// saslConfig says what a listener offers.
type saslConfig struct {
	ServerGUID string // 32 lower-case hexadecimal digits, sent with OK
	External   bool   // offer EXTERNAL: the uid the kernel vouches for
	Anonymous  bool   // offer ANONYMOUS: everybody
	UnixFD     bool   // the transport can carry file descriptors
	Native     bool   // kdbus's protocol can be spoken instead of D-Bus 1
	// Cookie offers DBUS_COOKIE_SHA1: it returns the cookie that who calls itself identity has to
	// know, in the context keyring.GeneralContext, and who that is. It may take long. Nil: it is not offered.
	Cookie func(identity string) (keyring.Cookie, uint32, error)
	// Random fills in what no client can guess; nil means from crypto/rand.
	Random func([]byte)
}

func (c *saslConfig) random(b []byte) {
	if c.Random != nil {
		c.Random(b)
		return
	}
	rand.Read(b) // never fails
}

// saslIdentity is who the client is once the exchange is done.
type saslIdentity struct {
	UID       uint32 // meaningful only if !Anonymous
	Anonymous bool
}

type saslState uint8

const (
	saslWaitNul   saslState = iota // nothing has arrived
	saslWaitAuth                   // specification: WaitingForAuth
	saslWaitData                   // specification: WaitingForData
	saslWaitBegin                  // specification: WaitingForBegin
	saslDone                       // BEGIN was read; what follows are messages
	saslFailed                     // disconnect
)

type saslMechanism uint8

const (
	mechNone saslMechanism = iota
	mechExternal
	mechCookie
	mechAnonymous
)

// sasl is one exchange. It is not safe for concurrent use.
type sasl struct {
	cfg      saslConfig
	peerUID  uint32
	havePeer bool

	state    saslState
	mech     saslMechanism // the one in progress in saslWaitData
	cookie   cookieTrial   // of mechCookie
	rejected int
	refusal  error // why this server could not do what the client asked for; for the log
	err      error
	out      []byte

	identity saslIdentity // valid when done
	unixFD   bool         // AGREE_UNIX_FD was sent
	native   bool         // AGREE_KDBUS was sent
}

// newSASL begins an exchange. peerUID is the uid the kernel reports for the
// other end of the socket; havePeer is false if there is none to be had, in
// which case EXTERNAL always fails.
func newSASL(cfg saslConfig, peerUID uint32, havePeer bool) *sasl {
	return &sasl{cfg: cfg, peerUID: peerUID, havePeer: havePeer}
}

// done reports whether the client has authenticated and sent BEGIN.
func (s *sasl) done() bool { return s.state == saslDone }

// feed processes the bytes received so far that no earlier call consumed. It
// consumes whole lines only, and nothing after BEGIN: those bytes are the first
// message. A buffer of saslMaxLine bytes is large enough to hold whatever is
// left unconsumed.
//
// out is to be sent to the client, also when err is set; it is valid until the
// next call. After an error, which says why for the log, the connection must be
// closed; further calls return the same error.
func (s *sasl) feed(in []byte) (consumed int, out []byte, err error) {
	s.out = s.out[:0]
	if s.state == saslWaitNul && len(in) > 0 {
		if in[0] != 0 {
			return 0, nil, s.fail(fmt.Errorf("%w but with %#02x", errSASLNoNul, in[0]))
		}
		consumed = 1
		s.state = saslWaitAuth
	}
	for s.state != saslDone && s.state != saslFailed {
		rest := in[consumed:]
		end := bytes.Index(rest[:min(len(rest), saslMaxLine)], []byte("\r\n"))
		if end < 0 {
			if len(rest) >= saslMaxLine {
				s.fail(fmt.Errorf("%w: %s", errSASLLineTooLong, quoteLine(rest)))
			}
			break
		}
		if len(s.out) > saslMaxOutput {
			s.fail(errSASLFlood)
			break
		}
		consumed += end + len("\r\n")
		s.line(rest[:end])
	}
	return consumed, s.out, s.err
}

func (s *sasl) fail(err error) error {
	s.state = saslFailed
	s.err = err
	return err
}

// line handles one command. line comes without its CR LF.
func (s *sasl) line(line []byte) {
	for _, c := range line {
		if c == 0 || c >= utf8.RuneSelf {
			s.sendError("Command contained non-ASCII")
			return
		}
	}
	command, args := cutBlank(line)
	switch string(command) {
	case "AUTH":
		s.auth(args)
	case "DATA":
		s.data(args)
	case "CANCEL":
		if s.state == saslWaitAuth {
			s.sendError("Not currently in an auth conversation")
			return
		}
		s.reject()
	case "ERROR":
		s.reject()
	case "BEGIN":
		if s.state != saslWaitBegin {
			s.fail(errSASLEarlyBegin)
			return
		}
		s.state = saslDone
	default:
		if feature, ok := bytes.CutPrefix(command, []byte("NEGOTIATE_")); ok && s.negotiate(string(feature), string(args)) {
			return
		}
		// REJECTED, OK, AGREE_UNIX_FD are a server's: unknown to this side.
		s.sendError("Unknown command")
	}
}

// nativeVersion is the version of kdbus's protocol that is spoken here.
const nativeVersion = "1"

// negotiate answers the NEGOTIATE_ commands, by which a client asks for a feature of the transport
// between OK and BEGIN. It reports whether it knows the feature.
func (s *sasl) negotiate(feature, args string) (known bool) {
	var agreed *bool
	answer := "AGREE_" + feature
	switch {
	case feature == "UNIX_FD" && s.cfg.UnixFD:
		agreed = &s.unixFD
	case feature == "KDBUS" && s.cfg.Native:
		agreed = &s.native
		answer += " " + nativeVersion
	case feature == "UNIX_FD":
		s.sendError("UNIX_FD is not possible on this transport")
		return true
	default:
		return false
	}
	switch {
	case s.state != saslWaitBegin:
		s.sendError("Authenticate before negotiating " + feature)
	case agreed == &s.native && args != nativeVersion:
		s.sendError("KDBUS is spoken here in version " + nativeVersion)
	default:
		// libdbus does not take its agreement back when the client cancels
		// and authenticates anew, and neither is it done here: the client
		// has been told.
		*agreed = true
		s.send(answer)
	}
	return true
}

func (s *sasl) auth(args []byte) {
	switch s.state {
	case saslWaitData:
		s.sendError("Sent AUTH while another AUTH is in progress")
		return
	case saslWaitBegin:
		s.sendError("Sent AUTH while BEGIN is expected")
		return
	}
	name, response := cutBlank(args)
	switch {
	case string(name) == "EXTERNAL" && s.cfg.External:
		s.mech = mechExternal
	case string(name) == "DBUS_COOKIE_SHA1" && s.cfg.Cookie != nil:
		s.mech = mechCookie
	case string(name) == "ANONYMOUS" && s.cfg.Anonymous:
		s.mech = mechAnonymous
	default:
		s.reject()
		return
	}
	s.respond(response, true)
}

func (s *sasl) data(args []byte) {
	switch s.state {
	case saslWaitAuth:
		s.sendError("Not currently in an auth conversation")
	case saslWaitBegin:
		s.sendError("Sent DATA while BEGIN is expected")
	default:
		s.respond(args, false)
	}
}

// respond hands the client's response, still in hexadecimal, to the mechanism.
// initial is true for the one that came with AUTH.
//
// libdbus takes an odd number of digits too (AUTH EXTERNAL 3 makes somebody
// root whose uid is "0"). The specification asks for hex-encoded bytes, and no
// client is known to send half ones, so that is refused here.
func (s *sasl) respond(args []byte, initial bool) {
	response := make([]byte, hex.DecodedLen(len(args)))
	if _, err := hex.Decode(response, args); err != nil {
		s.sendError("Invalid hex encoding")
		return
	}
	switch s.mech {
	case mechExternal:
		s.external(response, initial)
	case mechCookie:
		if initial {
			s.challenge(response)
		} else {
			s.proof(response)
		}
	case mechAnonymous:
		s.anonymous(response)
	}
}

// external compares the authorization identity the client asks for with what
// the kernel knows. An empty identity, after the client has been asked for one,
// means "whoever I am".
//
// The identity is the uid in decimal and nothing else: dbus-daemon 1.14 refuses
// user names as well. It does accept whatever strtoul with base 0 takes for a
// number (0x3e8, " 1000", "+1000"; 01000 in octal); the specification does not.
func (s *sasl) external(identity []byte, initial bool) {
	if !s.havePeer {
		s.reject()
		return
	}
	if len(identity) == 0 && initial {
		s.state = saslWaitData
		s.send("DATA")
		return
	}
	if len(identity) != 0 && string(identity) != strconv.FormatUint(uint64(s.peerUID), 10) {
		s.reject()
		return
	}
	s.accept(saslIdentity{UID: s.peerUID})
}

// anonymous lets everybody in. The client may say something about itself for
// tracing, which has to be text and is not used.
func (s *sasl) anonymous(trace []byte) {
	if !utf8.Valid(trace) || bytes.IndexByte(trace, 0) >= 0 {
		s.reject()
		return
	}
	s.accept(saslIdentity{Anonymous: true})
}

func (s *sasl) accept(id saslIdentity) {
	s.identity = id
	s.cookie = cookieTrial{}
	s.state = saslWaitBegin
	s.send("OK " + s.cfg.ServerGUID)
}

// reject answers with the mechanisms on offer and starts over, until the client
// has used up its attempts.
func (s *sasl) reject() {
	s.identity = saslIdentity{}
	s.mech = mechNone
	s.cookie = cookieTrial{}
	s.state = saslWaitAuth
	line := "REJECTED"
	if s.cfg.External {
		line += " EXTERNAL"
	}
	if s.cfg.Cookie != nil {
		line += " DBUS_COOKIE_SHA1"
	}
	if s.cfg.Anonymous {
		line += " ANONYMOUS"
	}
	s.send(line)
	if s.rejected++; s.rejected >= saslMaxRejected {
		s.fail(errSASLRejected)
	}
}

func (s *sasl) sendError(text string) { s.send(`ERROR "` + text + `"`) }

func (s *sasl) send(line string) {
	s.out = append(s.out, line...)
	s.out = append(s.out, "\r\n"...)
}

// cutBlank splits line at its first run of spaces and tabs.
func cutBlank(line []byte) (word, rest []byte) {
	i := bytes.IndexAny(line, " \t")
	if i < 0 {
		return line, nil
	}
	return line[:i], bytes.TrimLeft(line[i:], " \t")
}

// quoteLine makes the beginning of what a client sent fit for a log.
func quoteLine(line []byte) string {
	const shown = 32
	if len(line) <= shown {
		return strconv.Quote(string(line))
	}
	return strconv.Quote(string(line[:shown])) + "..."
}
