package transport

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogOfManyLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := slog.New(slog.NewTextHandler(&text, nil))
		lines := func(words string) int { return strings.Count(text.String(), words) }
		var l limiter
		for range 3 * logBurst {
			l.warn(log, 1, "noise")
		}
		l.warn(log, 2, "news")
		if lines("noise") != logBurst || lines("news") != 1 {
			t.Errorf("%d lines of noise, %d of news", lines("noise"), lines("news"))
		}
		time.Sleep(logInterval)
		l.warn(log, 1, "later")
		l.warn(log, 1, "later")
		if lines("later suppressed=40") != 1 || lines("later") != 1 {
			t.Errorf("after a second the log is\n%s", text.String())
		}
	})
}

func TestLogOfManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := slog.New(slog.NewTextHandler(&text, nil))
		var l limiter
		for uid := range uint32(2 * maxLogUsers) {
			l.warn(log, uid, "first")
		}
		time.Sleep(logBurst * logInterval)
		l.warn(log, 3*maxLogUsers, "second")
		if got := strings.Count(text.String(), "first"); got != maxLogUsers {
			t.Errorf("%d lines", got)
		}
		if !strings.Contains(text.String(), "second") || len(l.users) != 1 {
			t.Errorf("%d users are remembered", len(l.users))
		}
	})
}
