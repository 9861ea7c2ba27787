//go:build conformance

package kdbus

import (
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/abi"
)

// kdbus.connection(7), "Retrieving information on a connection" and on the bus's creator.
func TestInformation(t *testing.T) {
	prove(t, "a connection is found by its id and by its name", func(t *testing.T, w *world) {
		w.opens("org.example.A")
		a, b := w.join(root), w.join(alice)
		b.owns("org.example.A")
		for _, cmd := range []*abi.ConnInfo{{ID: b.ID}, {Name: "org.example.A"}} {
			if got := a.info(cmd); got.ID != b.ID {
				t.Errorf("%+v: %+v", cmd, got)
			}
		}
	})
	prove(t, "the flags are those of HELLO", func(t *testing.T, w *world) {
		a := w.join(root)
		for flags, id := range map[abi.HelloFlags]uint64{
			0: w.join(root, noFDs).ID, abi.HelloAcceptFD: a.ID, abi.HelloActivator: w.join(root, activator("a.b")).ID,
			abi.HelloPolicyHolder: w.join(root, holder("a.b")).ID,
		} {
			if got := a.info(&abi.ConnInfo{ID: id}); got.Flags != uint64(flags) {
				t.Errorf("%v: %+v", flags, got)
			}
		}
	})
	prove(t, "it has the metadata that is asked for and permitted, as it was at HELLO", func(t *testing.T, w *world) {
		a := w.join(root, func(h *abi.Hello) { h.AttachFlagsSend = abi.AttachAll &^ abi.AttachExe })
		const asked = abi.AttachCreds | abi.AttachPIDs | abi.AttachExe | abi.AttachPIDComm
		got := w.join(alice).info(&abi.ConnInfo{ID: a.ID, AttachFlags: asked})
		if got.Metadata.Has != asked&^abi.AttachExe || got.Metadata.PIDs.PID != uint64(os.Getpid()) || got.Metadata.Creds.UID != root {
			t.Errorf("%+v", got)
		}
	})
	prove(t, "the names that a connection owns are among its metadata", func(t *testing.T, w *world) {
		a := w.join(root)
		a.owns("org.example.A")
		a.owns("org.example.B", abi.NameAllowReplacement)
		got := a.info(&abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachNames})
		want := []abi.OwnedName{{Name: "org.example.A", Flags: abi.NamePrimary}, {Name: "org.example.B", Flags: abi.NamePrimary | abi.NameAllowReplacement}}
		if diff := cmp.Diff(want, got.Metadata.Names); diff != "" {
			t.Error(diff)
		}
	})
	prove(t, "faked credentials are what is told", func(t *testing.T, w *world) {
		a := w.join(root, func(h *abi.Hello) { h.Creds = &abi.Creds{UID: 7}; h.SecLabel = "label" })
		got := w.join(root).info(&abi.ConnInfo{ID: a.ID, AttachFlags: abi.AttachAny})
		if got.Metadata.Creds.UID != 7 || got.Metadata.SecLabel != "label" || got.Metadata.Has&abi.AttachPIDs != 0 {
			t.Errorf("%+v", got.Metadata)
		}
	})
	prove(t, "the creator of the bus is told with the name and the flags of the bus", func(t *testing.T, w *world) {
		a := w.join(alice)
		h := w.dial(alice).hello()
		got := a.info(&abi.BusCreatorInfo{AttachFlags: abi.AttachCreds})
		if got.BusName != busName || got.Flags != uint64(h.Reply.BusFlags) || got.Metadata.Creds.UID != root {
			t.Errorf("%+v", got)
		}
	})
	info := func(sentence string, want syscall.Errno, cmd abi.Command) {
		prove(t, sentence, func(t *testing.T, w *world) { w.join(root).refused(want, cmd) })
	}
	info("ESRCH: a name that nobody has", syscall.ESRCH, &abi.ConnInfo{Name: "org.example.A"})
	info("ENXIO: an id that nobody has", syscall.ENXIO, &abi.ConnInfo{ID: 1000})
	info("EINVAL: neither an id nor a name", syscall.EINVAL, &abi.ConnInfo{})
	info("EINVAL: unknown attach flags of CONN_INFO", syscall.EINVAL, &abi.ConnInfo{ID: 1, AttachFlags: 1 << 40})
	info("EINVAL: unknown attach flags of BUS_CREATOR_INFO", syscall.EINVAL, &abi.BusCreatorInfo{AttachFlags: 1 << 40})
	prove(t, "EINVAL: flags of CONN_INFO", func(t *testing.T, w *world) {
		b := (&abi.ConnInfo{ID: 1}).Append(nil)
		putFlags(b, 1)
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdConnInfo, b)
	})
	prove(t, "CONN_INFO and BUS_CREATOR_INFO that negotiate have no flags", func(t *testing.T, w *world) {
		c := w.join(root)
		probe := abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemName}}
		c.negotiates(&abi.ConnInfo{Negotiate: probe}, 0, abi.ItemName)
		c.negotiates(&abi.BusCreatorInfo{Negotiate: probe}, 0, 0)
	})
}

