package native_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/native/nativetest"
)

// call returns a synchronous call.
func syncCall(to, cookie uint64, body string) nativetest.Outgoing {
	return nativetest.Outgoing{
		Message: abi.Message{DstID: to, Cookie: cookie, Flags: abi.MsgExpectReply, TimeoutNS: never},
		Flags:   abi.SendSyncReply,
		Body:    []byte(body),
	}
}

// start sends a message whose answer is yet to come.
func (w *world) start(c *nativetest.Client, o nativetest.Outgoing) (tag uint64) {
	w.t.Helper()
	tag, err := c.Start(o, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return tag
}

func answerTo(m *nativetest.Message, body string) nativetest.Outgoing {
	return nativetest.Outgoing{Message: abi.Message{DstID: m.SrcID, Cookie: 1, CookieReply: m.Cookie}, Body: []byte(body)}
}

func TestSynchronousCallIsAnsweredByItsReply(t *testing.T) {
	w := newWorld(t)
	for name, recv := range map[string]abi.AttachFlags{"without metadata": 0, "with metadata": abi.AttachAny} {
		t.Run(name, func(t *testing.T) {
			a, b := w.join(func(h *abi.Hello) { h.AttachFlagsRecv = recv }), w.join()
			first, second := w.start(a, syncCall(b.ID, 1, "one")), w.start(a, syncCall(b.ID, 2, "two"))
			w.do(a, &abi.List{}) // goes on meanwhile
			one, two := w.recv(b), w.recv(b)
			w.send(b, answerTo(two, "TWO"))
			w.send(b, nativetest.Outgoing{Message: abi.Message{DstID: a.ID, Cookie: 5}, Body: []byte("between")})
			w.send(b, answerTo(one, "ONE"))
			m, err := a.Reply(second)
			if err != nil || w.content(m) != "TWO" || m.SrcID != b.ID || m.CookieReply != 2 {
				t.Errorf("%+v, %v", m, err)
			}
			if m, err = a.Reply(first); err != nil || w.content(m) != "ONE" {
				t.Errorf("%+v, %v", m, err)
			}
			if m := w.recv(a); w.content(m) != "between" || m.CookieReply != 0 {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestReplyBringsDescriptors(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	tag := w.start(a, syncCall(b.ID, 1, "?"))
	reply := answerTo(w.recv(b), "!")
	reply.FDs, reply.Passed = []int32{0}, []int{pipeEnd(t)}
	w.send(b, reply)
	m, err := a.Reply(tag)
	if err != nil || len(m.Passed) != 1 || len(m.FDs) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	nativetest.CloseAll(m.Passed)
}

func TestSynchronousCallEndsWithoutReply(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	late := syncCall(b.ID, 1, "hurry")
	late.TimeoutNS = deadline(500 * time.Millisecond) // not so soon that it has passed when the call is sent
	_, err := a.Send(late)
	refuses(t, "no reply in time", err, syscall.ETIMEDOUT)
	_, err = b.Send(answerTo(w.recv(b), "too late"))
	refuses(t, "reply that is too late", err, syscall.EBADSLT)

	tag := w.start(a, syncCall(b.ID, 1, "stay")) // the cookie is free again
	w.recv(b)
	b.Close()
	_, err = a.Answer(tag)
	refuses(t, "callee that left", err, syscall.EPIPE)

	_, err = a.Send(syncCall(100, 3, "nobody"))
	refuses(t, "callee that is not there", err, syscall.ENXIO)
}

func TestAsynchronousCallEndsWithANotification(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	for _, c := range []struct {
		name    string
		timeout uint64
		want    abi.ItemType
	}{
		{"deadline in the past", 1, abi.ItemReplyTimeout},
		{"deadline that comes", deadline(20 * time.Millisecond), abi.ItemReplyTimeout},
		{"callee that leaves", never, abi.ItemReplyDead},
	} {
		w.send(a, nativetest.Outgoing{Message: abi.Message{DstID: b.ID, Cookie: 7, Flags: abi.MsgExpectReply, TimeoutNS: c.timeout}})
		w.recv(b)
		if c.want == abi.ItemReplyDead {
			b.Close()
		}
		m := w.recv(a)
		if m.Notification.Type != c.want || m.CookieReply != 7 || m.SrcID != abi.SrcIDKernel || m.DstID != a.ID ||
			m.PayloadType != abi.PayloadKernel || m.Flags != 0 {
			t.Errorf("%s: %+v", c.name, m.Message)
		}
	}
}

func TestSynchronousCallIsCancelled(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	tag := w.start(a, syncCall(b.ID, 1, "?"))
	call := w.recv(b)
	w.do(a, &abi.Cancel{Tag: tag})
	_, err := a.Answer(tag)
	refuses(t, "cancelled call", err, syscall.ECANCELED)
	_, err = b.Send(answerTo(call, "too late"))
	refuses(t, "reply to it", err, syscall.EBADSLT)
	_, err = a.Do(&abi.Cancel{Tag: tag})
	refuses(t, "cancelled again", err, syscall.ENOENT)

	tag = w.start(a, syncCall(b.ID, 1, "?"))
	w.send(b, answerTo(w.recv(b), "!"))
	_, err = a.Do(&abi.Cancel{Tag: tag})
	refuses(t, "call that was answered", err, syscall.ENOENT)
	if m, err := a.Reply(tag); err != nil || w.content(m) != "!" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestCookieOfASynchronousCallIsTaken(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	tag := w.start(a, syncCall(b.ID, 1, "?"))
	_, err := a.Send(syncCall(a.ID, 1, "another"))
	refuses(t, "another synchronous call", err, syscall.EEXIST)
	other := syncCall(a.ID, 1, "another")
	other.Flags = 0
	_, err = a.Send(other)
	refuses(t, "an asynchronous call", err, syscall.EEXIST)
	w.send(b, answerTo(w.recv(b), "!"))
	if _, err := a.Reply(tag); err != nil {
		t.Error(err)
	}
}

func TestSynchronousCallIsNeitherQuietNorNegotiates(t *testing.T) {
	w := newWorld(t)
	a := w.join()
	tag, err := a.Start(syncCall(a.ID, 1, "?"), abi.FrameQuiet)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Answer(tag)
	refuses(t, "QUIET", err, syscall.EINVAL)
	cmd := abi.Send{Flags: abi.SendSyncReply, Negotiate: abi.Negotiation{Items: []abi.ItemType{abi.ItemCancelFD}}}
	o := syncCall(a.ID, 1, "?")
	o.PayloadType, o.Payload = abi.PayloadDBus, nil
	_, err = a.Raw(abi.CmdSend, o.Message.Append(cmd.Append(nil)))
	if err == nil || err.(*nativetest.Refused).Errno != syscall.EINVAL {
		t.Errorf("NEGOTIATE: %v", err)
	}
}

func TestCallsThatWaitAreLimited(t *testing.T) {
	w := newWorld(t)
	a, b := w.join(), w.join()
	for i := range uint64(abi.ConnMaxRequestsPending) {
		w.start(a, syncCall(b.ID, i+1, "?"))
	}
	_, err := a.Send(syncCall(b.ID, 1000, "?"))
	refuses(t, "one too many", err, syscall.EMLINK)
}
