package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// lineHandler is a [slog.Handler] that writes records as dbus-daemon writes its own: the message, and
// behind it key=value for what belongs to it. Time and level are for put to add.
type lineHandler struct {
	shared *lines
	attrs  slog.Handler // writes to shared.buf what is behind the message
}

type lines struct {
	level slog.Leveler
	put   func(level slog.Level, line string)
	mu    sync.Mutex
	buf   bytes.Buffer
}

// newLineHandler hands the records of level and above to put, one at a time.
func newLineHandler(level slog.Leveler, put func(level slog.Level, line string)) *lineHandler {
	s := &lines{level: level, put: put}
	return &lineHandler{s, slog.NewTextHandler(&s.buf, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.shared.level.Level()
}

func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Reset()
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	line := r.Message
	if attrs := strings.TrimSuffix(s.buf.String(), "\n"); attrs != "" {
		line += " " + attrs
	}
	s.put(r.Level, line)
	return nil
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &lineHandler{h.shared, h.attrs.WithAttrs(attrs)}
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	return &lineHandler{h.shared, h.attrs.WithGroup(name)}
}

// writeLines returns what writes lines to w, each begun as dbus-daemon begins its own on standard error.
func writeLines(w io.Writer, program, prefix string) func(slog.Level, string) error {
	return func(_ slog.Level, line string) error {
		_, err := fmt.Fprintf(w, "%s[%d]: %s%s\n", program, os.Getpid(), prefix, line)
		return err
	}
}

// lineQueue is on the way to a log, be it that of the system or standard error. Whoever logs does not wait
// for it: a bus must not stand still because the log does, such as a pipe that nobody reads.
type lineQueue struct {
	send     func(slog.Level, string) error
	tellLost func(lines int) error // sends that so many lines are missing
	queue    chan entry
	ended    chan struct{} // closed when everything was sent

	mu     sync.Mutex
	lost   int // lines that did not find room in queue
	closed bool
}

type entry struct {
	level slog.Level
	line  string
	sent  chan<- struct{} // if not nil, this is no line: it is closed when all before it is sent
}

const (
	// lineQueueLength is how many lines may wait for a log.
	lineQueueLength = 1024
	// logPatience is how long the process may be held up for its logs when it ends or goes to the background.
	logPatience = time.Second
)

// tooSlow is how a log says that it lacks lines.
const tooSlow = "the log was too slow: %d lines are missing here"

// openSystemLog opens the log of the system for lines of program that begin with prefix.
func openSystemLog(program, prefix string) (*lineQueue, error) {
	if journal.Enabled() {
		return newLineQueue(func(level slog.Level, line string) error {
			return journal.Send(prefix+line, journal.Priority(severity(level)), map[string]string{
				"SYSLOG_IDENTIFIER": program,
				"SYSLOG_FACILITY":   "3", // daemon
			})
		}), nil
	}
	return openSyslog("", "", program, prefix)
}

// openSyslog opens syslog at an address of package net, or where the system has it if network is "".
func openSyslog(network, address, program, prefix string) (*lineQueue, error) {
	w, err := syslog.Dial(network, address, syslog.LOG_DAEMON|syslog.LOG_INFO, program)
	if err != nil {
		return nil, err
	}
	return newLineQueue(func(level slog.Level, line string) error {
		line = prefix + line
		switch severity(level) {
		case syslog.LOG_ERR:
			return w.Err(line)
		case syslog.LOG_WARNING:
			return w.Warning(line)
		case syslog.LOG_INFO:
			return w.Info(line)
		}
		return w.Debug(line)
	}), nil
}

// severity returns the priority of syslog(3) for a level.
func severity(level slog.Level) syslog.Priority {
	switch {
	case level >= slog.LevelError:
		return syslog.LOG_ERR
	case level >= slog.LevelWarn:
		return syslog.LOG_WARNING
	case level >= slog.LevelInfo:
		return syslog.LOG_INFO
	}
	return syslog.LOG_DEBUG
}

// newLineQueue begins to hand lines to send, which may take its time, one at a time.
func newLineQueue(send func(slog.Level, string) error) *lineQueue {
	l := &lineQueue{send: send, queue: make(chan entry, lineQueueLength), ended: make(chan struct{})}
	l.tellLost = func(lines int) error { return send(slog.LevelWarn, fmt.Sprintf(tooSlow, lines)) }
	go l.run()
	return l
}

// newTextQueue begins to write to w what is written to the queue, which is for a [slog.TextHandler].
func newTextQueue(w io.Writer) *lineQueue {
	l := &lineQueue{queue: make(chan entry, lineQueueLength), ended: make(chan struct{})}
	l.send = func(_ slog.Level, text string) error {
		_, err := io.WriteString(w, text)
		return err
	}
	direct := slog.New(slog.NewTextHandler(w, nil))
	l.tellLost = func(lines int) error {
		direct.Warn(fmt.Sprintf(tooSlow, lines))
		return nil
	}
	go l.run()
	return l
}

// run sends what is queued. Errors are nobody's to hear.
func (l *lineQueue) run() {
	defer close(l.ended)
	for e := range l.queue {
		if e.sent != nil {
			close(e.sent)
			continue
		}
		l.send(e.level, e.line)
		l.mu.Lock()
		lost := l.lost
		l.lost = 0
		l.mu.Unlock()
		if lost > 0 {
			l.tellLost(lost)
		}
	}
}

// put queues a line, or counts it if there is no room.
func (l *lineQueue) put(level slog.Level, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	select {
	case l.queue <- entry{level: level, line: line}:
	default:
		l.lost++
	}
}

// Write queues text, which is lines.
func (l *lineQueue) Write(text []byte) (int, error) {
	l.put(0, string(text))
	return len(text), nil
}

// flush returns when what is queued was sent, or ctx ends. It is not for use after close.
func (l *lineQueue) flush(ctx context.Context) {
	sent := make(chan struct{})
	select {
	case l.queue <- entry{sent: sent}:
	case <-ctx.Done():
		return
	}
	select {
	case <-sent:
	case <-ctx.Done():
	}
}

// close sends what is queued, until ctx ends.
func (l *lineQueue) close(ctx context.Context) {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
}
