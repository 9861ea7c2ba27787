package bus_test

import (
	"testing"

	"github.com/kdbus-go/kdbus/bus"
)

func withMemfds(m *bus.Message, fds ...int) *bus.Message {
	if m.Extra == nil {
		m.Extra = new(bus.Extra)
	}
	m.Extra.Memfds = fds
	for i := range fds {
		m.Extra.Segments = append(m.Extra.Segments, bus.Segment{Memfd: i + 1, Size: 1 << 40})
	}
	return m
}

func TestMemfdsAreClosedWithTheLastReference(t *testing.T) {
	b := newBus(t)
	p := b.connect(native)
	first, second := b.connect(native), b.connect(native, refuseFDs)
	for _, q := range []*peer{first, second} {
		q.match(bus.Match{})
		q.sleep()
	}
	fd, closed := pipe(t)
	p.mustPost(withMemfds(nativeMessage(bus.Broadcast, &maker{}), fd))
	first.wakeUp()
	if closed() {
		t.Fatal("closed before everybody had it")
	}
	second.wakeUp() // memfds are payload: no permission to pass descriptors is asked
	if len(second.take()) == 0 {
		t.Error("not delivered")
	}
	expectClosedOnce(t, fd, closed, func() {})
}

func TestMemfdsThatNobodyTakesAreClosed(t *testing.T) {
	b := newBus(t)
	p := b.connect(native)
	fd, closed := pipe(t)
	expectError(t, p.post(withMemfds(nativeMessage(99, &maker{}), fd)), bus.ErrNoSuchConn)
	expectClosedOnce(t, fd, closed, func() {})
}

func TestMemfdQuota(t *testing.T) {
	tests := []struct {
		name  string
		quota bus.Quota
		limit int
	}{
		{"as given", bus.Quota{Bytes: 1 << 20, Memfds: 3}, 3},
		{"by default", bus.Quota{Bytes: 1 << 20}, 64},
		{"of kdbus", bus.Quota{Bytes: 1 << 20, Messages: 256, FDs: 16, Memfds: 64, Fair: true}, 64},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			p, other := b.connect(native), b.connect(native, ofUser(2))
			q := b.connect(native, limited(bus.Limits{Quota: test.quota}))
			q.sleep()
			send := func(from *peer, n int) error {
				fds := make([]int, n)
				for i := range fds {
					fds[i] = -1
				}
				return from.post(withMemfds(nativeMessage(q.ID(), &maker{}), fds...))
			}
			expectError(t, send(p, test.limit+1), bus.ErrTooManyFDs)
			expectError(t, send(p, test.limit-1), 0)
			expectError(t, send(p, 2), bus.ErrTooManyFDs)
			expectError(t, send(p, 1), 0)
			expectError(t, send(p, 1), bus.ErrTooManyFDs)
			expectError(t, send(p, 0), 0)
			expectError(t, send(other, 1), 0)
			q.wakeUp()
			expectError(t, send(p, test.limit), 0)
			if s := q.QueueStats(); s.Bytes != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestSegmentsAreAccountedByTheirBytes(t *testing.T) {
	segments := []bus.Segment{{Bytes: make([]byte, 100), Size: 100}, {Size: 1 << 40}, {Memfd: 1, Size: 1 << 40}, {Bytes: make([]byte, 20), Size: 20}}
	tests := []struct {
		name    string
		message *bus.Message
		want    int
	}{
		{"none", &bus.Message{}, 0},
		{"bytes, zeros and a memfd", &bus.Message{Extra: &bus.Extra{Segments: segments}}, 120},
		{"once, if there is a payload of the same", &bus.Message{Payload: [][]byte{make([]byte, 50)}, Extra: &bus.Extra{Segments: segments}}, 120},
		{"once, if the payload is larger", &bus.Message{Payload: [][]byte{make([]byte, 50), make([]byte, 100)}, Extra: &bus.Extra{Segments: segments}}, 150},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			p := b.connect(native)
			test.message.Dst = p.ID()
			p.mustPost(test.message)
			if got := test.message.Size() - overhead(t); got != test.want {
				t.Errorf("accounted with %d bytes, want %d", got, test.want)
			}
		})
	}
}
