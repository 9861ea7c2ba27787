package native_test

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// mask returns a bloom mask with one bit set in each generation.
func mask(size int, bits ...int) (m []byte) {
	for _, bit := range bits {
		generation := make([]byte, size)
		putU64(generation[bit/64*8:], 1<<(bit%64))
		m = append(m, generation...)
	}
	return m
}

// bloom returns a filter with these bits.
func bloom(generation uint64, bits ...int) abi.BloomFilter {
	f := abi.BloomFilter{Generation: generation, Data: make([]byte, 64)}
	for _, bit := range bits {
		f.Data[bit/8] |= 1 << (bit % 8)
	}
	return f
}

func TestSignalsAreMatched(t *testing.T) {
	w := newWorld(t)
	sender, other := w.join(), w.join()
	w.do(sender, &abi.NameAcquire{Name: "org.example.A"})
	rule := func(r abi.MatchRule) []abi.MatchRule { return []abi.MatchRule{r} }
	for _, c := range []struct {
		name   string
		rules  []abi.MatchRule
		filter abi.BloomFilter
		want   bool
	}{
		{"everything", nil, bloom(0), true},
		{"mask that is met", rule(abi.MatchRule{Type: abi.ItemBloomMask, Mask: mask(64, 70)}), bloom(0, 5, 70), true},
		{"mask that is not met", rule(abi.MatchRule{Type: abi.ItemBloomMask, Mask: mask(64, 70)}), bloom(0, 5, 71), false},
		{"second generation", rule(abi.MatchRule{Type: abi.ItemBloomMask, Mask: mask(64, 70, 71)}), bloom(1, 71), true},
		{"first generation", rule(abi.MatchRule{Type: abi.ItemBloomMask, Mask: mask(64, 70, 71)}), bloom(0, 71), false},
		{"later generation", rule(abi.MatchRule{Type: abi.ItemBloomMask, Mask: mask(64, 70, 71)}), bloom(9, 71), true},
		{"sender", rule(abi.MatchRule{Type: abi.ItemID, ID: sender.ID}), bloom(0), true},
		{"any sender", rule(abi.MatchRule{Type: abi.ItemID, ID: abi.MatchIDAny}), bloom(0), true},
		{"another sender", rule(abi.MatchRule{Type: abi.ItemID, ID: other.ID}), bloom(0), false},
		{"name of the sender", rule(abi.MatchRule{Type: abi.ItemName, Name: "org.example.A"}), bloom(0), true},
		{"name of nobody", rule(abi.MatchRule{Type: abi.ItemName, Name: "org.example.B"}), bloom(0), false},
		{"destination", rule(abi.MatchRule{Type: abi.ItemDstID, ID: abi.DstIDBroadcast}), bloom(0), true},
		{"another destination", rule(abi.MatchRule{Type: abi.ItemDstID, ID: 1}), bloom(0), false},
		{"two that are met", []abi.MatchRule{{Type: abi.ItemID, ID: sender.ID}, {Type: abi.ItemBloomMask, Mask: mask(64, 1)}}, bloom(0, 1), true},
		{"one of two is met", []abi.MatchRule{{Type: abi.ItemID, ID: sender.ID}, {Type: abi.ItemBloomMask, Mask: mask(64, 1)}}, bloom(0, 2), false},
		{"notification only", rule(abi.MatchRule{Type: abi.ItemIDAdd, ID: abi.MatchIDAny}), bloom(0), false},
		{"D-Bus rule and sender", []abi.MatchRule{{Type: abi.ItemMatchRule, Name: "Signal"}, {Type: abi.ItemID, ID: sender.ID}}, bloom(0), true},
		{"another D-Bus rule and sender", []abi.MatchRule{{Type: abi.ItemMatchRule, Name: "Other"}, {Type: abi.ItemID, ID: sender.ID}}, bloom(0), false},
		{"two D-Bus rules", []abi.MatchRule{{Type: abi.ItemMatchRule, Name: "Signal"}, {Type: abi.ItemMatchRule, Name: "Other"}}, bloom(0), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			receiver := w.join()
			w.do(receiver, &abi.MatchAdd{Cookie: 5, Rules: c.rules})
			signal := nativetest.Outgoing{
				Message: abi.Message{DstID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Bloom: c.filter, Cookie: 3},
				Body: dbus(t, wire.Header{
					Type: wire.TypeSignal, Serial: 3, Path: "/", Interface: "org.example.I", Member: "Signal",
				}),
			}
			w.send(sender, signal)
			w.send(sender, nativetest.Outgoing{Message: abi.Message{DstID: receiver.ID, Cookie: 4}})
			m := w.recv(receiver)
			if got := m.Cookie == 3; got != c.want {
				t.Errorf("it was delivered: %v", got)
			}
			if m.Cookie == 3 {
				if m.Bloom.Data != nil || !strings.HasPrefix(w.content(m), "l\x04") || m.DstID != abi.DstIDBroadcast || m.Flags != abi.MsgSignal {
					t.Errorf("%+v", m.Message)
				}
				w.recv(receiver)
			}
			w.do(receiver, &abi.MatchRemove{Cookie: 5})
			w.send(sender, signal)
			w.send(sender, nativetest.Outgoing{Message: abi.Message{DstID: receiver.ID, Cookie: 4}})
			if m := w.recv(receiver); m.Cookie != 4 {
				t.Error("it was delivered after the match was removed")
			}
			receiver.Close()
		})
	}
}

