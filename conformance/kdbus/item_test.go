//go:build conformance

package kdbus

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/meta"
)

// kdbus.item(7), from its beginning to "Item layout".
func TestItems(t *testing.T) {
	prove(t, "an item that a command does not have is refused by each of them", func(t *testing.T, w *world) {
		c := w.join(root)
		for _, cmd := range []abi.Command{
			&abi.Update{}, &abi.ByeBye{}, &abi.ConnInfo{ID: 1}, &abi.BusCreatorInfo{}, &abi.List{}, &abi.Send{}, &abi.Cancel{},
			&abi.NameAcquire{Name: "a.b"}, &abi.NameRelease{Name: "a.b"}, &abi.MatchAdd{}, &abi.MatchRemove{},
		} {
			c.rawRefused(syscall.EINVAL, cmd.Cmd(), withItem(cmd.Append(nil), 0x7777, nil))
		}
	})
	acquire := func() []byte { return (&abi.NameAcquire{Name: "org.example.A"}).Append(nil) }
	prove(t, "an item that does not begin at a multiple of 8 is refused", func(t *testing.T, w *world) {
		b := append((&abi.ByeBye{}).Append(nil), nums(17, uint64(abi.ItemNegotiate))...)
		b = append(append(b, 0), nums(16, uint64(abi.ItemNegotiate))...) // right behind 17 bytes
		putSize(b, uint64(len(b)))
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdByeBye, b)
	})
	prove(t, "an item is padded to a multiple of 8 if another one follows", func(t *testing.T, w *world) {
		b := withItem(acquire(), abi.ItemNegotiate, nums(uint64(abi.ItemName)))
		a := w.join(root)
		if _, err := a.Raw(abi.CmdNameAcquire, b); err != nil {
			t.Error(err)
		}
		if got := a.names(); got["org.example.A"] != a.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "an item that goes beyond its struct, or is smaller than its header, is refused", func(t *testing.T, w *world) {
		a := w.join(root)
		for _, size := range []uint64{0, 15, 1 << 40, 1<<64 - 1} {
			b := acquire()
			binary.NativeEndian.PutUint64(b[24:], size)
			a.rawRefused(syscall.EINVAL, abi.CmdNameAcquire, b)
		}
	})
	prove(t, "a struct that is smaller or larger than its size says is refused", func(t *testing.T, w *world) {
		a := w.join(root)
		for _, size := range []uint64{0, 8, 23, 1000} {
			b := acquire()
			putSize(b, size)
			a.rawRefused(syscall.EINVAL, abi.CmdNameAcquire, b)
		}
		b := acquire()
		putSize(b, 1<<20)
		a.rawRefused(syscall.EMSGSIZE, abi.CmdNameAcquire, b)
	})
	prove(t, "a string ends with its only NUL", func(t *testing.T, w *world) {
		a := w.join(root)
		for _, s := range []string{"a.b", "a.b\x00\x00", "a\x00.b\x00", ""} {
			a.rawRefused(syscall.EINVAL, abi.CmdNameAcquire, withItem((&abi.ByeBye{}).Append(nil), abi.ItemName, []byte(s)))
		}
	})
}

// kdbus.item(7), "Negotiation item".
func TestNegotiation(t *testing.T) {
	prove(t, "types that the command does not know become 0, others stay", func(t *testing.T, w *world) {
		c := w.join(root)
		c.negotiates(&abi.NameAcquire{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{
			abi.ItemName, abi.ItemFDs, 0x7777, abi.ItemNegotiate,
		}}}, 7, abi.ItemName, 0, 0, abi.ItemNegotiate)
	})
	prove(t, "NEGOTIATE without the flag is answered, and the command is done", func(t *testing.T, w *world) {
		c := w.join(root)
		c.negotiates(&abi.NameAcquire{Name: "org.example.A", Negotiate: abi.Negotiation{Items: []abi.ItemType{abi.ItemID, abi.ItemName}}}, 0, 0, abi.ItemName)
		if got := c.names(); got["org.example.A"] != c.ID {
			t.Errorf("%v", got)
		}
	})
	prove(t, "nothing that the bus sends has the item NEGOTIATE", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, attach(abi.AttachAll))
		a.sends(b.message(1))
		f, err := b.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		for it := range abi.Items(f.Body[64:f.Body[0]]).All() {
			if it.Type == abi.ItemNegotiate {
				t.Errorf("%v", it)
			}
		}
	})
}

