package transport

import (
	"syscall"
	"testing"
)

func TestErrorsOfOneConnectionDoNotEndListening(t *testing.T) {
	for err, want := range map[error]acceptVerdict{
		nil:                  acceptedOne,
		syscall.EAGAIN:       acceptLater,
		syscall.ECONNABORTED: acceptLater,
		syscall.EPROTO:       acceptLater,
		syscall.EHOSTUNREACH: acceptLater,
		syscall.EMFILE:       acceptAfterPause,
		syscall.ENOBUFS:      acceptAfterPause,
		syscall.EPERM:        acceptAfterPause,
		syscall.EACCES:       acceptAfterPause,
		syscall.EBADF:        acceptNoMore,
		syscall.EINVAL:       acceptNoMore,
	} {
		if got := afterAccept(err); got != want {
			t.Errorf("after %v: %d, want %d", err, got, want)
		}
	}
}
