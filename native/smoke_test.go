package native_test

import (
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

func TestMessagesGoBothWays(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	w.do(b, &abi.NameAcquire{Name: "org.example.B"})
	w.send(a, nativetest.Outgoing{
		Message: abi.Message{DstName: "org.example.B", Cookie: 1, Flags: abi.MsgExpectReply, TimeoutNS: deadline(time.Minute)},
		Body:    []byte("question"),
	})
	m := w.recv(b)
	if m.SrcID != a.ID || m.Cookie != 1 || w.content(m) != "question" {
		t.Fatalf("%+v", m)
	}
	w.send(b, nativetest.Outgoing{Message: abi.Message{DstID: a.ID, Cookie: 1, CookieReply: 1}, Body: []byte("answer")})
	if m := w.recv(a); m.SrcID != b.ID || m.CookieReply != 1 || w.content(m) != "answer" {
		t.Fatalf("%+v", m)
	}
}
