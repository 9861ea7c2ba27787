package bus

import (
	"fmt"
	"math"
	"sync"

	"github.com/kdbus-go/kdbus/meta"
)

// A Payer is on whose account something is that is limited: a user, or a custom endpoint, by which its
// connections do not share what their users have: kdbus.endpoint(7). The low bits are the user, or above them
// the number of the endpoint. It is the same on all buses. [Account] is the same for people.
type Payer uint64

// PayerOf returns what is charged for the user uid.
func PayerOf(uid uint32) Payer { return Payer(uid) }

// payerOf is PayerOf for those who come by the endpoint door, if that is not 0.
func payerOf(uid uint32, door uint16) Payer {
	if door != 0 {
		return Payer(door) << 32
	}
	return Payer(uid)
}

// payer returns what is charged for m.
func (m *Message) payer() Payer { return payerOf(m.uid, m.door) }

// Payer returns what is charged for c, and for what it sends.
func (c *Conn) Payer() Payer { return payerOf(c.charged, c.door) }

// Payer returns what is charged for those who come by e and are of the user uid.
func (e *Endpoint) Payer(uid uint32) Payer { return payerOf(uid, e.door) }

// chargedUser returns on which user's account a connection is: its own, or the one as whom it is privileged to be known. So
// does the module, "kdbus_conn_new" in connection.c; the manual pages do not say.
func chargedUser(config *ConnConfig) uint32 {
	if fake := config.Fake; fake != nil && fake.Has&meta.KindCreds != 0 && fake.Creds.UID != busUID {
		return fake.Creds.UID
	}
	return config.UID
}

// busUID is the account of the bus's own answers: nobody's uid, see setreuid(2). What others have
// sent to a connection does not keep it from asking the bus.
const busUID = 1<<32 - 1

// busAccount is that of busUID.
const busAccount Payer = busUID

// doors are the numbers of custom endpoints, of all buses, so that a Payer is the same everywhere: what is not of a bus
// alone, such as descriptors that do not close, is on accounts, too.
var doors = struct {
	mu    sync.Mutex
	taken map[uint16]bool
	last  uint16
}{taken: make(map[uint16]bool)}

// takeDoor returns a number that no endpoint has, and if possible none has had for long; 0 if there is none.
func takeDoor() uint16 {
	doors.mu.Lock()
	defer doors.mu.Unlock()
	if len(doors.taken) == math.MaxUint16 {
		return 0
	}
	for doors.last++; doors.last == 0 || doors.taken[doors.last]; doors.last++ {
	}
	doors.taken[doors.last] = true
	return doors.last
}

// returnDoor lets another endpoint have the number.
func returnDoor(door uint16) {
	doors.mu.Lock()
	defer doors.mu.Unlock()
	delete(doors.taken, door)
}

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
	return Account{UID: c.charged}
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
