package bus_test

import (
	"bytes"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
)

// ruleFunc is a bus.Rule.
type ruleFunc func(src, dst *bus.Conn, m *bus.Message) bool

func (f ruleFunc) Match(src, dst *bus.Conn, m *bus.Message) bool { return f(src, dst, m) }
func (f ruleFunc) Needs() bus.Parts                              { return 0 }

// bloomSignal makes a signal with these bits in its filter.
func bloomSignal(dst bus.ID, text string, generation uint64, bits ...int) *bus.Message {
	return &bus.Message{Dst: dst, Flags: bus.Signal, Has: bus.PartBloom, Extra: &bus.Extra{
		Segments:        []bus.Segment{{Bytes: []byte(text), Size: uint64(len(text))}},
		Bloom:           filterOf(bits...),
		BloomGeneration: generation,
	}}
}

func TestMatches(t *testing.T) {
	const sender, receiver, other = 1, 2, 3
	generations := [][]byte{slices.Concat(filterOf(1), filterOf(2), filterOf(3))}
	yes := ruleFunc(func(_, _ *bus.Conn, _ *bus.Message) bool { return true })
	no := ruleFunc(func(_, _ *bus.Conn, _ *bus.Message) bool { return false })
	change := func(kind bus.ChangeKind, name string, old, new bus.ID) bus.Match {
		return bus.Match{Changes: []bus.Change{{Kind: kind, Name: name, Old: old, New: new}}}
	}
	const anyID = bus.AnyID
	// What happens: a broadcast with bits 1 and 5, a signal with them to the receiver, one to it by name, the sender
	// takes a name and gives it back, connection 4 comes and goes. The sender owns com.example.Sender.
	all := []string{"broadcast", "unicast", "by name", "NameChanged com.example.N 0>1", "NameChanged com.example.N 1>0", "IDAdded 4", "IDRemoved 4"}
	signals, notes := all[:3], all[3:]
	tests := []struct {
		name  string
		match bus.Match
		want  []string
	}{
		{"no condition", bus.Match{}, all},
		{"mask", bus.Match{Masks: [][]byte{filterOf(1)}}, signals},
		{"mask with all bits", bus.Match{Masks: [][]byte{filterOf(1, 5)}}, signals},
		{"mask without bits", bus.Match{Masks: [][]byte{filterOf()}}, signals},
		{"mask with another bit", bus.Match{Masks: [][]byte{filterOf(1, 2)}}, nil},
		{"two masks", bus.Match{Masks: [][]byte{filterOf(1), filterOf(5)}}, signals},
		{"two masks of which one fails", bus.Match{Masks: [][]byte{filterOf(1), filterOf(4)}}, nil},
		{"mask of the first generation", bus.Match{Masks: generations}, signals},
		{"sender", bus.Match{Senders: []bus.ID{sender}}, signals},
		{"any sender", bus.Match{Senders: []bus.ID{anyID}}, signals},
		{"another sender", bus.Match{Senders: []bus.ID{receiver}}, nil},
		{"senders that contradict each other", bus.Match{Senders: []bus.ID{sender, receiver}}, nil},
		{"destination", bus.Match{Destinations: []bus.ID{receiver}}, []string{"unicast"}},
		{"any destination", bus.Match{Destinations: []bus.ID{anyID}}, signals},
		{"another destination", bus.Match{Destinations: []bus.ID{other}}, nil},
		{"name of the sender", bus.Match{Names: []string{"com.example.Sender"}}, signals},
		{"name that the sender has not", bus.Match{Names: []string{"com.example.Sender", example}}, nil},
		{"mask, sender and name", bus.Match{Masks: [][]byte{filterOf(1)}, Senders: []bus.ID{sender}, Names: []string{"com.example.Sender"}}, signals},
		{"mask and another sender", bus.Match{Masks: [][]byte{filterOf(1)}, Senders: []bus.ID{other}}, nil},
		{"rule", bus.Match{Rule: yes}, all},
		{"rule that fails", bus.Match{Rule: no}, nil},
		{"mask and rule", bus.Match{Masks: [][]byte{filterOf(1)}, Rule: yes}, signals},
		{"mask and rule that fails", bus.Match{Masks: [][]byte{filterOf(1)}, Rule: no}, nil},
		{"name added", change(bus.NameAdd, "", anyID, anyID), notes[:1]},
		{"name removed", change(bus.NameRemove, "", anyID, anyID), notes[1:2]},
		{"name changed", change(bus.NameChange, "", anyID, anyID), nil},
		{"this name", change(bus.NameAdd, "com.example.N", anyID, anyID), notes[:1]},
		{"another name", change(bus.NameAdd, example, anyID, anyID), nil},
		{"this owner", change(bus.NameAdd, "com.example.N", 0, sender), notes[:1]},
		{"another owner", change(bus.NameAdd, "", anyID, receiver), nil},
		{"another former owner", change(bus.NameRemove, "", receiver, anyID), nil},
		{"id added", change(bus.IDAdd, "", 0, anyID), notes[2:3]},
		{"this id added", change(bus.IDAdd, "", 0, 4), notes[2:3]},
		{"another id added", change(bus.IDAdd, "", 0, 5), nil},
		{"id removed", change(bus.IDRemove, "", anyID, 0), notes[3:]},
		{"this id removed", change(bus.IDRemove, "", 4, 0), notes[3:]},
		{"another id removed", change(bus.IDRemove, "", 5, 0), nil},
		{"two changes contradict each other", bus.Match{Changes: []bus.Change{
			{Kind: bus.NameAdd, Old: anyID, New: anyID}, {Kind: bus.IDAdd, New: anyID}}}, nil},
		{"two changes agree", bus.Match{Changes: []bus.Change{
			{Kind: bus.NameAdd, Old: anyID, New: anyID}, {Kind: bus.NameAdd, Old: 0, New: sender}}}, notes[:1]},
		{"change and rule", bus.Match{Changes: []bus.Change{{Kind: bus.IDAdd, New: anyID}}, Rule: yes}, notes[2:3]},
		{"change and rule that fails", bus.Match{Changes: []bus.Change{{Kind: bus.IDAdd, New: anyID}}, Rule: no}, nil},
		{"signals and notifications exclude each other", bus.Match{Masks: [][]byte{filterOf(1)}, Changes: []bus.Change{{Kind: bus.IDAdd, New: anyID}}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBus(t)
			p, q := b.connect(native), b.connect(native)
			b.connect(native)
			p.mustAcquire("com.example.Sender", 0)
			q.mustAcquire("com.example.Receiver", 0)
			q.match(test.match)
			happen := func() []string {
				p.mustPost(bloomSignal(bus.Broadcast, "broadcast", 0, 1, 5))
				p.mustPost(bloomSignal(q.ID(), "unicast", 0, 1, 5))
				m := bloomSignal(bus.ToName, "by name", 0, 1, 5)
				m.DstName = "com.example.Receiver"
				p.mustPost(m)
				p.mustAcquire("com.example.N", 0)
				expectError(t, p.ReleaseName("com.example.N"), 0)
				p.Flush()
				b.connect(native).leave()
				got := q.take()
				for i := range got {
					got[i] = strings.TrimPrefix(got[i], "1: ")
				}
				return got
			}
			if diff := cmp.Diff(test.want, happen()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			expectError(t, q.RemoveMatches(0), 0)
			if got := happen(); got != nil {
				t.Errorf("without the match: %q", got)
			}
		})
	}
}

func TestMaskOfTheGenerationOfTheFilter(t *testing.T) {
	b := newBus(t)
	sender, receiver := b.connect(native), b.connect(native)
	receiver.match(bus.Match{Masks: [][]byte{slices.Concat(filterOf(1), filterOf(), filterOf(3))}})
	for _, test := range []struct {
		generation uint64
		bit        int
		want       bool
	}{{0, 1, true}, {0, 3, false}, {1, 1, true}, {1, 9, true}, {2, 3, true}, {2, 1, false}, {3, 3, true}, {3, 1, false}, {1 << 63, 3, true}} {
		sender.mustPost(bloomSignal(bus.Broadcast, "x", test.generation, test.bit))
		if got := receiver.take() != nil; got != test.want {
			t.Errorf("filter of generation %d with bit %d: %v", test.generation, test.bit, got)
		}
		sender.mustPost(bloomSignal(receiver.ID(), "x", test.generation, test.bit))
		if got := receiver.take() != nil; got != test.want {
			t.Errorf("filter of generation %d with bit %d, to the receiver alone: %v", test.generation, test.bit, got)
		}
	}
}

func TestSignalWithoutFilterPassesNoMask(t *testing.T) {
	b := newBus(t)
	sender, receiver := b.connect(native), b.connect(native)
	receiver.match(bus.Match{Masks: [][]byte{filterOf()}})
	sender.mustPost(nativeMessage(bus.Broadcast, &maker{}))
	receiver.expect()
	receiver.match(bus.Match{Senders: []bus.ID{sender.ID()}})
	sender.mustPost(nativeMessage(bus.Broadcast, &maker{}))
	receiver.expect("1: native")
}

func TestMatchesAreAddedAndRemovedByCookie(t *testing.T) {
	b := newBus(t)
	sender := b.connect(native)
	limits := *roomy
	limits.MaxMatches = 3
	p := b.connect(native, limited(limits))
	size := int(bus.DefaultBloom.Size)
	mask := func(cookie uint64, bit int) bus.Match {
		return bus.Match{Cookie: cookie, Masks: [][]byte{filterOf(bit)}}
	}
	add := func(m bus.Match) func() error { return func() error { return p.AddMatch(m, false) } }
	replace := func(m bus.Match) func() error { return func() error { return p.AddMatch(m, true) } }
	remove := func(cookie uint64) func() error { return func() error { return p.RemoveMatches(cookie) } }
	steps := []struct {
		name string
		do   func() error
		err  syscall.Errno
		bits []int // that get a signal through
	}{
		{"add", add(mask(1, 1)), 0, []int{1}},
		{"the same cookie", add(mask(1, 2)), 0, []int{1, 2}},
		{"another cookie", add(mask(2, 3)), 0, []int{1, 2, 3}},
		{"too many", add(mask(3, 4)), bus.ErrTooManyMatches, []int{1, 2, 3}},
		{"replace where there is nothing", replace(mask(3, 4)), bus.ErrTooManyMatches, []int{1, 2, 3}},
		{"replace two by one", replace(mask(1, 4)), 0, []int{3, 4}},
		{"replace by what is already there", replace(mask(1, 4)), 0, []int{3, 4}},
		{"mask that is too short", add(bus.Match{Masks: [][]byte{make([]byte, size-8)}}), bus.ErrBloomSize, []int{3, 4}},
		{"mask that is too long", add(bus.Match{Masks: [][]byte{make([]byte, size+8)}}), bus.ErrBloomSize, []int{3, 4}},
		{"mask of too many generations", add(bus.Match{Masks: [][]byte{make([]byte, size*65)}}), bus.ErrBloomSize, []int{3, 4}},
		{"mask of many generations", replace(bus.Match{Cookie: 1, Masks: [][]byte{bytes.Repeat(filterOf(4), 64)}}), 0, []int{3, 4}},
		{"mask of nothing", replace(bus.Match{Cookie: 1, Masks: [][]byte{{}}}), bus.ErrBloomSize, []int{3, 4}},
		{"remove", remove(1), 0, []int{3}},
		{"remove again", remove(1), bus.ErrNoSuchMatch, []int{3}},
		{"remove the last", remove(2), 0, nil},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			expectError(t, step.do(), step.err)
			var got []int
			for bit := range 6 {
				sender.mustPost(bloomSignal(bus.Broadcast, "x", 0, bit))
				if p.take() != nil {
					got = append(got, bit)
				}
			}
			if !slices.Equal(got, step.bits) {
				t.Errorf("signals with bits %v come through, want %v", got, step.bits)
			}
		})
	}
}