// kdbus.connection(7), "Updating connection details".
func TestUpdate(t *testing.T) {
	flags := func(f abi.AttachFlags) *abi.AttachFlags { return &f }
	prove(t, "what a connection lets its messages carry can be changed", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, attach(abi.AttachPIDs|abi.AttachCreds))
		a.does(&abi.Update{AttachFlagsSend: flags(abi.AttachCreds)})
		a.sends(b.message(1))
		if m := b.gets(1); m.Meta.Has != abi.AttachCreds {
			t.Errorf("%+v", m.Meta)
		}
	})
	prove(t, "what a connection wants to know can be changed", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.does(&abi.Update{AttachFlagsRecv: flags(abi.AttachPIDs)})
		a.sends(b.message(1))
		if m := b.gets(1); m.Meta.Has != abi.AttachPIDs {
			t.Errorf("%+v", m.Meta)
		}
	})
	prove(t, "a policy holder can exchange its entries", func(t *testing.T, w *world) {
		h, a := w.join(root, holder("org.example.A")), w.join(alice)
		a.refused(syscall.EPERM, &abi.NameAcquire{Name: "org.example.A"})
		h.does(&abi.Update{Policies: []abi.Policy{{Name: "org.example.A", Access: []abi.PolicyAccess{user(alice, abi.PolicyOwn)}}}})
		a.owns("org.example.A")
	})
	policies := []abi.Policy{{Name: "org.example.A", Access: []abi.PolicyAccess{anybody(abi.PolicySee)}}}
	prove(t, "EOPNOTSUPP: entries of who is no policy holder", func(t *testing.T, w *world) {
		w.join(root).refused(syscall.EOPNOTSUPP, &abi.Update{Policies: policies})
		w.join(root, activator("org.example.A")).refused(syscall.EOPNOTSUPP, &abi.Update{Policies: policies})
	})
	prove(t, "EINVAL: attach flags that there are not", func(t *testing.T, w *world) {
		w.join(root).refused(syscall.EINVAL, &abi.Update{AttachFlagsRecv: flags(1 << 40)})
	})
	prove(t, "EINVAL: flags of UPDATE", func(t *testing.T, w *world) {
		b := (&abi.Update{}).Append(nil)
		putFlags(b, 1)
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdUpdate, b)
	})
	prove(t, "EINVAL: an item that UPDATE does not have", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdUpdate, withItem((&abi.Update{}).Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "EINVAL: an entry before its name", func(t *testing.T, w *world) {
		b := withItem((&abi.Update{}).Append(nil), abi.ItemPolicyAccess, nums(3, 0, 0))
		w.join(root, holder("org.example.A")).rawRefused(syscall.EINVAL, abi.CmdUpdate, b)
	})
	prove(t, "E2BIG: two names of a policy holder", func(t *testing.T, w *world) {
		more := append(policies, abi.Policy{Name: "org.example.B"})
		w.join(root, holder("org.example.A")).refused(syscall.E2BIG, &abi.Update{Policies: more})
	})
	prove(t, "UPDATE that negotiates has no flags", func(t *testing.T, w *world) {
		w.join(root).negotiates(&abi.Update{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemAttachFlagsRecv}}}, 0, abi.ItemAttachFlagsRecv)
	})
}

// kdbus.connection(7), "Termination of connections".
func TestTermination(t *testing.T) {
	prove(t, "closing the socket ends the connection, and what it has not read is gone", func(t *testing.T, w *world) {
		a, b, c := w.join(root), w.join(root), w.join(root)
		c.watches(true)
		b.owns("org.example.A")
		c.told(abi.ItemNameAdd)
		a.sends(b.message(1))
		b.Close()
		c.told(abi.ItemNameRemove)
		if m := c.told(abi.ItemIDRemove); m.Notification.Old.ID != b.ID {
			t.Errorf("%+v", m.Notification)
		}
		a.sendRefused(syscall.ENXIO, b.message(2))
	})
	prove(t, "who has said BYEBYE is sent nothing any more", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root)
		b.does(&abi.ByeBye{})
		b.isGone()
		a.sendRefused(syscall.ENXIO, b.message(1))
	})
	prove(t, "BYEBYE succeeds once all messages have left the queue", func(t *testing.T, w *world) {
		a, b := w.join(root), w.join(root, pool(1<<20))
		sent := a.stuff(b, make([]byte, 20_000))
		read := uint64(0)
		for {
			_, err := b.Do(&abi.ByeBye{})
			for b.Pending() {
				b.receives()
				read++
			}
			if err == nil {
				break
			}
			b.isRefused("BYEBYE", err, syscall.EBUSY)
			if t.Failed() {
				return
			}
		}
		if read != sent {
			t.Errorf("%d of %d messages arrive", read, sent)
		}
	})
	prove(t, "EINVAL: flags of BYEBYE", func(t *testing.T, w *world) {
		b := (&abi.ByeBye{}).Append(nil)
		putFlags(b, 1)
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdByeBye, b)
	})
	prove(t, "EINVAL: an item of BYEBYE", func(t *testing.T, w *world) {
		w.join(root).rawRefused(syscall.EINVAL, abi.CmdByeBye, withItem((&abi.ByeBye{}).Append(nil), abi.ItemID, make([]byte, 8)))
	})
	prove(t, "BYEBYE that negotiates has no flags and ends nothing", func(t *testing.T, w *world) {
		c := w.join(root)
		c.negotiates(&abi.ByeBye{Negotiate: abi.Negotiation{Probe: true, Items: []abi.ItemType{abi.ItemID}}}, 0, 0)
		c.does(&abi.List{})
	})
}
