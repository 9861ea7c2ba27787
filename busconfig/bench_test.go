package busconfig

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/wire"
)

// benchmarkRules are n rules as packages write them: five for each service.
func benchmarkRules(n int) string {
	var b strings.Builder
	b.WriteString(`<policy context="default">`)
	for i := 0; i < n; i += 5 {
		fmt.Fprintf(&b, `<allow send_destination="org.example.Service%[1]d"/>
<deny send_destination="org.example.Service%[1]d" send_interface="org.example.Service%[1]d.Admin"/>
<allow send_destination="org.example.Service%[1]d" send_interface="org.freedesktop.DBus.Properties" send_member="Get"/>
<allow receive_sender="org.example.Service%[1]d" receive_interface="org.example.Service%[1]d"/>
<allow own="org.example.Service%[1]d"/>
`, i)
	}
	b.WriteString("</policy>")
	return b.String()
}

// benchmarkMessage is a call of the service i.
func benchmarkMessage(i int) *Message {
	name := fmt.Sprintf("org.example.Service%d", i/5*5)
	return &Message{
		Type: wire.TypeMethodCall, Path: "/org/example", Interface: name, Member: "Do",
		Destination: NewNames(":1.17", name), Sender: NewNames(":1.18"),
	}
}

func BenchmarkSendAndReceive(b *testing.B) {
	for _, n := range []int{10, 300, 5000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			p := mustParse(b, systemRules+benchmarkRules(n))
			v := p.For(1000, []uint32{1000}, false)
			m := benchmarkMessage(n / 2)
			b.ReportAllocs()
			for b.Loop() {
				fresh := *m
				if !v.MaySend(&fresh).Allowed || !v.MayReceive(&fresh).Allowed {
					b.Fatal("denied")
				}
			}
		})
	}
}

// A broadcast is checked for each receiver, with the same Message.
func BenchmarkBroadcastReceiver(b *testing.B) {
	for _, n := range []int{10, 300, 5000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			v := mustParse(b, systemRules+benchmarkRules(n)).For(1000, []uint32{1000}, false)
			m := benchmarkMessage(n / 2)
			m.Type, m.Broadcast, m.Destination = wire.TypeSignal, true, NewNames(":1.20")
			b.ReportAllocs()
			for b.Loop() {
				if !v.MaySend(m).Allowed || !v.MayReceive(m).Allowed {
					b.Fatal("denied")
				}
			}
		})
	}
}

// What a session bus has: everything is allowed.
func BenchmarkSession(b *testing.B) {
	v := mustParse(b, `<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>`).For(1000, nil, false)
	m := benchmarkMessage(5)
	b.ReportAllocs()
	for b.Loop() {
		fresh := *m
		if !v.MaySend(&fresh).Allowed || !v.MayReceive(&fresh).Allowed {
			b.Fatal("denied")
		}
	}
}

// Every rule in turn, as the list of rules that match is made.
func BenchmarkWalk(b *testing.B) {
	for _, n := range []int{10, 300, 5000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			v := mustParse(b, systemRules+benchmarkRules(n)).For(1000, []uint32{1000}, false)
			m := benchmarkMessage(n / 2)
			for b.Loop() {
				v.SendRules(m)
				v.ReceiveRules(m)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{300, 5000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			file := write(b, filepath.Join(dir, "main.conf"), inConfig(systemRules+benchmarkRules(n)))
			o := testOptions(dir)
			for b.Loop() {
				if _, err := o.Parse(file); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