func TestFilterOfAnotherSizeIsRefused(t *testing.T) {
	b := newBusWith(t, bus.DomainConfig{}, func(c *bus.Config) { c.Bloom = bus.BloomParameter{Size: 8, Hashes: 1} })
	p := b.connect(native)
	for size, want := range map[int]syscall.Errno{0: bus.ErrBloomSize, 7: bus.ErrBloomSize, 8: 0, 16: bus.ErrBloomSize, 64: bus.ErrBloomSize} {
		for _, dst := range []bus.ID{bus.Broadcast, p.ID()} {
			m := bloomSignal(dst, "x", 0)
			m.Extra.Bloom = make([]byte, size)
			expectError(t, p.post(m), want)
		}
	}
	if got := b.Bloom(); got != (bus.BloomParameter{Size: 8, Hashes: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestMatchesEndWithTheirConnection(t *testing.T) {
	b := newBus(t)
	sender := b.connect(native)
	monitor, leaving := b.connect(native), b.connect(native)
	for _, p := range []*peer{monitor, leaving} {
		p.match(bus.Match{Masks: [][]byte{filterOf(1)}})
		p.match(bus.Match{Names: []string{example}})
	}
	monitor.monitor(needy{})
	leaving.leave()
	monitor.forget()
	sender.mustPost(bloomSignal(bus.Broadcast, "x", 0, 1))
	monitor.expect("1: x") // once, as a monitor
	leaving.expect()
	expectError(t, monitor.AddMatch(bus.Match{}, false), bus.ErrUnsupported)
	expectError(t, leaving.AddMatch(bus.Match{}, false), bus.ErrDisconnected)
	expectError(t, leaving.RemoveMatches(0), bus.ErrDisconnected)
}

func TestUnicastSignals(t *testing.T) {
	b := newBus(t)
	sender, dbus, none := b.connect(native), b.connect(), b.connect(native)
	noFDs := b.connect(native, refuseFDs)
	noFDs.match(bus.Match{})
	sender.mustPost(signal(dbus.ID(), "x"))
	dbus.expect("1: x")
	sender.mustPost(signal(none.ID(), "x"))
	none.expect()
	if n := none.TakeDropped(); n != 0 {
		t.Errorf("%d are lost that nobody wanted", n)
	}
	sender.mustPost(withFDs(signal(noFDs.ID(), "x"), 1))
	noFDs.expect()
	if n := noFDs.TakeDropped(); n != 1 {
		t.Errorf("%d are lost, want 1", n)
	}
}

func TestSignalsExpectNoReply(t *testing.T) {
	b := newBus(t)
	p, q := b.connect(), b.connect()
	for _, m := range []*bus.Message{call(bus.Broadcast, 1), call(q.ID(), 1)} {
		m.Flags |= bus.Signal
		expectError(t, p.post(m), bus.ErrNotUnique)
	}
}

// The index finds what trying every match would find.
func TestMatchIndexAgreesWithTryingEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBusWith(t, bus.DomainConfig{}, func(c *bus.Config) { c.Bloom = bus.BloomParameter{Size: 8, Hashes: 1} })
		names := []string{"com.example.A", "com.example.B"}
		senders := []*peer{b.connect(native), b.connect(native)}
		senders[0].mustAcquire(names[0], 0)
		type entry struct {
			match bus.Match
			bits  [][][]int // of each mask, of each generation
		}
		entries := map[*peer][]entry{}
		var receivers []*peer
		for range 3 {
			receivers = append(receivers, b.connect(native))
		}
		bitsOf := rapid.SliceOfN(rapid.IntRange(0, 12), 0, 3)
		drawMatch := func(t *rapid.T) (e entry) {
			e.match.Cookie = rapid.Uint64Range(0, 3).Draw(t, "cookie")
			for range rapid.IntRange(0, 2).Draw(t, "masks") {
				var mask []byte
				var bits [][]int
				for range rapid.IntRange(1, 3).Draw(t, "generations") {
					set := bitsOf.Draw(t, "bits")
					bits = append(bits, set)
					mask = append(mask, filterOf(set...)[:8]...)
				}
				e.match.Masks = append(e.match.Masks, mask)
				e.bits = append(e.bits, bits)
			}
			e.match.Senders = rapid.SliceOfN(rapid.SampledFrom([]bus.ID{1, 2, bus.AnyID}), 0, 1).Draw(t, "senders")
			e.match.Names = rapid.SliceOfN(rapid.SampledFrom(names), 0, 1).Draw(t, "names")
			return e
		}
		takes := func(e entry, src *peer, generation int, filter []int) bool {
			for _, id := range e.match.Senders {
				if id != src.ID() && id != bus.AnyID {
					return false
				}
			}
			for _, name := range e.match.Names {
				if !slices.Contains(src.Names(), name) {
					return false
				}
			}
			for _, bits := range e.bits {
				for _, bit := range bits[min(generation, len(bits)-1)] {
					if !slices.Contains(filter, bit) {
						return false
					}
				}
			}
			return true
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				p := rapid.SampledFrom(receivers).Draw(t, "receiver")
				e := drawMatch(t)
				replace := rapid.Bool().Draw(t, "replace")
				if replace {
					entries[p] = slices.DeleteFunc(entries[p], func(old entry) bool { return old.match.Cookie == e.match.Cookie })
				}
				entries[p] = append(entries[p], e)
				if err := p.AddMatch(e.match, replace); err != nil {
					t.Fatal(err)
				}
			},
			"remove": func(t *rapid.T) {
				p := rapid.SampledFrom(receivers).Draw(t, "receiver")
				cookie := rapid.Uint64Range(0, 3).Draw(t, "cookie")
				n := len(entries[p])
				entries[p] = slices.DeleteFunc(entries[p], func(old entry) bool { return old.match.Cookie == cookie })
				if err := p.RemoveMatches(cookie); (err == nil) != (len(entries[p]) < n) {
					t.Fatalf("removing %d: %v", cookie, err)
				}
			},
			"hand over a name": func(t *rapid.T) {
				name := rapid.SampledFrom(names).Draw(t, "name")
				p := rapid.SampledFrom(senders).Draw(t, "sender")
				p.mustAcquire(name, bus.AllowReplacement|bus.ReplaceExisting)
			},
			"signal": func(t *rapid.T) {
				for _, p := range receivers {
					p.forget()
				}
				src := rapid.SampledFrom(senders).Draw(t, "sender")
				filter := rapid.SliceOfN(rapid.IntRange(0, 12), 0, 8).Draw(t, "filter")
				generation := rapid.IntRange(0, 3).Draw(t, "generation")
				m := bloomSignal(bus.Broadcast, "x", uint64(generation), filter...)
				m.Extra.Bloom = m.Extra.Bloom[:8]
				src.mustPost(m)
				for _, p := range receivers {
					want := slices.ContainsFunc(entries[p], func(e entry) bool { return takes(e, src, generation, filter) })
					if got := p.take(); (len(got) == 1) != want || len(got) > 1 {
						t.Fatalf("%s got %q, want one %v", p.UniqueName(), got, want)
					}
				}
			},
			"leave": func(t *rapid.T) {
				i := rapid.IntRange(0, len(receivers)-1).Draw(t, "receiver")
				receivers[i].leave()
				delete(entries, receivers[i])
				receivers[i] = b.connect(native)
			},
			"": func(t *rapid.T) {
				masks := map[string]bool{}
				for _, of := range entries {
					for _, e := range of {
						for _, mask := range e.match.Masks {
							masks[string(mask)] = true
						}
					}
				}
				if n, _, _ := b.MaskStats(); n != len(masks) {
					t.Fatalf("there are %d masks, want %d", n, len(masks))
				}
			},
		})
		for _, p := range receivers {
			p.leave()
		}
		if masks, places, bits := b.MaskStats(); masks+places+bits != 0 {
			t.Fatalf("%d masks, in %d places, with %d bits, without matches", masks, places, bits)
		}
	})
}

