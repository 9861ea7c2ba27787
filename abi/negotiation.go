package abi

// Negotiation is a client's question what a bus knows, which every command and
// message can carry: kdbus.item(7), "Negotiation item".
type Negotiation struct {
	// Probe (FlagNegotiate) makes the command do nothing but answer.
	Probe bool
	// Items are item types the client asks about (NEGOTIATE).
	Items []ItemType
}

// Asked reports whether there is anything to answer.
func (n Negotiation) Asked() bool { return n.Probe || len(n.Items) > 0 }

// append appends the item NEGOTIATE, if there is something to ask.
func (n Negotiation) append(dst []byte) []byte {
	if len(n.Items) == 0 {
		return dst
	}
	dst = appendItemHeader(dst, ItemNegotiate, 8*len(n.Items))
	for _, t := range n.Items {
		dst = appendU64(dst, uint64(t))
	}
	return dst
}

// set reads the item NEGOTIATE.
func (n *Negotiation) set(data []byte) {
	n.Items = make([]ItemType, 0, len(data)/8)
	for i := 0; i < len(data); i += 8 {
		n.Items = append(n.Items, ItemType(u64(data, i)))
	}
}

// Negotiate writes the answer into a command, over the question: into the field
// flags, if it has FlagNegotiate, all flags there are; into its item NEGOTIATE 0
// for each item type that the command does not know. It reports whether that is
// all there is to do. The bytes then go back to the client. On an error, which
// is what Decode returns, nothing is written.
//
// Only a command whose [Negotiation] asks something needs this.
func (c Cmd) Negotiate(b []byte) (probe bool, err error) {
	s := c.shape()
	if s == nil {
		return false, noSuch(c)
	}
	return s.negotiate(b)
}

// NegotiateMessage does for a message being sent what [Cmd.Negotiate] does for a
// command. A message that probes needs a SEND that does.
func NegotiateMessage(b []byte) (probe bool, err error) { return sentMessageShape.negotiate(b) }

func (s *shape) negotiate(b []byte) (bool, error) {
	items, _, probe, err := s.open(b)
	if err != nil {
		return false, err
	}
	if probe {
		putU64(b, offFlags, s.flags)
	}
	for it := range items.All() {
		if it.Type != ItemNegotiate {
			continue
		}
		for i := 0; i < len(it.Data); i += 8 {
			if s.rule(ItemType(u64(it.Data, i))) < 0 {
				putU64(it.Data, i, 0)
			}
		}
	}
	return probe, nil
}

// Negotiated reads the answer out of the bytes of a command or message: the
// flags, if it was asked for them, and the item types of its item NEGOTIATE,
// with 0 for those that the bus does not know.
func (c Cmd) Negotiated(b []byte) (flags uint64, items []ItemType, err error) {
	s := c.shape()
	if s == nil {
		return 0, nil, noSuch(c)
	}
	return s.negotiated(b)
}

// NegotiatedMessage does for a message what [Cmd.Negotiated] does for a command.
func NegotiatedMessage(b []byte) (flags uint64, items []ItemType, err error) {
	return sentMessageShape.negotiated(b)
}

func (s *shape) negotiated(b []byte) (uint64, []ItemType, error) {
	all, err := s.openReply(b)
	if err != nil {
		return 0, nil, err
	}
	var n Negotiation
	for it := range all.All() {
		if it.Type == ItemNegotiate && it.check().errno == 0 {
			n.set(it.Data)
		}
	}
	return u64(b, offFlags), n.Items, nil
}
