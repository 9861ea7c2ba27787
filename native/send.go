package native

import (
	"slices"
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
)

// send sends a message: kdbus.message(7), "Sending messages".
func (c *conn) send(r *request) error {
	if err := r.cut(); err != nil {
		return err
	}
	p := partsPool.Get().(*parts)
	defer p.put()
	if err := p.send.Decode(r.cmd); err != nil {
		return err
	}
	if p.send.Negotiate.Asked() {
		if done, err := r.negotiateSend(); done || err != nil {
			return err
		}
	}
	sync := p.send.Flags&abi.SendSyncReply != 0
	switch {
	case p.send.HasCancelFD:
		return refusef(syscall.EOPNOTSUPP, "SEND: CANCEL_FD is not for sockets; use CANCEL")
	case sync && (r.asked || r.Code&uint32(abi.FrameQuiet) != 0):
		return refusef(syscall.EINVAL, "SEND: with SYNC_REPLY the answer is the reply: it cannot be QUIET, nor negotiate")
	}
	m, err := c.newMessage(r)
	if err != nil {
		return err
	}
	defer m.Release()
	if err := c.decode(m, &p.message, p.send.Flags); err != nil {
		return err
	}
	if err := m.takeDescriptors(r, &p.message); err != nil {
		return err
	}
	m.fill(&p.message, sync)
	return c.route(r, m, sync)
}

// put gives p back, without what belongs to the request.
func (p *parts) put() {
	k := &p.message
	*k = abi.Message{Payload: k.Payload[:0], FDs: k.FDs[:0]}
	partsPool.Put(p)
}

// negotiateSend answers the questions of a SEND, and of the message in it. It reports whether that is
// all there is to do.
func (r *request) negotiateSend() (done bool, err error) {
	r.cmd = slices.Clone(r.cmd) // a message is about to be made of the frame
	probe, err := r.Cmd.Negotiate(r.cmd)
	if err != nil || !probe {
		r.asked = err == nil
		return false, err
	}
	r.asked = true
	if len(r.rest) == 0 {
		return true, nil
	}
	message, _, err := abi.CutStruct(r.rest, "message")
	if err != nil {
		return true, err
	}
	if _, err := abi.NegotiateMessage(message); err != nil {
		return true, err
	}
	r.infos = message
	return true, nil
}

// decode reads what the frame of m sends into k, and judges it.
func (c *conn) decode(m *message, k *abi.Message, flags abi.SendFlags) error {
	if err := k.DecodeSent(m.kmsg, flags); err != nil {
		return err
	}
	bloom := c.bus.Bus().Bloom().Size
	switch {
	case k.Negotiate.Probe:
		return refusef(syscall.EINVAL, "message: it negotiates, but its SEND does not")
	case k.SrcID != 0 && k.SrcID != uint64(c.bus.ID()):
		return refusef(syscall.EINVAL, "message: it is from %d, but its sender is %d", k.SrcID, c.bus.ID())
	case k.Bloom.Data != nil && uint64(len(k.Bloom.Data)) != bloom:
		return refusef(syscall.EDOM, "message: a bloom filter of %d bytes; on this bus it has %d", len(k.Bloom.Data), bloom)
	}
	return m.checkPayload(k)
}

// route sends m where it is meant to go.
func (c *conn) route(r *request, m *message, sync bool) error {
	if m.Flags&bus.ExpectReply != 0 {
		callee := m.Dst
		if m.DstName != "" {
			callee = 0 // a name can pass to somebody else
		}
		if err := c.calls.begin(m.Cookie, r.Tag, callee, sync); err != nil {
			return err
		}
	}
	var err error
	if m.DstName == DriverName && c.server.config.Driver != nil {
		err = c.callDriver(m)
	} else {
		err = c.bus.Send(&m.Message)
	}
	if sync {
		if err != nil {
			c.calls.giveUp(m.Cookie)
		}
		r.later = err == nil
	}
	m.View = nil // of no use any more, and perhaps used again
	return err
}

// callDriver sends m to the bus itself.
func (c *conn) callDriver(m *message) error {
	if deadline := m.Deadline(); m.extra.Sync && deadline != 0 && deadline <= c.bus.Bus().Monotonic() {
		return refusef(bus.ErrTimedOut, "the deadline passed before the call was sent")
	}
	f := m.read()
	if f.err != nil {
		return refusef(bus.ErrMissingPayload, "%s takes D-Bus messages only: %v", DriverName, f.err)
	}
	m.makeParts(bus.PartView) // for those who listen in
	h := f.header
	h.Sender, h.Destination = c.bus.UniqueName(), DriverName
	return c.server.config.Driver.Call(c.bus, &m.Message, &h, f.body)
}
