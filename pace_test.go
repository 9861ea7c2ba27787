package kdbus

import (
	"testing"
	"time"
)

func TestCallersWaitWhereItIsQuicker(t *testing.T) {
	const us = time.Microsecond
	for _, test := range []struct {
		behaviour        string
		inKernel, parked func(call int) time.Duration
		want             bool          // in the kernel
		most             time.Duration // that may be lost in 20,000 calls, against always doing right
	}{
		{"the kernel is a little quicker", func(int) time.Duration { return 27 * us }, func(int) time.Duration { return 31 * us }, true, 200 * us},
		{"the answer needs our processor", func(int) time.Duration { return 5000 * us }, func(int) time.Duration { return 20 * us }, false, 200_000 * us},
		{"some answers are slow", func(n int) time.Duration { return time.Duration(27+n%3*1000) * us },
			func(n int) time.Duration { return time.Duration(31+n%3*1000) * us }, true, 200 * us},
		{"it changes", func(n int) time.Duration {
			if n < 10_000 {
				return 27 * us
			}
			return 1000 * us
		}, func(int) time.Duration { return 40 * us }, false, 10_000_000 * us},
	} {
		var p pace
		lost, right := time.Duration(0), 0
		const calls = 20_000
		for n := range calls {
			inKernel := p.inKernel()
			took, other := test.inKernel(n), test.parked(n)
			if !inKernel {
				took, other = other, took
			}
			lost += max(0, took-other)
			if n >= calls-100 && inKernel == test.want {
				right++
			}
			p.took(inKernel, took)
		}
		if lost > test.most || right < 90 {
			t.Errorf("%s: %v were lost, and %d of the last 100 calls waited where it is quicker", test.behaviour, lost, right)
		}
	}
}
