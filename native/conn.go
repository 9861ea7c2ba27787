package native

import (
	"syscall"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
)

// conn is one native peer. It implements transport.Protocol: all methods but Encode are for the
// goroutine that has the peer's turn.
type conn struct {
	server *Server
	peer   peer
	bus    *bus.Conn // nil before HELLO
	brief  bool      // the peer takes brief frames
	left   bool      // BYEBYE was said
	setup  setup
	calls  syncCalls

	request request // the one being handled
}

// HeaderSize implements transport.Protocol.
func (c *conn) HeaderSize() int { return abi.FrameHeaderSize }

// MaxFDs implements transport.Protocol.
func (c *conn) MaxFDs() int { return abi.FrameMaxFDs }

// FrameSize implements transport.Protocol. What is no frame, or too large for one, ends the
// connection; the latter is said before.
func (c *conn) FrameSize(b []byte) (int, error) {
	var h abi.FrameHeader
	if err := h.Decode(b); err != nil {
		return 0, err
	}
	if h.Size > abi.FrameMaxSize {
		err := refusef(syscall.EMSGSIZE, "a frame of %d bytes is larger than any can be (%d)", h.Size, abi.FrameMaxSize)
		c.answer(&request{FrameHeader: h}, err)
		return 0, err
	}
	return int(h.Size), nil
}

// request is one frame of a client, while it is handled.
type request struct {
	abi.FrameHeader
	raw  []byte // the frame
	fds  []int  // descriptors that came with it, and that nobody owns yet
	cmd  []byte // the command's struct, in raw; it becomes that of the answer
	rest []byte // what lies behind that

	asked bool   // it negotiates, so that the answer is the whole struct
	infos []byte // what lies behind the struct of the answer
	// place puts infos elsewhere, if it is not nil, and returns where they are.
	place func(infos []byte) uint64

	owned bool         // raw is the request's to keep
	free  func()       // gives raw back, if not nil
	kept  bool         // raw has been kept: somebody else calls free
	later bool         // something else will answer
	after func() error // follows the answer; an error ends the connection
}

// Frame implements transport.Protocol.
func (c *conn) Frame(raw []byte, owned bool, free func()) error {
	r := &c.request
	r.raw, r.owned, r.free = raw, owned, free
	err := c.handle(r)
	r.end(c)
	return err
}

// handle runs and answers a request.
func (c *conn) handle(r *request) error {
	err := r.Decode(r.raw)
	if err != nil {
		return err
	}
	if r.Cmd == abi.CmdBrief {
		return c.finish(r, c.sendBrief(r))
	}
	if r.FDs > 0 {
		if r.fds, err = c.peer.ClaimFDs(r.FDs); err != nil {
			return err
		}
	}
	return c.finish(r, c.run(r))
}

// payer returns on whose account the descriptors are that the peer sends.
func (c *conn) payer() bus.Payer {
	uid := c.peer.Creds().UID
	switch e := c.peer.Endpoint(); {
	case c.bus != nil:
		return c.bus.Payer()
	case e != nil:
		return e.Payer(uid)
	default:
		return bus.PayerOf(uid)
	}
}

// end gives up what is left of a request.
func (r *request) end(c *conn) {
	if r.fds != nil {
		bus.CloseDescriptors(c.payer(), r.fds)
	}
	if r.free != nil && !r.kept {
		r.free()
	}
	*r = request{}
}

// finish answers a request that has been run. An error ends the connection.
func (c *conn) finish(r *request, err error) error {
	quiet := r.later || r.Code&uint32(abi.FrameQuiet) != 0
	if err != nil || !quiet {
		if err := c.answer(r, err); err != nil {
			return err
		}
	}
	if r.after != nil {
		return r.after()
	}
	return nil
}

