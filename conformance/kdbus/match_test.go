//go:build conformance

package kdbus

import (
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// signalTo returns a signal to one connection, whose filter has these bits.
func (c *client) signal(cookie uint64, bits ...int) nativetest.Outgoing {
	o := broadcast(cookie, bits...)
	o.DstID = c.ID
	return o
}

// bloomRule is met by signals whose filter has the bits; with several masks, each is for a generation.
func bloomRule(masks ...[]byte) abi.MatchRule {
	r := abi.MatchRule{Type: abi.ItemBloomMask}
	for _, mask := range masks {
		r.Mask = append(r.Mask, mask...)
	}
	return r
}

// whole is a mask or filter all bytes of which are b.
func whole(b byte) []byte {
	data := make([]byte, abi.DefaultBloom.Size)
	for i := range data {
		data[i] = b
	}
	return data
}

// kdbus.match(7), from its beginning to "Generations".
func TestSignals(t *testing.T) {
	prove(t, "without a match no signal is received", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.sends(broadcast(1))
		a.sends(b.signal(2))
		a.owns("org.example.A")
		b.getsNothing()
	})
	prove(t, "a signal to one connection is received if that has a match, and else dropped silently", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		b.owns("org.example.B")
		a.sends(b.signal(1, 5))
		b.matches(bloomRule(bitField(5)))
		c.matches(bloomRule(bitField(5)))
		a.sends(b.signal(2, 6))
		a.sends(b.signal(3, 5))
		o := toName("org.example.B", 4)
		o.Message.Flags, o.Bloom.Data, o.Body = abi.MsgSignal, bitField(5), nil
		a.sends(o)
		b.gets(3)
		b.gets(4)
		b.getsNothing()
		c.getsNothing()
	})
	prove(t, "a signal without the flag SIGNAL is none", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		o := b.signal(1)
		o.Message.Flags = 0
		a.sendRefused(syscall.EBADMSG, o)
	})
	delivered := func(sentence string, want bool, filter []byte, generation uint64, masks ...[]byte) {
		prove(t, sentence, func(t *testing.T, w *world) {
			a, b := w.join(root), w.join(root)
			b.matches(bloomRule(masks...))
			o := broadcast(1)
			o.Bloom.Data, o.Bloom.Generation = filter, generation
			a.sends(o)
			if want {
				b.gets(1)
			}
			b.getsNothing()
		})
	}
	delivered("a mask is met if the filter has all of its bits", true, bitField(1, 70, 300), 0, bitField(1, 300))
	delivered("a mask is not met if the filter lacks one of its bits", false, bitField(1, 70), 0, bitField(1, 300))
	delivered("a mask that is the filter is met", true, whole(1), 0, whole(1))
	delivered("a filter of all bits is met by every mask", true, whole(0xff), 0, whole(0x55))
	delivered("an empty mask is met by every filter", true, bitField(), 0, bitField())
	delivered("of several masks that of the filter's generation counts", true, bitField(2), 1, bitField(1), bitField(2), bitField(3))
	delivered("of several masks those of other generations do not count", false, bitField(2), 0, bitField(1), bitField(2), bitField(3))
	delivered("for a later generation than there is a mask for the last mask counts", true, bitField(3), 9, bitField(1), bitField(2), bitField(3))
	prove(t, "filters have the size that the bus has", func(t *testing.T, w *world) {
		a := w.join(root)
		o := broadcast(1)
		o.Bloom.Data = make([]byte, 32)
		a.sendRefused(syscall.EDOM, o)
	})
	prove(t, "masks have the size that the bus has, or a multiple of it", func(t *testing.T, w *world) {
		a := w.join(root)
		for size, errno := range map[int]syscall.Errno{64: 0, 128: 0, 640: 0, 0: syscall.EDOM, 8: syscall.EDOM, 63: syscall.EDOM, 96: syscall.EDOM} {
			cmd := &abi.MatchAdd{Cookie: 1, Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: make([]byte, size)}}}
			if errno == 0 {
				a.does(cmd)
			} else {
				a.refused(errno, cmd)
			}
		}
	})
}

