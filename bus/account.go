package bus

import "fmt"

// An account is on whose cost something is that is limited: a user's, or that of a custom endpoint, by which its
// connections do not share what their users have: kdbus.endpoint(7). The low bits are the user, or above them
// the number of the endpoint.
type account uint64

// payer returns what is charged for m.
func (m *Message) payer() account {
	if m.door != 0 {
		return account(m.door) << 32
	}
	return account(m.uid)
}

// busUID is the account of the bus's own answers: nobody's uid, see setreuid(2). What others have
// sent to a connection does not keep it from asking the bus.
const busUID = 1<<32 - 1

// busAccount is that of busUID.
const busAccount account = busUID

// An Account is an account for people: a user's, or a custom endpoint's.
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

// nameOf makes an Account of an account. Bus.mu is held.
func (b *Bus) nameOf(a account) Account {
	door := uint16(a >> 32)
	switch e := b.doors[door]; {
	case door == 0:
		return Account{UID: uint32(a)}
	case e == nil:
		return Account{Endpoint: closedEndpoint}
	default:
		return e.account()
	}
}
