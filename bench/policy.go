package bench

import (
	"fmt"
	"math"

	"github.com/kdbus-go/kdbus/wire"
)

// The policy that dbus-broker takes with a listening socket, in the types of its
// controller protocol: the fields of these structs are what is marshalled, in order.
type (
	brokerPolicy struct {
		Users   []userPolicy
		Groups  []groupPolicy
		SELinux []seLabel
		// AppArmor says whether to ask AppArmor, about a bus of type BusType.
		AppArmor bool
		BusType  string
	}
	userPolicy struct {
		UID   uint32 // everyUser stands for all
		Rules policyRules
	}
	groupPolicy struct {
		Group       bool // else a range of users
		First, Last uint32
		Rules       policyRules
	}
	seLabel struct{ Name, Label string }

	// policyRules are who may connect, own, send and receive. Of the rules that
	// apply, the one of the highest priority decides; 0 is the priority of "no".
	policyRules struct {
		Connect  bool
		Priority uint64
		Own      []ownRule
		Send     []messageRule
		Receive  []messageRule
	}
	ownRule struct {
		Allow    bool
		Priority uint64
		Prefix   bool
		Name     string
	}
	messageRule struct {
		Allow     bool
		Priority  uint64
		Name      string // empty strings and zeros stand for any
		Path      string
		Interface string
		Member    string
		Type      uint32
		Broadcast uint32
		MinFDs    uint64
		MaxFDs    uint64
	}
)

const everyUser = math.MaxUint32

// allowAll returns the policy that lets everybody do everything.
func allowAll() brokerPolicy {
	everything := []messageRule{{Allow: true, Priority: 1, MaxFDs: math.MaxUint64}}
	return brokerPolicy{Users: []userPolicy{{
		UID: everyUser,
		Rules: policyRules{
			Connect:  true,
			Priority: 1,
			Own:      []ownRule{{Allow: true, Priority: 1, Prefix: true}},
			Send:     everything,
			Receive:  everything,
		},
	}}}
}

// addListener returns the call that gives dbus-broker a socket to accept on, which goes
// with it as its one file descriptor, and the policy for who connects there.
func addListener(policy brokerPolicy) ([]byte, error) {
	body, signature, err := wire.AppendBody(nil, order,
		wire.ObjectPath("/org/bus1/DBus/Listener/0"), wire.UnixFD(0), wire.Variant{Value: policy})
	if err != nil {
		return nil, fmt.Errorf("marshal the policy: %w", err)
	}
	return newMessage(wire.Header{
		Type:      wire.TypeMethodCall,
		Path:      "/org/bus1/DBus/Broker",
		Interface: "org.bus1.DBus.Broker",
		Member:    "AddListener",
		Signature: string(signature),
		UnixFDs:   1,
	}, body), nil
}
