package meta_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/meta"
)

func TestKindsHaveTheBitsOfKdbus(t *testing.T) {
	for kind, want := range map[meta.Kinds]uint64{ // KDBUS_ATTACH_* of kdbus.h
		meta.KindTimestamp: 1 << 0, meta.KindCreds: 1 << 1, meta.KindPIDs: 1 << 2, meta.KindAuxGroups: 1 << 3,
		meta.KindNames: 1 << 4, meta.KindTIDComm: 1 << 5, meta.KindPIDComm: 1 << 6, meta.KindExe: 1 << 7,
		meta.KindCmdline: 1 << 8, meta.KindCGroup: 1 << 9, meta.KindCaps: 1 << 10, meta.KindSecLabel: 1 << 11,
		meta.KindAudit: 1 << 12, meta.KindDescription: 1 << 13, meta.AllKinds: 1<<14 - 1,
	} {
		if uint64(kind) != want {
			t.Errorf("%v is %#x, want %#x", kind, uint64(kind), want)
		}
	}
}

func TestKindsAreNamed(t *testing.T) {
	for kinds, want := range map[meta.Kinds]string{
		0:                                   "none",
		meta.KindCreds:                      "creds",
		meta.KindTimestamp | meta.KindAudit: "timestamp,audit",
		meta.KindDescription | 1<<14:        "description,unknown",
	} {
		if got := kinds.String(); got != want {
			t.Errorf("%#x is named %q, want %q", uint64(kinds), got, want)
		}
	}
}

func TestAKindIsAttachedIfAllPermitIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sender := meta.Kinds(rapid.Uint64().Draw(t, "sender"))
		receiver := meta.Kinds(rapid.Uint64().Draw(t, "receiver"))
		bus := meta.Kinds(rapid.Uint64().Draw(t, "bus"))
		domain := meta.Kinds(rapid.Uint64().Draw(t, "domain"))
		got := meta.Attach(sender, receiver, bus, domain)
		for kind := meta.Kinds(1); kind != 0; kind <<= 1 {
			want := sender&kind != 0 && receiver&kind != 0 && bus&kind != 0 && domain&kind != 0 && kind <= meta.AllKinds
			if got&kind != 0 != want {
				t.Errorf("%v attached: %t, want %t", kind, !want, want)
			}
		}
	})
}

func TestRequiredKindsThatAreWithheldAreMissing(t *testing.T) {
	const a, b, c = meta.KindCreds, meta.KindPIDs, meta.KindExe
	for _, test := range []struct{ requires, sender, want meta.Kinds }{
		{0, 0, 0},
		{0, a, 0},
		{a, 0, a},
		{a | b, a | c, b},
		{a | b, a | b | c, 0},
		{1<<64 - 1, meta.AllKinds, 0}, // those to come are nobody's fault
	} {
		if got := meta.Missing(test.requires, test.sender); got != test.want {
			t.Errorf("%v required, %v sent: %v missing, want %v", test.requires, test.sender, got, test.want)
		}
	}
}