// kdbus.match(7), "Adding a match", and "Matches for kernel notifications".
func TestMatches(t *testing.T) {
	prove(t, "all rules of a match have to be met", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		c.matches(abi.MatchRule{Type: abi.ItemID, ID: a.ID}, bloomRule(bitField(5)))
		a.sends(broadcast(1, 6))
		b.sends(broadcast(2, 5))
		a.sends(broadcast(3, 5))
		c.gets(3)
		c.getsNothing()
	})
	prove(t, "one match that is met is enough, and the signal arrives once", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches(bloomRule(bitField(5)))
		b.does(&abi.MatchAdd{Cookie: 2, Rules: []abi.MatchRule{bloomRule(bitField(6))}})
		b.does(&abi.MatchAdd{Cookie: 3})
		a.sends(broadcast(1, 6))
		b.gets(1)
		b.getsNothing()
	})
	prove(t, "REPLACE removes the matches with the same cookie first", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches(bloomRule(bitField(5)))
		b.matches(bloomRule(bitField(6)))
		b.does(&abi.MatchAdd{Cookie: 2, Rules: []abi.MatchRule{bloomRule(bitField(7))}})
		b.does(&abi.MatchAdd{Cookie: 1, Flags: abi.MatchReplace, Rules: []abi.MatchRule{bloomRule(bitField(8))}})
		for bit := 5; bit <= 8; bit++ {
			a.sends(broadcast(uint64(bit), bit))
		}
		b.gets(7)
		b.gets(8)
		b.getsNothing()
	})
	prove(t, "without REPLACE several matches can have one cookie", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches(bloomRule(bitField(5)))
		b.matches(bloomRule(bitField(6)))
		a.sends(broadcast(1, 5))
		a.sends(broadcast(2, 6))
		b.gets(1)
		b.gets(2)
	})
	prove(t, "NAME is met by signals of who owns the name when it sends", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches(abi.MatchRule{Type: abi.ItemName, Name: "org.example.A"})
		a.sends(broadcast(1))
		a.owns("org.example.A")
		a.sends(broadcast(2))
		a.does(&abi.NameRelease{Name: "org.example.A"})
		a.sends(broadcast(3))
		b.gets(2)
		b.getsNothing()
	})
	prove(t, "NAME is not met by who waits for the name", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		c.owns("org.example.A")
		a.owns("org.example.A", abi.NameQueue)
		b.matches(abi.MatchRule{Type: abi.ItemName, Name: "org.example.A"})
		a.sends(broadcast(1))
		b.getsNothing()
	})
	prove(t, "ID is met by signals of one connection, or with ID_ANY of all", func(t *testing.T, w *world) {
		a, b, c, d := w.join(root), w.join(root), w.join(root), w.join(root)
		c.matches(abi.MatchRule{Type: abi.ItemID, ID: a.ID})
		d.matches(abi.MatchRule{Type: abi.ItemID, ID: abi.MatchIDAny})
		a.sends(broadcast(1))
		b.sends(broadcast(2))
		c.gets(1)
		c.getsNothing()
		d.gets(1)
		d.gets(2)
	})
	prove(t, "DST_ID is met by signals to one connection, or by broadcasts", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches(abi.MatchRule{Type: abi.ItemDstID, ID: b.ID})
		a.sends(broadcast(1))
		a.sends(b.signal(2))
		b.gets(2)
		b.getsNothing()
	})
	prove(t, "NAME_ADD, NAME_REMOVE and NAME_CHANGE are met by their notifications only", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		watchers := map[abi.ItemType]*client{}
		for _, kind := range []abi.ItemType{abi.ItemNameAdd, abi.ItemNameRemove, abi.ItemNameChange} {
			watchers[kind] = w.join(root)
			watchers[kind].matches(nameRule(kind))
		}
		a.owns("org.example.A", abi.NameAllowReplacement)
		b.owns("org.example.A", abi.NameReplaceExisting)
		b.does(&abi.NameRelease{Name: "org.example.A"})
		a.sends(broadcast(1))
		for kind, c := range watchers {
			n := c.told(kind).Notification
			want := map[abi.ItemType][2]uint64{abi.ItemNameAdd: {0, a.ID}, abi.ItemNameRemove: {b.ID, 0}, abi.ItemNameChange: {a.ID, b.ID}}[kind]
			if n.Old.ID != want[0] || n.New.ID != want[1] || n.Name != "org.example.A" {
				t.Errorf("%+v", n)
			}
			c.getsNothing()
		}
	})
	prove(t, "a rule about names may ask for one name, its owner before and its owner after", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		one, before, after := w.join(root), w.join(root), w.join(root)
		one.matches(abi.MatchRule{Type: abi.ItemNameChange, OldID: abi.MatchIDAny, NewID: abi.MatchIDAny, Name: "org.example.B"})
		before.matches(abi.MatchRule{Type: abi.ItemNameChange, OldID: b.ID, NewID: abi.MatchIDAny, AnyName: true})
		after.matches(abi.MatchRule{Type: abi.ItemNameChange, OldID: abi.MatchIDAny, NewID: b.ID, AnyName: true})
		a.owns("org.example.A", abi.NameAllowReplacement)
		b.owns("org.example.A", abi.NameReplaceExisting) // a to b
		b.owns("org.example.B", abi.NameAllowReplacement)
		a.owns("org.example.B", abi.NameReplaceExisting) // b to a
		for c, want := range map[*client]string{one: "org.example.B", before: "org.example.B", after: "org.example.A"} {
			if n := c.told(abi.ItemNameChange).Notification; n.Name != want {
				t.Errorf("%+v", n)
			}
			c.getsNothing()
		}
	})
	prove(t, "ID_ADD and ID_REMOVE are met by one connection, or with ID_ANY by all", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		leaving := w.join(root)
		a.matches(idRule(abi.ItemIDAdd))
		a.does(&abi.MatchAdd{Cookie: 2, Rules: []abi.MatchRule{idRule(abi.ItemIDRemove)}})
		b.matches(abi.MatchRule{Type: abi.ItemIDRemove, ID: leaving.ID})
		other := w.join(root, noFDs)
		if n := a.told(abi.ItemIDAdd).Notification; n.New.ID != other.ID || n.New.Flags != 0 {
			t.Errorf("%+v", n)
		}
		other.does(&abi.ByeBye{})
		leaving.does(&abi.ByeBye{})
		other.isGone()
		leaving.isGone()
		a.told(abi.ItemIDRemove)
		a.told(abi.ItemIDRemove)
		if n := b.told(abi.ItemIDRemove).Notification; n.Old.ID != leaving.ID || n.Old.Flags != uint64(abi.HelloAcceptFD) {
			t.Errorf("%+v", n)
		}
		b.getsNothing()
	})
	prove(t, "rules for signals are not met by notifications, nor the other way round", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches(bloomRule(bitField()))
		b.does(&abi.MatchAdd{Cookie: 2, Rules: []abi.MatchRule{{Type: abi.ItemID, ID: abi.MatchIDAny}, idRule(abi.ItemIDAdd)}})
		a.owns("org.example.A")
		w.join(root)
		b.getsNothing()
	})
	prove(t, "a match without rules is met by everything", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches()
		a.owns("org.example.A")
		b.told(abi.ItemNameAdd)
		a.sends(broadcast(1))
		b.gets(1)
	})
	prove(t, "MATCH_ADD that negotiates tells the valid flags and does nothing", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.negotiates(&abi.MatchAdd{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemBloomMask, abi.ItemFDs}}}, 1, abi.ItemBloomMask, 0)
		a.sends(broadcast(1))
		b.getsNothing()
	})
	refused := func(sentence string, want syscall.Errno, cmd abi.Command) {
		prove(t, sentence, func(t *testing.T, w *world) { w.join(root).refused(want, cmd) })
	}
	refused("EINVAL: a flag that MATCH_ADD does not have", syscall.EINVAL, &abi.MatchAdd{Flags: 1 << 10})
	refused("EINVAL: a name in a match that is none", syscall.EINVAL, &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemName, Name: "x"}}})
	refused("EDOM: a mask of another size", syscall.EDOM, &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: make([]byte, 32)}}})
	refused("EBADSLT: a cookie that no match has", syscall.EBADSLT, &abi.MatchRemove{Cookie: 7})
	prove(t, "EINVAL: an item that MATCH_ADD does not have", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdMatchAdd, withItem((&abi.MatchAdd{}).Append(nil), abi.ItemReplyDead, nil))
	})
	prove(t, "EMFILE: a 257th match", func(t *testing.T, w *world) {
		a := w.join(root)
		for i := range uint64(256) {
			a.does(&abi.MatchAdd{Cookie: i})
		}
		a.refused(syscall.EMFILE, &abi.MatchAdd{Cookie: 1000})
		a.does(&abi.MatchAdd{Cookie: 1, Flags: abi.MatchReplace})
		w.join(root).matches()
	})
}

