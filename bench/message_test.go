package bench

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

func TestPrebuiltMessagesAreValid(t *testing.T) {
	for _, test := range []struct {
		name    string
		message []byte
	}{
		{"Hello", busCall("Hello", "")},
		{"AddMatch", busCall("AddMatch", benchMatch)},
		{"call without payload", benchCall(":1.5", 0)},
		{"call with payload", benchCall(":1.5", 1000)},
		{"reply", benchReply(":1.5")},
		{"signal", benchSignal()},
	} {
		t.Run(test.name, func(t *testing.T) {
			setSerial(test.message, 77)
			var h wire.Header
			body, err := h.Parse(test.message)
			if err != nil {
				t.Fatal(err)
			}
			if h.Serial != 77 {
				t.Errorf("serial is %d after setting it to 77", h.Serial)
			}
			if err := wire.ValidateBody(h.Order, h.Signature, test.message[body:]); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReplySerialIsPatched(t *testing.T) {
	m := benchReply(":1.5")
	setReplySerial(m, 0x12345678)
	var h wire.Header
	if _, err := h.Parse(m); err != nil {
		t.Fatal(err)
	}
	want := wire.Header{
		Order: order, Type: wire.TypeMethodReturn, Flags: wire.NoReplyExpected,
		Serial: 1, ReplySerial: 0x12345678, Destination: ":1.5",
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
}

// errorMessage returns an error as a bus of the other byte order would send it.
func errorMessage(name, text string) []byte {
	body, signature, err := wire.AppendBody(nil, wire.BigEndian, text)
	if err != nil {
		panic(err)
	}
	h := wire.Header{
		Order: wire.BigEndian, Type: wire.TypeError, Serial: 1, ReplySerial: 1,
		ErrorName: name, Signature: string(signature), BodySize: uint32(len(body)),
	}
	return append(h.Append(nil), body...)
}

func TestErrorOfSaysWhatTheBusSaid(t *testing.T) {
	got := errorOf(errorMessage("org.example.Gone", "no such thing")).Error()
	if !strings.Contains(got, "org.example.Gone: no such thing") {
		t.Errorf("error is %q", got)
	}
}

func TestListenerPolicyIsWhatTheBrokerReads(t *testing.T) {
	m, err := addListener(allowAll())
	if err != nil {
		t.Fatal(err)
	}
	var h wire.Header
	body, err := h.Parse(m)
	if err != nil {
		t.Fatal(err)
	}
	if h.Signature != "ohv" || h.UnixFDs != 1 {
		t.Errorf("signature %q with %d descriptors, want ohv with 1", h.Signature, h.UnixFDs)
	}
	if err := wire.ValidateBody(h.Order, h.Signature, m[body:]); err != nil {
		t.Fatal(err)
	}
	// Fixed by the controller protocol of dbus-broker.
	const rules = "(bta(btbs)a(btssssuutt)a(btssssuutt))"
	const want = "(a(u" + rules + ")a(buu" + rules + ")a(ss)bs)"
	got, err := wire.SignatureOf(allowAll())
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("the policy has signature\n%s, want\n%s", got, want)
	}
}
