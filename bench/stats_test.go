package bench

import (
	"math"
	"testing"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	hundred := make([]uint32, 100)
	for i := range hundred {
		hundred[i] = uint32(100 - i)
	}
	for _, test := range []struct {
		name    string
		samples []uint32
		p       float64
		want    float64
	}{
		{"one sample is every percentile", []uint32{7}, 99, 7},
		{"median of two is the lower", []uint32{9, 3}, 50, 3},
		{"p50 of 1 to 100", hundred, 50, 50},
		{"p99 of 1 to 100", hundred, 99, 99},
		{"p100 of 1 to 100", hundred, 100, 100},
		{"p0 is the least", hundred, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := percentile(test.samples, test.p); got != test.want {
				t.Errorf("percentile %v = %v, want %v", test.p, got, test.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"odd number", []float64{9, 1, 5}, 5},
		{"even number", []float64{9, 1, 5, 6}, 5.5},
		{"one", []float64{4}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := median(test.values); got != test.want {
				t.Errorf("median = %v, want %v", got, test.want)
			}
		})
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}

func TestMedianLeavesTheOrderOfRounds(t *testing.T) {
	values := []float64{3, 1, 2}
	median(values)
	if values[0] != 3 || values[1] != 1 || values[2] != 2 {
		t.Errorf("values are now %v", values)
	}
}