func TestEqualMasksAreOne(t *testing.T) {
	b := newBus(t)
	sender := b.connect(native)
	var receivers []*peer
	mask := filterOf(3, 70, 200)
	for range 200 {
		p := b.connect(native)
		p.match(bus.Match{Cookie: 1, Masks: [][]byte{mask}})
		p.match(bus.Match{Cookie: 2, Masks: [][]byte{mask}, Senders: []bus.ID{sender.ID()}})
		receivers = append(receivers, p)
	}
	stats := func(want ...int) {
		t.Helper()
		masks, places, bits := b.MaskStats()
		if diff := cmp.Diff(want, []int{masks, places, bits}); diff != "" {
			t.Errorf("masks, places, bits (-want +got):\n%s", diff)
		}
	}
	receive := func(want ...string) {
		t.Helper()
		sender.mustPost(bloomSignal(bus.Broadcast, "no", 0, 3, 70))
		sender.mustPost(bloomSignal(bus.Broadcast, "yes", 0, 3, 70, 200, 300))
		for _, p := range receivers {
			p.expect(want...)
		}
	}
	remove := func(cookie uint64) {
		t.Helper()
		for _, p := range receivers {
			expectError(t, p.RemoveMatches(cookie), 0)
		}
	}
	stats(1, 1, 3)
	receive("1: yes")
	remove(1)
	stats(1, 0, 0) // found by the sender
	receive("1: yes")
	for _, p := range receivers[1:] {
		p.leave()
	}
	receivers = receivers[:1]
	receive("1: yes")
	stats(1, 0, 0)
	receivers[0].monitor(all)
	stats(0, 0, 0)
}

