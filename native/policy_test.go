package native_test

import (
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// stranger is the user who made the bus, and is privileged there like root.
const stranger = 12345

func ofStranger(c *bus.Config, _ *native.Config) {
	c.Creator = &meta.Data{Has: meta.KindCreds, Creds: meta.IDs{EUID: stranger}}
}

// sink is a Receiver of a connection that the test drives itself, without a socket.
type sink struct{}

func (sink) Wake()             {}
func (sink) Wanted(meta.Kinds) {}

// user joins the bus as another user than that of the test.
func (w *world) user(uid uint32) *bus.Conn {
	w.t.Helper()
	c, err := w.bus.Endpoint().Connect(bus.ConnConfig{UID: uid, Receiver: sink{}, Wants: bus.PartDBus1})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	if err := c.Hello(); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func holdPolicy(name string, access ...abi.PolicyAccess) func(*abi.Hello) {
	return func(h *abi.Hello) { h.Flags, h.Name, h.Access = abi.HelloPolicyHolder, name, access }
}

func TestPolicyHolderProtectsItsName(t *testing.T) {
	for _, c := range []struct {
		name   string
		access []abi.PolicyAccess
		sees   bool
		owns   error
	}{
		{"from everybody", nil, false, syscall.EPERM},
		{"from other users", []abi.PolicyAccess{{Type: abi.PolicyAccessUser, Access: abi.PolicyOwn, ID: 8}}, false, syscall.EPERM},
		{"from being talked to", []abi.PolicyAccess{{Type: abi.PolicyAccessWorld, Access: abi.PolicySee, ID: 1 << 40}}, true, syscall.EPERM},
		{"from being owned", []abi.PolicyAccess{{Type: abi.PolicyAccessUser, Access: abi.PolicyTalk, ID: 7}}, true, syscall.EPERM},
		{"from nothing", []abi.PolicyAccess{{Type: abi.PolicyAccessWorld, Access: abi.PolicyOwn}}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, ofStranger)
			service := w.user(stranger)
			if _, err := service.AcquireName("org.example.A", bus.AllowReplacement); err != nil {
				t.Fatal(err)
			}
			w.join(holdPolicy("org.example.*", c.access...))
			p := w.user(7)
			if p.Sees("org.example.A") != c.sees {
				t.Errorf("seen: %v", !c.sees)
			}
			_, err := p.AcquireName("org.example.A", bus.ReplaceExisting)
			if c.owns == nil && err != nil || c.owns != nil && (err == nil || !err.(*bus.Error).Is(c.owns)) {
				t.Errorf("owned: %v", err)
			}
		})
	}
}

func TestPrivilegedPeerIsNotLimited(t *testing.T) {
	w := newWorld(t)
	w.join(holdPolicy("org.example.A", abi.PolicyAccess{Type: abi.PolicyAccessGroup, Access: abi.PolicySee, ID: 12345}))
	w.do(w.join(), &abi.NameAcquire{Name: "org.example.A"}) // its groups are asked for
	w.do(w.join(), &abi.ConnInfo{Name: "org.example.A", AttachFlags: abi.AttachNames})
}

func TestPolicyOfANameHasOneHolder(t *testing.T) {
	w := newWorld(t)
	first := w.join(holdPolicy("org.example.A"))
	second := w.dial()
	hello := abi.Hello{}
	holdPolicy("org.example.A")(&hello)
	refuses(t, "second holder", second.Hello(hello), syscall.EEXIST)
	if _, err := second.ReadFrame(); err == nil {
		t.Error("the second holder is still connected")
	}
	w.do(first, &abi.ByeBye{})
	w.waitFor("the policy to vanish", func() bool { return w.bus.Conn(bus.ID(first.ID)) == nil })
	w.join(holdPolicy("org.example.A"))
}

func TestUpdateReplacesThePolicyOfAHolder(t *testing.T) {
	w := newWorld(t)
	holder, p := w.join(holdPolicy("org.example.A")), w.user(7)
	w.join(holdPolicy("org.example.C"))
	protects := func(name string, want bool) {
		t.Helper()
		if p.Sees(name) == want {
			t.Errorf("%s: protected is %v", name, !want)
		}
	}
	protects("org.example.A", true)
	w.do(holder, &abi.Update{Policies: []abi.Policy{{Name: "org.example.B"}}})
	protects("org.example.A", false)
	protects("org.example.B", true)
	flags := abi.AttachAll
	w.do(holder, &abi.Update{AttachFlagsSend: &flags}) // leaves it
	protects("org.example.B", true)
	for name, c := range map[string]struct {
		client   *nativetest.Client
		policies []abi.Policy
		want     syscall.Errno
	}{
		"of somebody else":    {holder, []abi.Policy{{Name: "org.example.C"}}, syscall.EEXIST},
		"of two names":        {holder, []abi.Policy{{Name: "org.example.D"}, {Name: "org.example.E"}}, syscall.E2BIG},
		"of a bad name":       {holder, []abi.Policy{{Name: "org..example"}}, syscall.EINVAL},
		"by an activator":     {w.join(func(h *abi.Hello) { h.Flags, h.Name = abi.HelloActivator, "org.example.F" }), []abi.Policy{{Name: "org.example.F"}}, syscall.EOPNOTSUPP},
		"by an ordinary peer": {w.join(), []abi.Policy{{Name: "org.example.G"}}, syscall.EOPNOTSUPP},
	} {
		_, err := c.client.Do(&abi.Update{Policies: c.policies})
		refuses(t, name, err, c.want)
		protects("org.example.B", true)
	}
	_, err := holder.Do(&abi.NameAcquire{Name: "org.example.B"})
	refuses(t, "the holder acquires the name", err, syscall.EOPNOTSUPP)
}

func TestActivatorWithAPolicyProtectsItsName(t *testing.T) {
	w := newWorld(t)
	w.join(func(h *abi.Hello) { h.Flags, h.Name = abi.HelloActivator, "org.example.Open" })
	w.join(func(h *abi.Hello) {
		h.Flags, h.Name = abi.HelloActivator, "org.example.A"
		h.Access = []abi.PolicyAccess{{Type: abi.PolicyAccessUser, Access: abi.PolicyOwn, ID: 8}}
	})
	for uid, want := range map[uint32]bool{7: false, 8: true} {
		p := w.user(uid)
		if got := p.Sees("org.example.A"); got != want || !p.Sees("org.example.Open") {
			t.Errorf("user %d: %v", uid, got)
		}
	}
}