func TestUnicastSignalNeedsAMatch(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	signal := nativetest.Outgoing{Message: abi.Message{DstID: b.ID, Flags: abi.MsgSignal, Bloom: bloom(0), Cookie: 1}}
	w.send(a, signal)
	w.do(b, &abi.MatchAdd{Cookie: 1})
	signal.Cookie = 2
	w.send(a, signal)
	if m := w.recv(b); m.Cookie != 2 {
		t.Errorf("%+v", m.Message)
	}
}

func TestNotificationsArriveAsMessages(t *testing.T) {
	w := newWorld(t)
	watcher := w.join(func(h *abi.Hello) { h.AttachFlagsRecv = abi.AttachTimestamp })
	for cookie, rule := range []abi.MatchRule{
		{Type: abi.ItemIDAdd, ID: abi.MatchIDAny}, {Type: abi.ItemIDRemove, ID: abi.MatchIDAny},
		{Type: abi.ItemNameAdd, OldID: abi.MatchIDAny, NewID: abi.MatchIDAny, AnyName: true},
		{Type: abi.ItemNameChange, OldID: abi.MatchIDAny, NewID: abi.MatchIDAny, Name: "org.example.A"},
		{Type: abi.ItemNameRemove, OldID: abi.MatchIDAny, NewID: abi.MatchIDAny, Name: "org.example.A"},
	} {
		w.do(watcher, &abi.MatchAdd{Cookie: uint64(cookie), Rules: []abi.MatchRule{rule}})
	}
	expect := func(want abi.Notification) {
		t.Helper()
		m := w.recv(watcher)
		if diff := cmp.Diff(want, m.Notification); diff != "" {
			t.Error(diff)
		}
		if m.SrcID != abi.SrcIDKernel || m.DstID != abi.DstIDBroadcast || m.Flags != abi.MsgSignal || m.PayloadType != abi.PayloadKernel ||
			m.Payload != nil || m.Meta.Has != abi.AttachTimestamp || m.Meta.Timestamp.MonotonicNS == 0 {
			t.Errorf("%+v", m)
		}
	}
	const fd = uint64(abi.HelloAcceptFD)
	a := w.join()
	expect(abi.Notification{Type: abi.ItemIDAdd, New: abi.Party{ID: a.ID, Flags: fd}})
	b := w.join()
	expect(abi.Notification{Type: abi.ItemIDAdd, New: abi.Party{ID: b.ID, Flags: fd}})
	w.do(a, &abi.NameAcquire{Name: "org.example.A", Flags: abi.NameAllowReplacement | abi.NameQueue})
	const primary = uint64(abi.NamePrimary)
	const aFlags = uint64(abi.NameAllowReplacement | abi.NameQueue)
	expect(abi.Notification{Type: abi.ItemNameAdd, New: abi.Party{ID: a.ID, Flags: aFlags | primary}, Name: "org.example.A"})
	w.do(b, &abi.NameAcquire{Name: "org.example.A", Flags: abi.NameReplaceExisting})
	expect(abi.Notification{
		Type: abi.ItemNameChange, Name: "org.example.A",
		Old: abi.Party{ID: a.ID, Flags: aFlags | primary}, New: abi.Party{ID: b.ID, Flags: primary},
	})
	w.do(b, &abi.NameRelease{Name: "org.example.A"})
	expect(abi.Notification{
		Type: abi.ItemNameChange, Name: "org.example.A",
		Old: abi.Party{ID: b.ID, Flags: primary}, New: abi.Party{ID: a.ID, Flags: aFlags | primary},
	})
	a.Close()
	expect(abi.Notification{Type: abi.ItemNameRemove, Old: abi.Party{ID: a.ID, Flags: aFlags | primary}, Name: "org.example.A"})
	expect(abi.Notification{Type: abi.ItemIDRemove, Old: abi.Party{ID: a.ID, Flags: fd}})
}

