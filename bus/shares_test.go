package bus_test

import (
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/bus"
)

func TestSharesOfAQueueAreToldByUser(t *testing.T) {
	for _, test := range []struct {
		name  string
		quota bus.Quota
		want  []bus.QueueShare
	}{
		{"of kdbus", bus.Quota{Bytes: 12_000, Messages: 256, FDs: 16, Fair: true}, []bus.QueueShare{
			{Account: bus.Account{UID: 1}, Messages: 2, Bytes: 1000, FDs: 3, MaxBytes: (6000 - 500) / 3},
			{Account: bus.Account{UID: 2}, Messages: 1, Bytes: 500, MaxBytes: (6000 - 1000) / 3},
		}},
		{"of dbus-daemon", bus.Quota{Bytes: 2000, FDs: 16}, []bus.QueueShare{
			{Account: bus.Account{UID: 1}, Messages: 2, Bytes: 1000, FDs: 3, MaxBytes: 2000},
			{Account: bus.Account{UID: 2}, Messages: 1, Bytes: 500, MaxBytes: 2000},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			receiver := b.connect(ofUser(3), limited(bus.Limits{Quota: test.quota}))
			receiver.sleep()
			one, two := b.connect(ofUser(1)), b.connect(ofUser(2))
			for _, err := range []error{
				one.post(withFDs(sized(t, receiver.ID(), 500), 3)), one.post(sized(t, receiver.ID(), 500)), two.post(sized(t, receiver.ID(), 500)),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			shares := receiver.QueueShares()
			slices.SortFunc(shares, func(a, b bus.QueueShare) int { return cmp.Compare(a.Account.UID, b.Account.UID) })
			if diff := gocmp.Diff(test.want, shares); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			percent := 100 * 1000 / test.want[0].MaxBytes
			maxConns := bus.DefaultMaxConnsPerUser
			if diff := gocmp.Diff(map[bus.Account]bus.UserStats{
				{UID: 1}: {Conns: 1, MaxConns: maxConns, Messages: 2, Bytes: 1000, FDs: 3, FullestPercent: percent},
				{UID: 2}: {Conns: 1, MaxConns: maxConns, Messages: 1, Bytes: 500, FullestPercent: 100 * 500 / test.want[1].MaxBytes},
				{UID: 3}: {Conns: 1, MaxConns: maxConns},
			}, b.UserStats()); diff != "" {
				t.Errorf("users, -want +got\n%s", diff)
			}
		})
	}
}

// What a user may hold is what it can fill the queue up to.
func TestTheShareToldIsTheOneThatHolds(t *testing.T) {
	b := newBus(t)
	receiver := b.connect(limited(bus.Limits{Quota: bus.Quota{Bytes: 12_000, Messages: 256, FDs: 16, Fair: true}}))
	receiver.sleep()
	first, second := b.connect(ofUser(1)), b.connect(ofUser(2))
	for _, p := range []*peer{first, second} {
		if err := p.post(sized(t, receiver.ID(), 300)); err != nil {
			t.Fatal(err)
		}
	}
	for _, share := range receiver.QueueShares() {
		if share.Account.UID == 2 {
			expectError(t, second.post(sized(t, receiver.ID(), share.MaxBytes-share.Bytes+1)), bus.ErrQueueFull)
			if err := second.post(sized(t, receiver.ID(), share.MaxBytes-share.Bytes)); err != nil {
				t.Errorf("a message that fills the share: %v", err)
			}
		}
	}
}
