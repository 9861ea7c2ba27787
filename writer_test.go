package kdbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPair returns two connected sockets that are closed after the test.
func socketPair(t *testing.T) (a, b *socket) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []**socket{&a, &b} {
		if *s, err = newSocket(fds[i], "pair"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*s).close)
	}
	return a, b
}

// record is what the tests send: who, which of his, and a length, that many bytes follow.
func record(sender, number, size int) (head, body []byte) {
	head = binary.LittleEndian.AppendUint32(nil, uint32(sender))
	head = binary.LittleEndian.AppendUint32(head, uint32(number))
	return binary.LittleEndian.AppendUint32(head, uint32(size)), bytes.Repeat([]byte{byte(number)}, size)
}

// Many senders at a time, more than a socket holds, a reader that lags, and descriptors: all
// that was sent comes, whole, in the order of each sender, with its descriptor beside it.
func TestWriterKeepsMessagesWholeAndInOrder(t *testing.T) {
	a, b := socketPair(t)
	w := &writer{socket: a}
	const senders, each = 8, 60
	size := func(sender, number int) int { return (sender*7919 + number*104729) % 100_000 }
	withFile := func(number int) bool { return number%5 == 0 }
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for number := range each {
				head, body := record(sender, number, size(sender, number))
				var fds []int
				if withFile(number) {
					fd, err := duplicate(os.Stderr)
					if err != nil {
						t.Error(err)
						return
					}
					fds = []int{fd}
				}
				if err := w.send(context.Background(), head, body, fds); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	want, files := make([]int, senders), 0
	var data []byte
	var fds []int
	buf := make([]byte, 50_000)
	for received := 0; received < senders*each; {
		n, got, err := b.receive(buf, nil, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, got...)
		data = append(data, buf[:n]...)
		for len(data) >= 12 {
			sender, number := int(binary.LittleEndian.Uint32(data)), int(binary.LittleEndian.Uint32(data[4:]))
			length := int(binary.LittleEndian.Uint32(data[8:]))
			if sender >= senders || number != want[sender] || length != size(sender, number) {
				t.Fatalf("message %d of sender %d has %d bytes, expected is message %d", number, sender, length, want)
			}
			if len(data) < 12+length {
				break
			}
			if withFile(number) {
				files++
			}
			if len(fds) < files {
				t.Fatalf("message %d of sender %d came without its descriptor", number, sender)
			}
			data = data[12+length:]
			want[sender]++
			received++
		}
	}
	wg.Wait()
	if len(fds) != files || len(data) != 0 {
		t.Errorf("%d descriptors instead of %d, and %d bytes too many", len(fds), files, len(data))
	}
	closeFDs(fds)
	if err := w.waitIdle(context.Background()); err != nil {
		t.Error(err)
	}
}

// fillUp sends until senders have to wait.
func fillUp(t *testing.T, w *writer) {
	t.Helper()
	for {
		w.mu.Lock()
		full := w.busy && len(w.queue.data) > maxQueued
		w.mu.Unlock()
		if full {
			return
		}
		if err := w.send(context.Background(), make([]byte, 1000), make([]byte, 100_000), nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriterHeedsTheContextWhenThereIsNoRoom(t *testing.T) {
	a, _ := socketPair(t)
	w := &writer{socket: a}
	fillUp(t, w)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.send(ctx, []byte("x"), nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("the error of send is %v", err)
	}
	if err := w.waitIdle(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error of waitIdle is %v", err)
	}
	// The goroutine that waits for the socket ends when the other end goes.
	stopped := errors.New("stopped")
	failed := make(chan error)
	go func() { failed <- w.send(context.Background(), []byte("x"), nil, nil) }()
	w.stop(stopped)
	if err := <-failed; err != stopped {
		t.Errorf("a sender that waited has %v", err)
	}
	a.close()
	for {
		w.mu.Lock()
		busy := w.busy
		idle := w.idle
		if busy && idle == nil {
			idle = make(chan struct{})
			w.idle = idle
		}
		w.mu.Unlock()
		if !busy {
			return
		}
		<-idle
	}
}
