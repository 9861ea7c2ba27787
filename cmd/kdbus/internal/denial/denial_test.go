package denial_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/denial"
)

func uid(n uint32) *uint32 { return &n }

// Texts as dbus-daemon 1.14.10 and dbus-broker 33 have written them.
var texts = map[string]struct {
	text string
	want denial.Text
}{
	"error that busctl prints": {
		`Call failed: Rejected send message, 2 matched rules; type="method_call", sender=":1.3" (uid=33 pid=71 comm="busctl call org (x" label="unconfined") interface="org.example.I" member="M" error name="(unset)" requested_reply="0" destination="org.example.A" (uid=0 pid=70 comm="python3 a")`,
		denial.Text{Action: denial.Send, Rules: 2, SenderUID: uid(33), ReceiverUID: uid(0), Fields: map[string]string{
			"type": "method_call", "sender": ":1.3", "interface": "org.example.I", "member": "M", "error": "",
			"requested_reply": "0", "destination": "org.example.A"}},
	},
	"line in the journal about a reply": {
		`Nov 23 12:00:00 host dbus-daemon[7]: [system] Rejected receive message, 0 matched rules; type="method_return", sender=":1.3" (uid=33 pid=71 comm="") interface="(unset)" member="(unset)" error name="(unset)" requested_reply="1" destination=":1.9" (uid=4 pid=70 comm="")`,
		denial.Text{Action: denial.Receive, Rules: 0, SenderUID: uid(33), ReceiverUID: uid(4), Fields: map[string]string{
			"type": "method_return", "sender": ":1.3", "interface": "", "member": "", "error": "",
			"requested_reply": "1", "destination": ":1.9"}},
	},
	"call of the bus in a log with escapes, with more at the end": {
		`level=WARN msg="Rejected send message, 3 matched rules; type=\"method_call\", sender=\":1.3\" (uid=33 pid=71 comm=\"\") interface=\"org.freedesktop.DBus\" member=\"UpdateActivationEnvironment\" error name=\"(unset)\" requested_reply=\"0\" destination=\"org.freedesktop.DBus\" (bus); rule: /usr/share/dbus-1/system.conf:76 <deny send_member=\"X\"/>"`,
		denial.Text{Action: denial.Send, Rules: 3, Rule: "/usr/share/dbus-1/system.conf:76", SenderUID: uid(33), ToBus: true, Fields: map[string]string{
			"type": "method_call", "sender": ":1.3", "interface": "org.freedesktop.DBus", "member": "UpdateActivationEnvironment",
			"error": "", "requested_reply": "0", "destination": "org.freedesktop.DBus"}},
	},
	"what is passed on all the same": {
		`Would reject message, 1 matched rules; type="signal", sender="(unset)" (bus) interface="org.example.I"`,
		denial.Text{Action: denial.Send, Rules: 1, Warned: true, FromBus: true, Fields: map[string]string{
			"type": "signal", "sender": "", "interface": "org.example.I"}},
	},
	"name": {
		`Error org.freedesktop.DBus.Error.AccessDenied: Connection ":1.5" is not allowed to own the service "org.example.A" due to security policies in the configuration file`,
		denial.Text{Action: denial.Own, Name: "org.example.A", Rules: -1, Fields: map[string]string{"sender": ":1.5"}},
	},
	"name, with the rule": {
		`Connection ":1.5" is not allowed to own the service "org.example.A" due to security policies in the configuration file; rule: /etc/my bus.conf:7 <deny own="*"/> of <policy context="default">`,
		denial.Text{Action: denial.Own, Name: "org.example.A", Rules: -1, Rule: "/etc/my bus.conf:7", Fields: map[string]string{"sender": ":1.5"}},
	},
	"dbus-broker, sending": {
		`Nov 23 h dbus-broker[5]: A security policy denied :1.33 to send method call /org/x:org.example.I.M to org.example.A.`,
		denial.Text{Action: denial.Send, Rules: -1, Fields: map[string]string{"type": "method_call", "sender": ":1.33",
			"path": "/org/x", "interface": "org.example.I", "member": "M", "destination": "org.example.A"}},
	},
	"dbus-broker, receiving": {
		`A security policy denied :1.4 to receive signal /:(null).M from :1.33.`,
		denial.Text{Action: denial.Receive, Rules: -1, Fields: map[string]string{"type": "signal", "sender": ":1.33",
			"path": "/", "interface": "", "member": "M", "destination": ":1.4"}},
	},
	"match rule": {
		`type='signal',sender='org.example.A', path="/a b" member=M`,
		denial.Text{Rules: -1, Fields: map[string]string{"type": "signal", "sender": "org.example.A", "path": "/a b", "member": "M"}},
	},
}

func TestTextsOfBusesAreUnderstood(t *testing.T) {
	for name, test := range texts {
		t.Run(name, func(t *testing.T) {
			got, err := denial.Parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongDescriptionsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"hello":                                 `"hello" is neither`,
		"tpye=signal":                           `nothing called "tpye"`,
		"member='a":                             "not closed",
		"member=M what":                         `"what" is neither`,
		strings.Repeat("x", denial.MaxLength+1): "bytes",
	} {
		if got, err := denial.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, %v", text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, test := range texts {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := denial.Parse(s)
		if err != nil {
			return
		}
		for name, value := range got.Fields {
			if value == "(unset)" {
				t.Errorf("%s is %q", name, value)
			}
		}
		if again, err := denial.Parse(s); err != nil || !cmp.Equal(got, again) {
			t.Errorf("once %v, then %v, %v", got, again, err)
		}
	})
}
