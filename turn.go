package kdbus

import "sync/atomic"

// turn is the turn to receive, and to route what was received: one goroutine has it at a time. A
// lock would do, but who is told that there is something to receive while another one has the
// turn does not wait for it; it knocks.
type turn struct{ state atomic.Int32 }

const (
	turnFree int32 = iota
	turnTaken
	turnKnocked // taken, and there may be more to receive than who has it knows of
)

// take takes the turn if nobody has it.
func (t *turn) take() bool { return t.state.CompareAndSwap(turnFree, turnTaken) }

// takeOrKnock takes the turn, or else lets who has it know that there is something to receive.
func (t *turn) takeOrKnock() bool {
	for {
		if t.take() {
			return true
		}
		if t.state.CompareAndSwap(turnTaken, turnKnocked) || t.state.Load() == turnKnocked {
			return false
		}
	}
}

// end ends the turn, unless somebody has knocked: then it goes on.
func (t *turn) end() bool {
	if t.state.CompareAndSwap(turnTaken, turnFree) {
		return true
	}
	t.state.Store(turnTaken)
	return false
}