// kdbus(7), "Metadata", and kdbus.item(7), "Items attached by the kernel as metadata".
func TestMetadata(t *testing.T) {
	// sent is what a receiver that asks for these kinds learns of a message.
	sent := func(w *world, kinds abi.AttachFlags, change ...func(*abi.Hello)) abi.Metadata {
		a, b := w.join(root, change...), w.join(root, attach(kinds))
		a.sends(b.message(1))
		return b.gets(1).Meta
	}
	pid := uint64(os.Getpid())
	prove(t, "TIMESTAMP is when the message was sent, in both clocks, and its number", func(t *testing.T, w *world) {
		var before, after unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &before)
		begin := time.Now()
		a, b := w.join(root), w.join(root, attach(abi.AttachTimestamp))
		a.sends(b.message(1))
		a.sends(b.message(2))
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &after)
		first, second := b.gets(1).Meta.Timestamp, b.gets(2).Meta.Timestamp
		if first.Seqnum >= second.Seqnum || first.MonotonicNS < uint64(before.Nano()) || second.MonotonicNS > uint64(after.Nano()) ||
			first.RealtimeNS < uint64(begin.UnixNano()) || second.RealtimeNS > uint64(time.Now().UnixNano()) {
			t.Errorf("%+v, %+v", first, second)
		}
	})
	prove(t, "CREDS are the users and groups of the sending process, in all four kinds", func(t *testing.T, w *world) {
		if got := sent(w, abi.AttachCreds); got.Creds != (abi.Creds{}) || got.Has != abi.AttachCreds {
			t.Errorf("%+v", got) // root is 0 everywhere
		}
	})
	prove(t, "PIDS are the process and its parent", func(t *testing.T, w *world) {
		if got := sent(w, abi.AttachPIDs); got.PIDs.PID != pid || got.PIDs.PPID != uint64(os.Getppid()) {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "AUXGROUPS are the supplementary groups", func(t *testing.T, w *world) {
		groups, err := os.Getgroups()
		if err != nil {
			t.Fatal(err)
		}
		if got := sent(w, abi.AttachAuxGroups); len(got.AuxGroups) != len(groups) {
			t.Errorf("%+v, want %v", got.AuxGroups, groups)
		}
	})
	prove(t, "OWNED_NAME is there for each name that the sender owns", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, attach(abi.AttachNames))
		a.owns("org.example.A", abi.NameAllowReplacement)
		a.owns("org.example.B")
		a.sends(b.message(1))
		got := b.gets(1).Meta.Names
		if len(got) != 2 || got[0] != (abi.OwnedName{Name: "org.example.A", Flags: abi.NameAllowReplacement | abi.NamePrimary}) || got[1].Name != "org.example.B" {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "PID_COMM, EXE, CMDLINE and CGROUP are those of the process", func(t *testing.T, w *world) {
		got := sent(w, abi.AttachPIDComm|abi.AttachExe|abi.AttachCmdline|abi.AttachCGroup)
		exe, _ := os.Executable()
		if !strings.HasPrefix(filepath.Base(exe), got.PIDComm) || got.Exe != exe || strings.Join(got.Cmdline, " ") != strings.Join(os.Args, " ") || got.CGroup == "" {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "CAPS are four sets, as many bits as the kernel has capabilities", func(t *testing.T, w *world) {
		got := sent(w, abi.AttachCaps)
		text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
		if err != nil {
			t.Fatal(err)
		}
		if got.Has != abi.AttachCaps || strings.TrimSpace(string(text)) != itoa(uint64(got.Caps.LastCap)) || got.Caps.Effective == 0 {
			t.Errorf("%+v, last %s", got.Caps, text)
		}
	})
	prove(t, "CONN_DESCRIPTION is what the sender said at HELLO", func(t *testing.T, w *world) {
		if got := sent(w, abi.AttachConnDescription, func(h *abi.Hello) { h.Description = "that-is-me" }); got.Description != "that-is-me" {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "what is attached is what sender, receiver and domain all permit", func(t *testing.T, w *world) {
		kinds := meta.KindPIDs | meta.KindCreds
		masked := newDomain(t, &kinds)
		masked.path = filepath.Join(masked.control(root).makes(&abi.BusMake{Name: busName, Bloom: abi.DefaultBloom}), "bus")
		got := sent(masked, abi.AttachPIDs|abi.AttachCreds|abi.AttachPIDComm, func(h *abi.Hello) {
			h.AttachFlagsSend = abi.AttachPIDs | abi.AttachPIDComm
		})
		if got.Has != abi.AttachPIDs {
			t.Errorf("%v", got.Has)
		}
		a := masked.join(root)
		if got := a.info(&abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachAll}); got.Metadata.Has != abi.AttachPIDs|abi.AttachCreds {
			t.Errorf("%v", got.Metadata.Has)
		}
	})
	prove(t, "metadata is attached for who asks only", func(t *testing.T, w *world) {
		if got := sent(w, 0); got.Has != 0 {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "each receiver of a broadcast gets what it has asked for", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root, attach(abi.AttachPIDs)), w.join(root, attach(abi.AttachCreds))
		b.matches()
		c.matches()
		a.sends(broadcast(1))
		if got := b.gets(1).Meta.Has; got != abi.AttachPIDs {
			t.Errorf("%v", got)
		}
		if got := c.gets(1).Meta.Has; got != abi.AttachCreds {
			t.Errorf("%v", got)
		}
	})
	prove(t, "messages of one who fakes credentials carry those and nothing of its process", func(t *testing.T, w *world) {
		got := sent(w, abi.AttachAll, func(h *abi.Hello) {
			h.Creds, h.PIDs, h.SecLabel, h.Description = &abi.Creds{UID: 7, FSGID: 8}, &abi.PIDs{PID: 9}, "label", "proxy"
		})
		if got.Creds != (abi.Creds{UID: 7, FSGID: 8}) || got.PIDs != (abi.PIDs{PID: 9}) || got.SecLabel != "label" || got.Description != "proxy" ||
			got.Has != abi.AttachTimestamp|abi.AttachCreds|abi.AttachPIDs|abi.AttachSecLabel|abi.AttachConnDescription {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "one who fakes one kind has none of the others", func(t *testing.T, w *world) {
		got := sent(w, abi.AttachAll, func(h *abi.Hello) { h.PIDs = &abi.PIDs{PID: 9} })
		if got.Has&^abi.AttachTimestamp != abi.AttachPIDs {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "what the creator of the bus was is told, as far as is asked for", func(t *testing.T, w *world) {
		got := w.join(root).info(&abi.BusCreatorInfo{AttachFlags: abi.AttachPIDs}).Metadata
		if got.Has != abi.AttachPIDs || got.PIDs.PID != pid {
			t.Errorf("%+v", got)
		}
	})
}

// kdbus(7), "The ioctl interface": which commands a socket takes.
func TestCommands(t *testing.T) {
	prove(t, "a connection takes all its commands", func(t *testing.T, w *world) {
		a := w.join(root)
		for _, cmd := range []abi.Command{
			&abi.Update{}, &abi.ConnInfo{ID: a.ID}, &abi.BusCreatorInfo{}, &abi.List{}, &abi.NameAcquire{Name: "a.b"}, &abi.NameRelease{Name: "a.b"},
			&abi.MatchAdd{}, &abi.MatchRemove{}, &abi.ByeBye{},
		} {
			a.does(cmd)
		}
	})
	prove(t, "a socket on which nothing was said takes no commands of a connection", func(t *testing.T, w *world) {
		a := w.dial(root)
		for _, cmd := range []abi.Command{
			&abi.Update{}, &abi.ByeBye{}, &abi.ConnInfo{ID: 1}, &abi.BusCreatorInfo{}, &abi.List{}, &abi.Send{}, &abi.NameAcquire{Name: "a.b"},
			&abi.NameRelease{Name: "a.b"}, &abi.MatchAdd{}, &abi.MatchRemove{},
		} {
			a.refused(syscall.EBADFD, cmd)
		}
	})
	prove(t, "ENOTTY: a number that is no command", func(t *testing.T, w *world) {
		a := w.dial(root)
		a.rawRefused(syscall.ENOTTY, 0x12345678, make([]byte, 24))
		a.hello()
		a.rawRefused(syscall.ENOTTY, 0x12345678, make([]byte, 24))
	})
}
