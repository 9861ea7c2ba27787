package address

import (
	"fmt"
	"strconv"
)

// TCP is what a tcp: or nonce-tcp: address says (specification, "TCP Sockets" and "Nonce-authenticated
// TCP Sockets").
type TCP struct {
	// Host is the name or number of the machine that clients connect to; by default "localhost".
	Host string
	// Bind is what a server listens on: the name or number of an interface, or "*" for all. By default
	// it is Host.
	Bind string
	// Port is the number of the port; for a server 0 means any.
	Port uint16
	// Family is "ipv4", "ipv6", or "" for either.
	Family string
	// Nonce is set for nonce-tcp:, and NonceFile, for clients, is the path of the file whose content they
	// have to send first.
	Nonce     bool
	NonceFile string
}

// Network returns the name that package net has for such sockets: "tcp", "tcp4" or "tcp6".
func (t TCP) Network() string {
	switch t.Family {
	case "ipv4":
		return "tcp4"
	case "ipv6":
		return "tcp6"
	}
	return "tcp"
}

// TCP reads a tcp: or nonce-tcp: address. It fails, with an [*Error], for other transports, and if what
// the address says cannot be right; a key that is for servers, or for clients, is no error here.
func (a Address) TCP() (TCP, error) {
	t := TCP{Host: "localhost", Nonce: a.Transport == "nonce-tcp"}
	if a.Transport != "tcp" && !t.Nonce {
		return t, a.fail("the transport", fmt.Sprintf("%q is none of tcp: and nonce-tcp:", a.Transport))
	}
	for _, key := range []string{"host", "bind", "port", "family", "noncefile"} {
		if err := a.plainValue(key); err != nil {
			return t, err
		}
	}
	if host, ok := a.Get("host"); ok {
		t.Host = host
	}
	t.Bind = t.Host
	if bind, ok := a.Get("bind"); ok {
		t.Bind = bind
	}
	if port, ok := a.Get("port"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return t, a.fail(`the value of "port"`, fmt.Sprintf("must be a number from 0 to 65535, not %q", port))
		}
		t.Port = uint16(n)
	}
	t.Family, _ = a.Get("family")
	if t.Family != "" && t.Family != "ipv4" && t.Family != "ipv6" {
		return t, a.fail(`the value of "family"`, fmt.Sprintf(`must be "ipv4" or "ipv6", not %q`, t.Family))
	}
	t.NonceFile, _ = a.Get("noncefile")
	return t, a.checkGUID()
}

// listenableTCP is Listenable for tcp: and nonce-tcp: addresses.
func (a Address) listenableTCP() error {
	t, err := a.TCP()
	switch {
	case err != nil:
		return err
	case t.NonceFile != "":
		return a.fail(`the key "noncefile"`, "is for clients; a server makes a file of its own and tells its name in its address")
	}
	return nil
}

// connectableTCP is Connectable for tcp: and nonce-tcp: addresses.
func (a Address) connectableTCP() error {
	t, err := a.TCP()
	switch {
	case err != nil:
		return err
	case t.Port == 0:
		return a.fail(`the key "port"`, "is missing or 0; a client needs the port that the server has, which its address tells")
	case t.Nonce && t.NonceFile == "":
		return a.fail("the transport", `"nonce-tcp" needs the key noncefile, which the address of the server has`)
	}
	return nil
}