// run judges what all commands have in common, and runs the one that is asked for.
func (c *conn) run(r *request) error {
	known := abi.FrameQuiet
	if r.Cmd == abi.CmdHello {
		known |= abi.FrameBrief
	}
	if flags := r.Code &^ uint32(known); flags != 0 {
		return refusef(syscall.EINVAL, "frame: unknown flags %#x", flags)
	}
	if r.Cmd == abi.CmdSend && c.bus != nil && !c.left {
		return c.send(r)
	}
	how, exists := commands[r.Cmd]
	switch {
	case !exists && r.Cmd.FixedSize() == 0:
		return refusef(syscall.ENOTTY, "there is no %v", r.Cmd)
	case !exists:
		return refusef(syscall.EOPNOTSUPP, "%v is not for sockets", r.Cmd)
	}
	if err := c.mayRun(r.Cmd); err != nil {
		return err
	}
	if len(r.fds) > 0 {
		return refusef(syscall.EINVAL, "%v does not take file descriptors", r.Cmd)
	}
	if err := r.cut(); err != nil {
		return err
	}
	if len(r.rest) > 0 {
		return refusef(syscall.EINVAL, "%d bytes lie behind %v", len(r.rest), r.Cmd)
	}
	cmd := how.decoder()
	err := cmd.Decode(r.cmd)
	if probe := r.negotiate(); probe {
		return err
	}
	if err != nil {
		return err
	}
	return how.run(c, r, cmd)
}

// cut cuts the command off what lies behind it.
func (r *request) cut() (err error) {
	r.cmd, r.rest, err = abi.CutStruct(r.raw[abi.FrameHeaderSize:], r.Cmd.String())
	return err
}

// negotiate answers the request's questions about what there is, if it has some. It reports whether
// that is all there is to do.
func (r *request) negotiate() (probe bool) {
	if !asks(r.Cmd, r.cmd) {
		return false
	}
	probe, err := r.Cmd.Negotiate(r.cmd)
	r.asked = err == nil
	return probe
}

// asks reports whether a command asks what there is.
func asks(cmd abi.Cmd, b []byte) bool {
	if len(b) < cmd.FixedSize() {
		return false
	}
	if u64(b[offFlags:])&abi.FlagNegotiate != 0 {
		return true
	}
	for it := range abi.Items(b[cmd.FixedSize():]).All() {
		if it.Type == abi.ItemNegotiate {
			return true
		}
	}
	return false
}

// command is how to run a command.
type command struct {
	decoder func() abi.Command
	run     func(c *conn, r *request, cmd abi.Command) error
}

// commands are those that there are on this kind of socket. SEND has a way of its own.
var commands map[abi.Cmd]command

func init() {
	commands = map[abi.Cmd]command{
		abi.CmdSend:           {},
		abi.CmdHello:          commandOf((*conn).hello),
		abi.CmdUpdate:         commandOf((*conn).update),
		abi.CmdByeBye:         commandOf((*conn).byeBye),
		abi.CmdConnInfo:       commandOf((*conn).connInfo),
		abi.CmdBusCreatorInfo: commandOf((*conn).busCreatorInfo),
		abi.CmdList:           commandOf((*conn).list),
		abi.CmdCancel:         commandOf((*conn).cancel),
		abi.CmdNameAcquire:    commandOf((*conn).nameAcquire),
		abi.CmdNameRelease:    commandOf((*conn).nameRelease),
		abi.CmdMatchAdd:       commandOf((*conn).matchAdd),
		abi.CmdMatchRemove:    commandOf((*conn).matchRemove),
		abi.CmdBusMake:        commandOf((*conn).busMake),
		abi.CmdEndpointMake:   commandOf((*conn).endpointMake),
		abi.CmdEndpointUpdate: commandOf((*conn).endpointUpdate),
	}
}

// commandOf makes a command of its method, whose argument is the decoded struct.
func commandOf[T any, P interface {
	*T
	abi.Command
}](run func(c *conn, r *request, cmd P) error) command {
	return command{
		decoder: func() abi.Command { return P(new(T)) },
		run:     func(c *conn, r *request, cmd abi.Command) error { return run(c, r, cmd.(P)) },
	}
}
