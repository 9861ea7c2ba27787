package kdbusfs_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
)

func endpoint(t *testing.T) string { return mount(t) + "/0-system/bus" }

func TestMessagesArriveInThePool(t *testing.T) {
	path := endpoint(t)
	a, b := hello(t, path), hello(t, path)
	if events := poll(t, b.fd, 0); events&unix.POLLIN != 0 {
		t.Errorf("poll says %#x before there is a message", events)
	}
	for _, payload := range []string{"", "x", "hello, world", strings.Repeat("0123456789abcdef", 4096)} {
		if _, err := a.send(abi.Message{DstID: b.id, Cookie: 7}, payload, 0); err != nil {
			t.Fatalf("SEND of %d bytes: %v", len(payload), err)
		}
		m, got := b.receive()
		if m.SrcID != a.id || m.Cookie != 7 || got != payload {
			t.Errorf("from %d, cookie %d, %d bytes arrive; want from %d, cookie 7, %d bytes", m.SrcID, m.Cookie, len(got), a.id, len(payload))
		}
	}
	recv := abi.Recv{}
	raw, err := give(b.fd, &recv)
	if err != syscall.EAGAIN {
		t.Errorf("RECV without a message: %v, want EAGAIN", err)
	}
	if recv.DecodeReply(raw); recv.Msg.Offset != poolSize {
		t.Errorf("it says that nothing is at %d; want the end of the pool", recv.Msg.Offset)
	}
}

func TestSynchronousCallsReturnTheReply(t *testing.T) {
	path := endpoint(t)
	a, b := hello(t, path), hello(t, path)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m, _ := b.receive()
		if _, err := b.send(abi.Message{DstID: m.SrcID, Cookie: 1, CookieReply: m.Cookie}, "reply", 0); err != nil {
			t.Errorf("reply: %v", err)
		}
	}()
	info, err := a.send(abi.Message{DstID: b.id, Cookie: 9, Flags: abi.MsgExpectReply, TimeoutNS: deadline(patience)}, "call", abi.SendSyncReply)
	<-done
	if err != nil {
		t.Fatalf("SEND: %v", err)
	}
	if m, payload := a.decode(info); m.CookieReply != 9 || payload != "reply" {
		t.Errorf("the reply to %d is %q; want to 9 %q", m.CookieReply, payload, "reply")
	}
}

func TestSynchronousCallsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		timeout time.Duration
		then    func(a, b *client) error // when the call has arrived
		want    syscall.Errno
	}{
		"when the caller leaves":  {patience, func(a, _ *client) error { _, err := give(a.fd, &abi.ByeBye{}); return err }, syscall.ECONNRESET},
		"when the callee leaves":  {patience, func(_, b *client) error { _, err := give(b.fd, &abi.ByeBye{}); return err }, syscall.EPIPE},
		"when their time is over": {10 * time.Millisecond, func(_, _ *client) error { return nil }, syscall.ETIMEDOUT},
	} {
		t.Run(name, func(t *testing.T) {
			path := endpoint(t)
			a, b := hello(t, path), hello(t, path)
			done := make(chan struct{})
			go func() {
				defer close(done)
				b.receive()
				if err := test.then(a, b); err != nil {
					t.Errorf("BYEBYE: %v", err)
				}
			}()
			_, err := a.send(abi.Message{DstID: b.id, Cookie: 9, Flags: abi.MsgExpectReply, TimeoutNS: deadline(test.timeout)}, "call", abi.SendSyncReply)
			<-done
			if err != test.want {
				t.Errorf("SEND: %v, want %v", err, test.want)
			}
		})
	}
}
