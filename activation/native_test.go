package activation_test

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
	"github.com/kdbus-go/kdbus/wire"
)

// connectNative makes a client that speaks kdbus.
func (b *testBus) connectNative() *nativetest.Client {
	b.Helper()
	c, err := nativetest.Dial(b.dir + "/bus")
	if err == nil {
		b.Cleanup(c.Close)
		err = c.Hello(abi.Hello{PoolSize: 16 << 20})
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// callOf makes a call of a service in native form.
func callOf(name string, cookie uint64, flags abi.MsgFlags, send abi.SendFlags) nativetest.Outgoing {
	m := &wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: uint32(cookie), Path: "/x", Interface: iface, Member: "Echo", Destination: name,
	}}
	if err := m.SetBody("x"); err != nil {
		panic(err)
	}
	if flags&abi.MsgExpectReply == 0 {
		m.Flags |= wire.NoReplyExpected
	}
	if flags&abi.MsgNoAutoStart != 0 {
		m.Flags |= wire.NoAutoStart
	}
	body, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	k := abi.Message{DstName: name, Cookie: cookie, Flags: flags}
	if flags&abi.MsgExpectReply != 0 {
		k.TimeoutNS = math.MaxInt64
	}
	return nativetest.Outgoing{Message: k, Flags: send, Body: body}
}

func TestNativeCallers(t *testing.T) {
	b := newBus(t, options{
		elements: `<limit name="service_start_timeout">1000</limit><limit name="max_pending_service_starts">3</limit>`,
		services: map[string]string{
			nameA: role("echo", nameA), nameB: role("exit", "3"), "com.example.Late": role("exit", "0"), "com.example.None": "/nowhere",
		},
	})
	c := b.connectNative()
	for _, test := range []struct {
		name  string
		call  nativetest.Outgoing
		errno syscall.Errno
		text  string
	}{
		{"not to be started", callOf(nameA, 1, abi.MsgExpectReply|abi.MsgNoAutoStart, abi.SendSyncReply), syscall.EADDRNOTAVAIL, ""},
		{"starts", callOf(nameA, 2, abi.MsgExpectReply, abi.SendSyncReply), 0, ""},
		{"exits", callOf(nameB, 3, abi.MsgExpectReply, abi.SendSyncReply), syscall.EPIPE, "Process com.example.B exited with status 3"},
		{"cannot be executed", callOf("com.example.None", 4, abi.MsgExpectReply, abi.SendSyncReply), syscall.EPIPE, "Failed to execute program"},
		{"takes too long", callOf("com.example.Late", 5, abi.MsgExpectReply, abi.SendSyncReply), syscall.ETIMEDOUT, "timed out (service_start_timeout=1000ms)"},
		{"is unknown", callOf("com.example.Unknown", 6, abi.MsgExpectReply, abi.SendSyncReply), syscall.ESRCH, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.Send(test.call)
			var refused *nativetest.Refused
			switch {
			case test.errno == 0:
				if err != nil {
					t.Error(err)
				}
			case !errors.As(err, &refused) || refused.Errno != test.errno || !strings.Contains(refused.Text, test.text):
				t.Errorf("%v, want %v: %s", err, test.errno, test.text)
			}
		})
	}
	t.Run("asynchronous", func(t *testing.T) {
		if _, err := c.Send(callOf(nameB, 7, abi.MsgExpectReply, 0)); err != nil {
			t.Fatal(err)
		}
		m, err := c.Recv()
		if err != nil || m.Notification.Type != abi.ItemReplyDead || m.CookieReply != 7 {
			t.Errorf("%+v, %v", m, err)
		}
		want := abi.Reason{
			Errno: uint64(syscall.EPIPE), Name: "org.freedesktop.DBus.Error.Spawn.ChildExited",
			Text: "Process com.example.B exited with status 3",
		}
		if m.Notification.Reason != want {
			t.Errorf("%+v, want %+v", m.Notification.Reason, want)
		}
	})
	t.Run("by the library", func(t *testing.T) {
		for _, dialer := range []kdbus.Dialer{{}, {DBus1: true}} {
			conn, err := dialer.Dial(t.Context(), "unix:path="+b.dir+"/bus")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = conn.Object(nameB, "/").Call(t.Context(), "com.example.I.M")
			var failed *kdbus.Error
			if !errors.As(err, &failed) || failed.Name != "org.freedesktop.DBus.Error.Spawn.ChildExited" ||
				failed.Message != "Process com.example.B exited with status 3" {
				t.Errorf("native %v: %v", conn.Native(), err)
			}
		}
	})
	t.Run("too many", func(t *testing.T) {
		var err error
		for i := range 4 {
			_, err = c.Send(callOf("com.example.Late", uint64(10+i), 0, 0))
			if err != nil && i < 3 {
				t.Fatal(i, err)
			}
		}
		if !errors.Is(err, syscall.ENOBUFS) {
			t.Error(err)
		}
	})
}

func TestNativePeersSeeServicesAsActivators(t *testing.T) {
	b := newBus(t, options{services: map[string]string{nameA: role("echo", nameA)}})
	c := b.connectNative()
	list := func() string {
		t.Helper()
		f, err := c.Do(&abi.List{Flags: abi.ListActivators})
		if err != nil {
			t.Fatal(err)
		}
		return string(f.Body)
	}
	if !strings.Contains(list(), nameA) {
		t.Error("it is not listed")
	}
	// The driver is there for them, too.
	m := &wire.Message{Header: wire.Header{
		Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: 9, Path: "/org/freedesktop/DBus",
		Interface: "org.freedesktop.DBus", Member: "StartServiceByName", Destination: "org.freedesktop.DBus",
	}}
	if err := m.SetBody(nameA, uint32(0)); err != nil {
		t.Fatal(err)
	}
	body, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Send(nativetest.Outgoing{
		Message: abi.Message{DstName: "org.freedesktop.DBus", Cookie: 9, Flags: abi.MsgExpectReply, TimeoutNS: math.MaxInt64},
		Flags:   abi.SendSyncReply, Body: body,
	})
	if err != nil {
		t.Fatal(err)
	}
	content, err := answer.Content()
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.ParseMessage(content)
	if err != nil {
		t.Fatal(err)
	}
	if got := describe(got); got != "method_return 1" {
		t.Error(got)
	}
}
