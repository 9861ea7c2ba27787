package bus

// A Policy decides who may do what on a bus. It is asked in the core, for every front-end alike. A
// nil error allows; an error is handed to whoever asked, wrapped in nothing, so it should be an
// [*Error] with ErrDenied that names the rule.
//
// Its methods are called with the bus locked, from many goroutines at once, on the hot path: they
// must be fast, must not block and must not call back into the bus.
type Policy interface {
	// Own: may c own name?
	Own(c *Conn, name string) error
	// Send: may src send m to dst? dst is nil for the bus itself and for a broadcast as such.
	// requested is true for a reply that dst waits for.
	Send(src, dst *Conn, m *Message, requested bool) error
	// Receive: may dst receive m from src? src is nil for the bus itself. eavesdropping is true if
	// dst is not the addressee.
	Receive(src, dst *Conn, m *Message, eavesdropping bool) error
	// See: may c learn about name, which may also be a unique name?
	See(c *Conn, name string) bool
}

// allowAll is the policy of a bus that was given none.
type allowAll struct{}

func (allowAll) Own(*Conn, string) error                      { return nil }
func (allowAll) Send(_, _ *Conn, _ *Message, _ bool) error    { return nil }
func (allowAll) Receive(_, _ *Conn, _ *Message, _ bool) error { return nil }
func (allowAll) See(*Conn, string) bool                       { return true }
