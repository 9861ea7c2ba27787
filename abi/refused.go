package abi

// CmdRefused is in frames that nobody asked for: the bus tells who has made an endpoint, with [EndpointMake].Report, what
// that has not let through. The header's Tag is how many such frames were dropped since the last one, as who
// made it did not read. kdbus.h has nothing of the kind.
const CmdRefused = Cmd(iocR | sizeRefused<<16 | (iocMagic + 0x12))

const sizeRefused = 32 // struct kdbus_cmd, and an id

// Refused is what such a frame holds: somebody behind the endpoint was refused something.
type Refused struct {
	// ID is the connection of who was refused.
	ID uint64
	// Policy would permit it, if Name, the name that it is about, is a well-known one: it has one Access, for
	// what has no message, or one rule in Calls or Broadcasts that describes the message. Name is a unique name if it
	// was about somebody without any.
	Policy Policy
}

// Append appends the struct.
func (r *Refused) Append(dst []byte) []byte {
	start := len(dst)
	dst = appendU64(appendHead(dst, 0, Negotiation{}, 0), r.ID)
	return putSize(appendPolicies(dst, []Policy{r.Policy}), start)
}

// Decode reads what is behind the header of such a frame.
func (r *Refused) Decode(b []byte) error {
	const what = "REFUSED"
	if len(b) < sizeRefused {
		return invalid("too short").at(what, 0, 0)
	}
	*r = Refused{ID: u64(b, 24)}
	_, err := eachReceived(what, sizeRefused, Items(b[sizeRefused:]), func(it Item) (f fault) {
		switch it.Type {
		case ItemName:
			r.Policy.Name = text(it.Data)
		case ItemPolicyAccess:
			var a PolicyAccess
			if a, f = policyAccess(it.Data); f.errno == 0 {
				r.Policy.Access = append(r.Policy.Access, a)
			}
		case ItemPolicyCall:
			r.Policy.Calls = append(r.Policy.Calls, text(it.Data))
		case ItemPolicyBroadcast:
			r.Policy.Broadcasts = append(r.Policy.Broadcasts, text(it.Data))
		}
		return f
	})
	if err != nil {
		return err
	}
	return nil
}
