package bus

import "container/heap"

// ranked is the part of a queue that has messages of other priorities than 0: the lowest number
// first, and those of the same in the order in which they came.
type ranked struct {
	heap rankedHeap
	came uint64 // messages so far
}

type rankedMessage struct {
	*Message
	order uint64
}

func (r *ranked) push(m *Message) {
	r.came++
	heap.Push(&r.heap, rankedMessage{m, r.came})
}

// len returns how many messages there are. r may be nil.
func (r *ranked) len() int {
	if r == nil {
		return 0
	}
	return len(r.heap)
}

// pop takes the first message, which there must be.
func (r *ranked) pop() *Message { return heap.Pop(&r.heap).(rankedMessage).Message }

// before reports whether the first message goes before those of a priority.
func (r *ranked) before(priority int64) bool {
	return len(r.heap) > 0 && r.heap[0].Extra.Priority < priority
}

type rankedHeap []rankedMessage

func (h rankedHeap) Len() int { return len(h) }
func (h rankedHeap) Less(i, j int) bool {
	a, b := h[i].Extra.Priority, h[j].Extra.Priority
	return a < b || a == b && h[i].order < h[j].order
}
func (h rankedHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *rankedHeap) Push(x any)   { *h = append(*h, x.(rankedMessage)) }
func (h *rankedHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = rankedMessage{}
	*h = old[:len(old)-1]
	return last
}
