package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestLinesAreWrittenAsDBusDaemonWritesThem(t *testing.T) {
	var b bytes.Buffer
	l := newLineQueue(writeLines(&b, "dbus-daemon", "[system] "))
	log := slog.New(newLineHandler(slog.LevelInfo, l.put))
	log.Info("Activated service")
	log.Debug("not this")
	log.With("pid", 3).WithGroup("of").Warn("two words", "name", "a b", "time", 5)
	l.close(t.Context())
	want := "[system] Activated service\n[system] two words pid=3 of.name=\"a b\" of.time=5\n"
	begin := fmt.Sprintf("dbus-daemon[%d]: ", os.Getpid())
	if got := strings.ReplaceAll(b.String(), begin, ""); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// syslogd is a log of the system: it receives what is sent to its socket.
func syslogd(t *testing.T) (address string, receive func() string) {
	t.Helper()
	address = filepath.Join(t.TempDir(), "log")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return address, func() string {
		t.Helper()
		b := make([]byte, 4096)
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b[:n]))
	}
}

func TestSyslogGetsSeverityProgramAndPrefix(t *testing.T) {
	address, receive := syslogd(t)
	l, err := openSyslog("unixgram", address, "dbus-daemon", "[system] ")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(newLineHandler(slog.LevelDebug, l.put))
	const daemon = 3 << 3 // LOG_DAEMON
	for _, c := range []struct {
		level    slog.Level
		severity int
	}{{slog.LevelDebug, 7}, {slog.LevelInfo, 6}, {slog.LevelWarn, 4}, {slog.LevelError, 3}} {
		log.Log(t.Context(), c.level, "message", "key", 1)
		want := regexp.MustCompile(fmt.Sprintf(`^<%d>.* dbus-daemon\[%d\]: \[system\] message key=1$`, daemon|c.severity, os.Getpid()))
		if got := receive(); !want.MatchString(got) {
			t.Errorf("%v: %q", c.level, got)
		}
	}
	l.close(t.Context())
	l.put(slog.LevelInfo, "after the end")
	l.close(t.Context())
}

// Whoever logs does not wait for a log that takes nothing. What it missed is told once it goes on.
func TestLogThatIsSlowLosesLinesAndTellsHowMany(t *testing.T) {
	sent, proceed := make(chan string), make(chan bool)
	l := newLineQueue(func(_ slog.Level, line string) error {
		sent <- line
		<-proceed
		return nil
	})
	l.put(slog.LevelInfo, "first")
	if got := <-sent; got != "first" {
		t.Fatalf("got %q", got)
	}
	const lost = 7
	for range lineQueueLength + lost {
		l.put(slog.LevelInfo, "more")
	}
	proceed <- true
	if got, want := <-sent, fmt.Sprintf(tooSlow, lost); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	proceed <- true
	for range lineQueueLength {
		if got := <-sent; got != "more" {
			t.Fatalf("got %q", got)
		}
		proceed <- true
	}
	l.close(t.Context())
}

// slowWriter is a file that takes what is written to it when somebody reads.
type slowWriter chan string

func (w slowWriter) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

// Standard error of a bus that does not write as dbus-daemon does gets the same lines from the queue, and what is
// missing as one more of them.
func TestTextLogThatIsSlowLosesLinesAndTellsHowMany(t *testing.T) {
	w := make(slowWriter)
	l := newTextQueue(w)
	log := slog.New(slog.NewTextHandler(l, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	const lines = lineQueueLength + 8 // of which one may be on its way
	for range lines {
		log.Info("more")
	}
	l.flush(ctx) // does not wait longer than it may
	l.close(ctx)
	written, missing := 0, 0
	for ended := false; !ended; {
		select {
		case line := <-w:
			_, text, _ := strings.Cut(line, " ") // behind the time
			if text == "level=INFO msg=more\n" {
				written++
				continue
			}
			var n int
			if _, err := fmt.Sscanf(text, `level=WARN msg="`+tooSlow, &n); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			missing += n
		case <-l.ended:
			ended = true
		}
	}
	if written < lineQueueLength || missing == 0 || written+missing != lines {
		t.Errorf("%d lines are there and %d missing, of %d", written, missing, lines)
	}
}