func TestMatchesAreJudged(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	bad := w.join()
	for _, tc := range []struct {
		name string
		cmd  abi.Command
		want syscall.Errno
	}{
		{"mask of another size", &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: make([]byte, 32)}}}, syscall.EDOM},
		{"mask of odd size", &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: make([]byte, 3)}}}, syscall.EDOM},
		{"mask of one and a half generations", &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemBloomMask, Mask: make([]byte, 96)}}}, syscall.EDOM},
		{"name that is none", &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemName, Name: "x"}}}, syscall.EINVAL},
		{"unknown flag", &abi.MatchAdd{Flags: 1 << 10}, syscall.EINVAL},
		{"bad D-Bus rule", &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemMatchRule, Name: "bad"}}}, syscall.EINVAL},
		{"bad D-Bus rule among others", &abi.MatchAdd{Rules: []abi.MatchRule{{Type: abi.ItemMatchRule, Name: "bad"}, {Type: abi.ItemID}}}, syscall.EINVAL},
		{"nothing to remove", &abi.MatchRemove{Cookie: 77}, syscall.EBADSLT},
	} {
		_, err := bad.Do(tc.cmd)
		refuses(t, tc.name, err, tc.want)
	}
	for i := range abi.MatchMax {
		w.do(c, &abi.MatchAdd{Cookie: uint64(i)})
	}
	_, err := c.Do(&abi.MatchAdd{Cookie: 1000})
	refuses(t, "one too many", err, syscall.EMFILE)
	w.do(c, &abi.MatchAdd{Cookie: 5, Flags: abi.MatchReplace}) // takes the place of another
	w.do(c, &abi.MatchRemove{Cookie: 5})
	_, err = c.Do(&abi.MatchRemove{Cookie: 5})
	refuses(t, "removed again", err, syscall.EBADSLT)
}

func TestDBusRuleAloneIsKeptWithThoseOfDBus(t *testing.T) {
	w := newWorld(t)
	c := w.join()
	rule := func(cookie uint64, flags abi.MatchFlags, text string) *abi.MatchAdd {
		return &abi.MatchAdd{Cookie: cookie, Flags: flags, Rules: []abi.MatchRule{{Type: abi.ItemMatchRule, Name: text}}}
	}
	have := func() string {
		w.rules.mu.Lock()
		defer w.rules.mu.Unlock()
		return fmt.Sprint(w.rules.added)
	}
	w.do(c, rule(1, 0, "A"))
	w.do(c, rule(2, 0, "B"))
	if have() != "map[1:A 2:B]" {
		t.Error(have())
	}
	w.do(c, &abi.MatchAdd{Cookie: 1, Flags: abi.MatchReplace}) // no rule any more
	w.do(c, rule(2, abi.MatchReplace, "C"))
	if have() != "map[2:C]" {
		t.Error(have())
	}
	w.do(c, &abi.MatchRemove{Cookie: 2})
	w.do(c, &abi.MatchRemove{Cookie: 1})
	for cookie := range uint64(2) {
		_, err := c.Do(&abi.MatchRemove{Cookie: cookie + 1})
		refuses(t, "nothing is left", err, syscall.EBADSLT)
	}
	without := newWorld(t, func(_ *bus.Config, c *native.Config) { c.Rules = nil })
	_, err := without.join().Do(rule(1, 0, "A"))
	refuses(t, "no D-Bus rules", err, syscall.EOPNOTSUPP)
}

// TestBroadcastsArriveWhole takes care of payload that lies behind a filter.
func TestBroadcastsArriveWhole(t *testing.T) {
	w := newWorld(t)
	sender := w.join()
	plain, curious := w.join(), w.join(func(h *abi.Hello) { h.AttachFlagsRecv = abi.AttachAny })
	w.do(plain, &abi.MatchAdd{})
	w.do(curious, &abi.MatchAdd{})
	fd, err := nativetest.Memfd([]byte("memfd"))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for _, size := range []int{1, 100, 10_000} {
		for _, filterLast := range []bool{false, true} {
			body := bytes.Repeat([]byte{'x'}, size)
			k := abi.Message{DstID: abi.DstIDBroadcast, Flags: abi.MsgSignal, Cookie: 1, PayloadType: 1, Payload: []abi.Payload{
				{Type: abi.ItemPayloadVec, Size: uint64(size)}, {Type: abi.ItemPayloadVec, Size: 10}, {Type: abi.ItemPayloadMemfd, Size: 5},
			}}
			item := abi.AppendItem(nil, abi.ItemBloomFilter, append(make([]byte, 8), bloom(0, 3).Data...))
			k.Payload[0].Offset = uint64(k.Size() + len(item))
			message := k.Append(nil)
			if filterLast {
				message = append(message, item...)
			} else {
				message = append(message[:64:64], append(item, message[64:]...)...)
			}
			putU64(message, uint64(len(message)))
			if _, err := sender.Raw(abi.CmdSend, append(append((&abi.Send{}).Append(nil), message...), body...), fd); err != nil {
				t.Fatal(err)
			}
			for name, c := range map[string]*nativetest.Client{"plain": plain, "with metadata": curious} {
				m := w.recv(c)
				if got := w.content(m); got != string(body)+string(make([]byte, 10))+"memfd" || m.SrcID != sender.ID {
					t.Errorf("%s, %d bytes, filter last: %v: %q, %+v", name, size, filterLast, got, m.Message)
				}
			}
		}
	}
}
