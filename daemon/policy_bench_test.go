package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/wire"
)

// systemRules are those of dbus-daemon's system.conf that every message meets.
const systemRules = `<policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
<allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
<deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus" send_member="UpdateActivationEnvironment"/>
<deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Debug.Stats"/></policy>
<policy user="root"><allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/></policy>`

// serviceRules are what a package brings for a service, 17 rules.
func serviceRules(i int) string {
	name := fmt.Sprintf("org.example.Service%d", i)
	allow := func(iface, member string) string {
		return fmt.Sprintf(`<allow send_destination=%q send_interface=%q send_member=%q/>`, name, iface, member)
	}
	rules := fmt.Sprintf(`<policy user="root"><allow own=%q/><allow send_destination=%q/><allow receive_sender=%q/></policy>`, name, name, name)
	rules += fmt.Sprintf(`<policy context="default"><deny send_destination=%q/>`, name)
	rules += fmt.Sprintf(`<allow send_destination=%q send_interface="org.freedesktop.DBus.Introspectable"/>`, name)
	rules += fmt.Sprintf(`<allow send_destination=%q send_interface="org.freedesktop.DBus.Peer"/>`, name)
	rules += fmt.Sprintf(`<allow send_destination=%q send_interface="org.freedesktop.DBus.Properties"/>`, name)
	rules += fmt.Sprintf(`<deny send_destination=%q send_interface=%q/>`, name, name+".Admin")
	for m := range 9 {
		rules += allow(name, fmt.Sprintf("Method%d", m))
	}
	return rules + `</policy>`
}

// configuration parses rules.
func configuration(tb testing.TB, rules string) *busconfig.Config {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "bus.conf")
	if err := os.WriteFile(path, []byte("<busconfig><listen>unix:path=/nowhere</listen>"+rules+"</busconfig>"), 0o600); err != nil {
		tb.Fatal(err)
	}
	c, err := busconfig.Options{}.Parse(path)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// sizes are the policies that messages are timed with; nil is none.
func sizes(tb testing.TB) map[string]*busconfig.Config {
	many := systemRules
	for i := range 300 {
		many += serviceRules(i)
	}
	return map[string]*busconfig.Config{
		"policy=none": nil, "policy=system.conf": configuration(tb, systemRules+serviceRules(7)),
		"policy=system.conf+300": configuration(tb, many),
	}
}

// somebody is who is behind a connection that a test has made.
type somebody struct{ uid uint32 }

func (s somebody) Creds() meta.Creds                   { return meta.Creds{UID: s.uid, GID: s.uid, PID: 1} }
func (s somebody) Known() bool                         { return true }
func (s somebody) Groups() ([]uint32, bool)            { return []uint32{s.uid}, true }
func (s somebody) SecurityLabel() string               { return "" }
func (s somebody) PIDFD() (int, bool)                  { return -1, false }
func (s somebody) Sent() (messages, bytes, fds uint64) { return 0, 0, 0 }

// mailbox is the Receiver of such a connection.
type mailbox struct{}

func (mailbox) Wake()             {}
func (mailbox) Wanted(meta.Kinds) {}

func connectAs(tb testing.TB, b *bus.Bus, uid uint32) *bus.Conn {
	tb.Helper()
	c, err := b.Endpoint().Connect(bus.ConnConfig{
		UID: uid, Receiver: mailbox{}, Peer: somebody{uid}, Wants: bus.PartDBus1, AcceptFDs: true,
		Groups: func() []uint32 { return []uint32{uid} },
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		tb.Fatal(err)
	}
	return c
}

// drain takes everything out of the queue of c.
func drain(c *bus.Conn, space []*bus.Message) {
	for {
		got := c.Dequeue(space[:0])
		if len(got) == 0 {
			return
		}
		c.Delivered(got)
	}
}

func BenchmarkUnicast(b *testing.B) {
	for name, config := range sizes(b) {
		b.Run(name, func(b *testing.B) {
			on := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{})
			if config != nil {
				newPolicy(config, newDenials(slog.New(slog.DiscardHandler))).install(on)
			}
			service, client := connectAs(b, on, 0), connectAs(b, on, 1000)
			if _, err := service.AcquireName("org.example.Service7", 0); err != nil {
				b.Fatal(err)
			}
			h := &wire.Header{
				Order: wire.LittleEndian, Type: wire.TypeMethodCall, Flags: wire.NoReplyExpected, Serial: 1,
				Path: "/org/example", Interface: "org.example.Service7", Member: "Method5",
				Destination: "org.example.Service7", Sender: client.UniqueName(),
			}
			payload := [][]byte{h.Append(nil)}
			space := make([]*bus.Message, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				m := &bus.Message{DstName: h.Destination, Has: bus.PartView | bus.PartHeader | bus.PartDBus1, View: h, Payload: payload}
				if err := client.Send(m); err != nil {
					b.Fatal(err)
				}
				m.Release()
				client.Flush()
				drain(service, space)
			}
		})
	}
}

// everybody is an Index by which all connections get everything.
type everybody struct{ conns []*bus.Conn }

func (x *everybody) Collect(_, _ *bus.Conn, m *bus.Message, found []*bus.Conn) []*bus.Conn {
	if m.Notification != nil {
		return found
	}
	return append(found, x.conns...)
}
func (x *everybody) Takes(_, _ *bus.Conn, _ *bus.Message) bool { return true }
func (x *everybody) Eavesdroppers() int                        { return 0 }
func (x *everybody) Forget(*bus.Conn)                          {}
func (x *everybody) Needs() bus.Parts                          { return 0 }

func BenchmarkBroadcast(b *testing.B) {
	const receivers = 20
	for name, config := range sizes(b) {
		b.Run(name, func(b *testing.B) {
			index := &everybody{}
			on := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{Indexes: []bus.Index{index}})
			if config != nil {
				newPolicy(config, newDenials(slog.New(slog.DiscardHandler))).install(on)
			}
			service := connectAs(b, on, 0)
			if _, err := service.AcquireName("org.example.Service7", 0); err != nil {
				b.Fatal(err)
			}
			for i := range receivers {
				index.conns = append(index.conns, connectAs(b, on, uint32(1000+i%3)))
			}
			h := &wire.Header{
				Order: wire.LittleEndian, Type: wire.TypeSignal, Serial: 1, Sender: service.UniqueName(),
				Path: "/org/example", Interface: "org.example.Service7", Member: "Changed",
			}
			payload := [][]byte{h.Append(nil)}
			space := make([]*bus.Message, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				m := &bus.Message{Dst: bus.Broadcast, Has: bus.PartView | bus.PartHeader | bus.PartDBus1, View: h, Payload: payload}
				if err := service.Send(m); err != nil {
					b.Fatal(err)
				}
				m.Release()
				service.Flush()
				for _, c := range index.conns {
					drain(c, space)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*receivers), "ns/receiver")
		})
	}
}

// What a reload costs with a thousand connections, without reading the files: all of it, of which messages
// wait for the part in which the bus is locked.
func BenchmarkExchange(b *testing.B) {
	on := bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{})
	for i := range 1000 {
		c := connectAs(b, on, uint32(1000+i%10))
		if _, err := c.AcquireName(fmt.Sprintf("org.example.Service%d", i), 0); err != nil {
			b.Fatal(err)
		}
	}
	for name, config := range sizes(b) {
		if config == nil {
			continue
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				newPolicy(config, newDenials(slog.New(slog.DiscardHandler))).install(on)
			}
		})
	}
}