func BenchmarkBroadcastWithMasks(b *testing.B) {
	// As systemd does it: each property sets 8 bits. All masks have those of "message-type:signal".
	property := func(n int) (bits []int) {
		for i := range 8 {
			bits = append(bits, (n*2654435761+i*40503*(n|1))%512&511)
		}
		return bits
	}
	bits := property(1)
	for n := range 10 {
		bits = append(bits, property(1_000_000+n)...)
	}
	benchmarks := []struct {
		name  string
		conns int
		mask  func(n int) []int
	}{
		{"10 that others have", 10, func(n int) []int { return slices.Concat(property(1), property(100+n), property(100_000+n)) }},
		{"5000 that others have, each another", 5_000, func(n int) []int {
			return slices.Concat(property(1), property(100+n), property(100_000+n), []int{n / 512})
		}},
		{"200 of the same signal", 200, func(int) []int { return slices.Concat(property(1), property(1_000_000), property(1_000_005)) }},
		{"200 of this signal in other words", 200, func(n int) []int {
			return slices.Concat(property(1), property(1_000_000+n%10), property(1_000_000 + n/10%10)[n/100:])
		}},
	}
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			t := newBus(b)
			sender := t.connect(native)
			for n := range bench.conns {
				c := t.sink(native)
				if err := c.AddMatch(bus.Match{Masks: [][]byte{filterOf(bench.mask(n)...)}}, false); err != nil {
					b.Fatal(err)
				}
			}
			filter := filterOf(bits...)
			segments := []bus.Segment{{Bytes: make([]byte, 100), Size: 100}}
			b.ReportAllocs()
			for b.Loop() {
				m := &bus.Message{Dst: bus.Broadcast, Flags: bus.Signal, Has: bus.PartBloom, Extra: &bus.Extra{Segments: segments, Bloom: filter}}
				if err := sender.Send(m); err != nil {
					b.Fatal(err)
				}
				sender.Flush()
				m.Release()
			}
		})
	}
}