// kdbus.match(7), "Removing a match".
func TestRemovingMatches(t *testing.T) {
	prove(t, "all matches with the cookie are removed, and no others", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.matches(bloomRule(bitField(5)))
		b.matches(bloomRule(bitField(6)))
		b.does(&abi.MatchAdd{Cookie: 2, Rules: []abi.MatchRule{bloomRule(bitField(7))}})
		b.does(&abi.MatchRemove{Cookie: 1})
		for bit := 5; bit <= 7; bit++ {
			a.sends(broadcast(uint64(bit), bit))
		}
		b.gets(7)
		b.getsNothing()
		b.refused(syscall.EBADSLT, &abi.MatchRemove{Cookie: 1})
	})
	prove(t, "matches of other connections stay", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		a.matches()
		b.matches()
		a.does(&abi.MatchRemove{Cookie: 1})
		b.sends(broadcast(1))
		b.gets(1)
	})
	prove(t, "EINVAL: flags of MATCH_REMOVE", func(t *testing.T, w *world) {
		b := (&abi.MatchRemove{}).Append(nil)
		putFlags(b, 1)
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdMatchRemove, b)
	})
	prove(t, "EINVAL: an item of MATCH_REMOVE", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdMatchRemove, withItem((&abi.MatchRemove{}).Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "MATCH_REMOVE that negotiates has no flags and removes nothing", func(t *testing.T, w *world) {
		a := w.join(root)
		a.matches()
		a.negotiates(&abi.MatchRemove{Cookie: 1, Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemID}}}, 0, 0)
		a.does(&abi.MatchRemove{Cookie: 1})
	})
}
