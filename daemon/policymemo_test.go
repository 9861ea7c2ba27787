package daemon

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/wire"
)

// Whatever is remembered, each message is judged as if it were the first one: names come and go, and policies
// are exchanged in between.
func TestWhatIsRememberedIsTrue(t *testing.T) {
	rules := []string{
		`<allow send_type="*"/>`, `<deny send_member="M" send_interface="a.b"/>`, `<deny send_destination="org.example.A"/>`,
		`<allow send_destination="org.example.B" send_interface="a.b"/>`, `<deny send_path="/x"/>`, `<deny send_error="e.E"/>`,
		`<deny send_requested_reply="false" send_type="method_return"/>`, `<deny min_fds="1" send_type="*"/>`, `<deny receive_sender="org.example.A"/>`,
		`<deny receive_member="M" receive_interface="a.b"/>`, `<allow receive_type="*"/>`, `<allow send_type="*" log="true"/>`,
	}
	rapid.Check(t, func(rt *rapid.T) {
		draw := func() string {
			text := `<policy context="default"><allow own="*"/><allow send_type="*"/><allow receive_type="*"/>`
			for _, rule := range rapid.SliceOfN(rapid.SampledFrom(rules), 0, 4).Draw(rt, "rules") {
				text += rule
			}
			return text + `</policy><policy user="1"><deny receive_path="/x"/></policy>`
		}
		w := newWorld(t, draw())
		conns := []*bus.Conn{connectAs(t, w.Bus, 0), connectAs(t, w.Bus, 1), connectAs(t, w.Bus, 1)}
		pick := func(label string) *bus.Conn { return conns[rapid.IntRange(0, len(conns)-1).Draw(rt, label)] }
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				pick("owner").AcquireName(rapid.SampledFrom([]string{"org.example.A", "org.example.B"}).Draw(rt, "name"), bus.DoNotQueue)
			case 1:
				pick("owner").ReleaseName(rapid.SampledFrom([]string{"org.example.A", "org.example.B"}).Draw(rt, "name"))
			case 2:
				w.rule(draw())
			default:
				tell(rt, w, pick("from"), pick("to"))
			}
		}
	})
}

// tell asks about a message, and compares the answer with what the rules say.
func tell(t *rapid.T, w *world, src, dst *bus.Conn) {
	h := &wire.Header{Type: rapid.SampledFrom([]wire.Type{wire.TypeMethodCall, wire.TypeMethodReturn, wire.TypeError}).Draw(t, "type"), Destination: dst.UniqueName()}
	switch h.Type {
	case wire.TypeMethodCall:
		h.Path = rapid.SampledFrom([]string{"/", "/x"}).Draw(t, "path")
		h.Interface = rapid.SampledFrom([]string{"", "a.b", "a"}).Draw(t, "interface")
		h.Member = rapid.SampledFrom([]string{"M", ".bM", "N"}).Draw(t, "member") // as judged, not as valid
	case wire.TypeError:
		h.ErrorName = rapid.SampledFrom([]string{"e.E", "e.F"}).Draw(t, "error")
		fallthrough
	default:
		h.ReplySerial = 1
	}
	m := &bus.Message{View: h, Has: bus.PartHeader, Dst: dst.ID(), FDs: make([]int, rapid.IntRange(0, 1).Draw(t, "fds"))}
	requested := h.ReplySerial != 0 && rapid.Bool().Draw(t, "requested")
	asked := busconfig.Message{
		Type: h.Type, Path: h.Path, Interface: h.Interface, Member: h.Member, ErrorName: h.ErrorName, Reply: h.ReplySerial != 0,
		Requested: requested, Descriptors: uint32(len(m.FDs)),
		Destination: busconfig.NewNames(append(dst.Names(), dst.UniqueName())...), Sender: busconfig.NewNames(append(src.Names(), src.UniqueName())...),
	}
	allowed := w.policy.view(src).MaySend(&asked).Allowed && w.policy.view(dst).MayReceive(&asked).Allowed
	if got := w.policy.Send(src, dst, m, requested); (got == nil) != allowed {
		t.Fatalf("%s: %v, allowed should be %t", fmt.Sprintf("%+v", h), got, allowed)
	}
}
