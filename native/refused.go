package native

import (
	"strings"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/wire"
)

// Who has made an endpoint can be told what that does not let through: abi.CmdRefused. That is found out with the bus
// locked, so it is written by a goroutine of the endpoint's own; who does not read misses some.

// reporter tells who has made an endpoint.
type reporter struct {
	peer  peer
	rules Rules
	queue chan report
	lost  atomic.Uint64
	done  chan struct{}
}

// report is a frame, or asks to be told when those before it are written.
type report struct {
	frame   []byte
	drained chan struct{}
}

// maxReports is how many reports may wait.
const maxReports = 256

func newReporter(p peer, rules Rules) *reporter {
	return &reporter{peer: p, rules: rules, queue: make(chan report, maxReports), done: make(chan struct{})}
}

// note takes something that was refused, as that of bus.EndpointConfig. Who is confined can ask about anything: what cannot be a
// name is nothing to be permitted, nor fit to be shown to people.
func (r *reporter) note(x bus.Refused) {
	if wire.CheckBusName(x.Name) != nil {
		return
	}
	if len(r.queue) == maxReports { // spares making it
		r.lost.Add(1)
		return
	}
	select {
	case r.queue <- report{frame: r.frame(x)}:
	default:
		r.lost.Add(1)
	}
}

// frame makes the report.
func (r *reporter) frame(x bus.Refused) []byte {
	told := abi.Refused{ID: uint64(x.Conn.ID()), Policy: abi.Policy{Name: x.Name}}
	permit := func(level abi.PolicyType) {
		told.Policy.Access = []abi.PolicyAccess{{Type: abi.PolicyAccessWorld, Access: level}}
	}
	switch x.Kind {
	case bus.RefusedSee:
		permit(abi.PolicySee)
	case bus.RefusedOwn:
		permit(abi.PolicyOwn)
	case bus.RefusedHear:
		told.Policy.Broadcasts = []string{r.describe(x.Message)}
	case bus.RefusedTalk:
		if x.Message == nil {
			permit(abi.PolicyTalk)
			break
		}
		told.Policy.Calls = []string{r.describe(x.Message)}
	}
	h := abi.FrameHeader{Cmd: abi.CmdRefused}
	frame := told.Append(h.Append(nil))
	h.Size = uint32(len(frame))
	h.Put(frame)
	return frame
}

// maxDescribed is the longest path that is in a report, which has to fit into a socket at once. Rules for longer ones
// cannot be.
const maxDescribed = 1000

// describe returns a match rule that matches messages such as m.
func (r *reporter) describe(m *bus.Message) string {
	if r.rules == nil {
		return ""
	}
	path, iface, member := r.rules.Describe(m)
	var rule []string
	for _, c := range [...][2]string{{"interface", iface}, {"member", member}, {"path", path}} {
		if c[1] != "" && len(c[1]) <= maxDescribed {
			rule = append(rule, c[0]+"='"+c[1]+"'")
		}
	}
	return strings.Join(rule, ",")
}

// run writes reports until stop.
func (r *reporter) run() {
	for {
		select {
		case <-r.done:
			return
		case next := <-r.queue:
			if next.drained != nil {
				close(next.drained)
				continue
			}
			lost := r.lost.Swap(0)
			putU64(next.frame[tagAt:], lost)
			if r.peer.Notify(next.frame) != nil {
				r.lost.Add(lost + 1)
			}
		}
	}
}

// drain waits until what has been noted is written.
func (r *reporter) drain() {
	last := report{drained: make(chan struct{})}
	select {
	case r.queue <- last:
		select {
		case <-last.drained:
		case <-r.done:
		}
	case <-r.done:
	}
}

// stop ends run, for good.
func (r *reporter) stop() { close(r.done) }

// tagAt is where the tag is in the header of a frame.
const tagAt = 8
