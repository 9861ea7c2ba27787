package address

import (
	"fmt"
	"strings"
)

// transport is what can be done with addresses of one transport. A nil function means that it cannot be done, and
// why it cannot, or what to do, is the string beside it.
type transport struct {
	listen    func(Address) error
	noListen  string
	connect   func(Address) error
	noConnect string
}

const (
	// notHere ends the reasons against transports that other systems have.
	notHere = "; use unix:, tcp:, nonce-tcp: or systemd:"
	forBoth = "; use unix:, tcp: or nonce-tcp:"
)

// transports are those of the specification ("Transports").
var transports = map[string]transport{
	"unix":       {listen: Address.listenableUnix, connect: Address.connectableUnix},
	"tcp":        {listen: Address.listenableTCP, connect: Address.connectableTCP},
	"nonce-tcp":  {listen: Address.listenableTCP, connect: Address.connectableTCP},
	"systemd":    {listen: Address.checkGUID, noConnect: "is for servers that systemd starts" + forBoth},
	"launchd":    {noListen: "is for servers that launchd of macOS starts" + notHere, noConnect: "asks launchd of macOS for a socket" + forBoth},
	"autolaunch": {noListen: "has clients start a bus of their own, or is for Windows" + notHere, noConnect: "has the client start a bus; start one, and use its address"},
	"unixexec":   {noListen: "is for clients, which start a program to talk to" + notHere, noConnect: "starts a program to talk to, which is not supported" + forBoth},
	"vsock":      {noListen: "is not supported" + notHere, noConnect: "is not supported" + forBoth},
}

// Listenable returns nil when a server of this module can listen on the address,
// else an [*Error] that says why not: unix: with exactly one of path, abstract, dir,
// tmpdir and runtime=yes; tcp: and nonce-tcp:, see [Address.TCP]; or systemd: for the sockets that systemd passes.
//
// Keys it does not know are ignored, as in libdbus.
func (a Address) Listenable() error {
	t, known := transports[a.Transport]
	switch {
	case t.listen != nil:
		return t.listen(a)
	case !known:
		t.noListen = "is not one to listen on" + notHere
	}
	return a.fail("the transport", fmt.Sprintf("%q %s", a.Transport, t.noListen))
}

// Connectable returns nil when a client of this module can connect to the address,
// else an [*Error] that says why not: unix: with exactly one of path and abstract; tcp: and
// nonce-tcp:, see [Address.TCP].
func (a Address) Connectable() error {
	t, known := transports[a.Transport]
	switch {
	case t.connect != nil:
		return t.connect(a)
	case !known:
		t.noConnect = "is not supported by this client" + forBoth
	}
	return a.fail("the transport", fmt.Sprintf("%q %s", a.Transport, t.noConnect))
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
