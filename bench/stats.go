package bench

import (
	"math"
	"slices"
)

// percentile returns the value that p percent of the samples do not exceed (the nearest
// rank). It sorts samples, of which there is at least one.
func percentile(samples []uint32, p float64) float64 {
	slices.Sort(samples)
	rank := int(math.Ceil(p / 100 * float64(len(samples))))
	return float64(samples[max(rank, 1)-1])
}

// median returns the median of values, the mean of the middle two when their number is
// even, and NaN when there are none. It leaves values as they are.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
