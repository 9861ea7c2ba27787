package address

import (
	"fmt"
	"strings"
)

// transport is what can be done with addresses of one transport.
type transport struct{ listen, connect use }

// use is what a server, or a client, can do with an address: check says whether it is right, and is nil if nothing
// can be done. Then reason says why not, or what to do.
type use struct {
	check  func(Address) error
	reason string
}

const (
	// notHere and forBoth end the reasons for servers and for clients.
	notHere = "; use unix:, tcp:, nonce-tcp: or systemd:"
	forBoth = "; use unix:, tcp: or nonce-tcp:"
)

// transports are those of the specification ("Transports").
var transports = map[string]transport{
	"unix":      {use{check: Address.listenableUnix}, use{check: Address.connectableUnix}},
	"tcp":       {use{check: Address.listenableTCP}, use{check: Address.connectableTCP}},
	"nonce-tcp": {use{check: Address.listenableTCP}, use{check: Address.connectableTCP}},
	"systemd":   {use{check: Address.checkGUID}, use{reason: "is for servers that systemd starts" + forBoth}},
	"launchd": {use{reason: "is for servers that launchd of macOS starts" + notHere},
		use{reason: "asks launchd of macOS for a socket" + forBoth}},
	"autolaunch": {use{reason: "has clients start a bus of their own, or is for Windows" + notHere},
		use{reason: "has the client start a bus; start one, and use its address"}},
	"unixexec": {use{reason: "is for clients, which start a program to talk to" + notHere},
		use{reason: "starts a program to talk to, which is not supported" + forBoth}},
	"vsock": {use{reason: "is not supported" + notHere}, use{reason: "is not supported" + forBoth}},
}

// unknown are the uses of all others.
var unknown = transport{use{reason: "is not one to listen on" + notHere}, use{reason: "is not supported by this client" + forBoth}}

// Listenable returns nil when a server of this module can listen on the address,
// else an [*Error] that says why not: unix: with exactly one of path, abstract, dir,
// tmpdir and runtime=yes; tcp: and nonce-tcp:, see [Address.TCP]; or systemd: for the sockets that systemd passes.
//
// Keys it does not know are ignored, as in libdbus.
func (a Address) Listenable() error { return a.judge(a.uses().listen) }

// Connectable returns nil when a client of this module can connect to the address,
// else an [*Error] that says why not: unix: with exactly one of path and abstract; tcp: and
// nonce-tcp:, see [Address.TCP].
func (a Address) Connectable() error { return a.judge(a.uses().connect) }

func (a Address) uses() transport {
	if t, ok := transports[a.Transport]; ok {
		return t
	}
	return unknown
}

func (a Address) judge(u use) error {
	if u.check != nil {
		return u.check(a)
	}
	return a.fail("the transport", fmt.Sprintf("%q %s", a.Transport, u.reason))
}

// listenableUnix is Listenable for unix: addresses.
func (a Address) listenableUnix() error {
	_, err := a.unixKey()
	return err
}

// plainValue refuses a value that C programs read as another one.
func (a Address) plainValue(key string) error {
	if value, _ := a.Get(key); strings.IndexByte(value, 0) >= 0 {
		return a.fail(fmt.Sprintf("the value of %q", key), "has a NUL byte")
	}
	return nil
}
