package bus

import "fmt"

// A Payer is on whose account something is that is limited: a user, or a custom endpoint, by which its
// connections do not share what their users have: kdbus.endpoint(7). The low bits are the user, or above them
// the number of the endpoint. [Account] is the same for people.
type Payer uint64

// payer returns what is charged for m.
func (m *Message) payer() Payer {
	if m.door != 0 {
		return Payer(m.door) << 32
	}
	return Payer(m.uid)
}

// busUID is the account of the bus's own answers: nobody's uid, see setreuid(2). What others have
// sent to a connection does not keep it from asking the bus.
const busUID = 1<<32 - 1

// busAccount is that of busUID.
const busAccount Payer = busUID

// An Account is a Payer for people: a user, or a custom endpoint.
type Account struct {
	// UID is the user, or who made the endpoint.
	UID uint32
	// Endpoint is the name of the endpoint; "" if it is a user's account.
	Endpoint string
}

// String is for people.
func (a Account) String() string {
	switch {
	case a.Endpoint == closedEndpoint:
		return "a " + closedEndpoint
	case a.Endpoint != "":
		return "endpoint " + a.Endpoint
	}
	return fmt.Sprintf("user %d", a.UID)
}

// account returns the account of a custom endpoint.
func (e *Endpoint) account() Account { return Account{UID: e.uid, Endpoint: e.name} }

// Account returns on whose account the connection, and what it sends, is.
func (c *Conn) Account() Account {
	if c.confined != nil {
		return c.confined.account()
	}
	return Account{UID: c.uid}
}

// closedEndpoint is the name of endpoints that are closed, while there is still something on their accounts.
const closedEndpoint = "closed endpoint"

// nameOf makes an Account of a Payer. Bus.mu is held.
func (b *Bus) nameOf(p Payer) Account {
	door := uint16(p >> 32)
	switch e := b.doors[door]; {
	case door == 0:
		return Account{UID: uint32(p)}
	case e == nil:
		return Account{Endpoint: closedEndpoint}
	default:
		return e.account()
	}
}
