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

// writeLines returns what hands lines to w, each begun as dbus-daemon begins its own on standard error.
func writeLines(w io.Writer, program, prefix string) func(slog.Level, string) {
	return func(_ slog.Level, line string) {
		fmt.Fprintf(w, "%s[%d]: %s%s\n", program, os.Getpid(), prefix, line)
	}
}

// systemLog is the log of the system: the journal, or syslog where there is none. Whoever logs does
// not wait for it: a bus must not stand still because the log does.
type systemLog struct {
	send  func(slog.Level, string) error
	queue chan entry
	ended chan struct{} // closed when everything was sent

	mu     sync.Mutex
	lost   int // lines that did not find room in queue
	closed bool
}

type entry struct {
	level slog.Level
	line  string
}

const (
	systemLogQueue = 1024
	// systemLogPatience is how long the end of the process may be put off for the log.
	systemLogPatience = time.Second
)

// openSystemLog opens the log of the system for lines of program that begin with prefix.
func openSystemLog(program, prefix string) (*systemLog, error) {
	if journal.Enabled() {
		return newSystemLog(func(level slog.Level, line string) error {
			return journal.Send(prefix+line, journal.Priority(severity(level)), map[string]string{
				"SYSLOG_IDENTIFIER": program,
				"SYSLOG_FACILITY":   "3", // daemon
			})
		}), nil
	}
	return openSyslog("", "", program, prefix)
}

// openSyslog opens syslog at an address of package net, or where the system has it if network is "".
func openSyslog(network, address, program, prefix string) (*systemLog, error) {
	w, err := syslog.Dial(network, address, syslog.LOG_DAEMON|syslog.LOG_INFO, program)
	if err != nil {
		return nil, err
	}
	return newSystemLog(func(level slog.Level, line string) error {
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

func newSystemLog(send func(slog.Level, string) error) *systemLog {
	l := &systemLog{send: send, queue: make(chan entry, systemLogQueue), ended: make(chan struct{})}
	go l.run()
	return l
}

// run sends what is queued. Errors are nobody's to hear.
func (l *systemLog) run() {
	defer close(l.ended)
	for e := range l.queue {
		l.send(e.level, e.line)
		l.mu.Lock()
		lost := l.lost
		l.lost = 0
		l.mu.Unlock()
		if lost > 0 {
			l.send(slog.LevelWarn, fmt.Sprintf("the log of the system was too slow: %d lines are missing here", lost))
		}
	}
}

// put queues a line, or counts it if there is no room.
func (l *systemLog) put(level slog.Level, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	select {
	case l.queue <- entry{level, line}:
	default:
		l.lost++
	}
}

// close sends what is queued, unless that takes too long.
func (l *systemLog) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	select {
	case <-l.ended:
	case <-time.After(systemLogPatience):
	}
}
