package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// A monitor that cannot keep up says how much it has missed.
func TestMonitorSaysWhatItMissed(t *testing.T) {
	bus := kdbustest.Start(t)
	w, err := startWatch(t.Context(), &watchOptions{bus: &busFlags{address: bus.Address()}, limit: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	conn, err := kdbus.Dial(t.Context(), bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for w.missed() == 0 { // nobody reads
		if err := conn.Emit(t.Context(), "/a", "a.b.C"); err != nil {
			t.Fatal(err)
		}
	}
	var out, diagnostics bytes.Buffer
	p := newMessagePrinter(true, nil, jsontext.Short, false)
	if err := w.show(t.Context(), p, &out, &diagnostics); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(diagnostics.String(), " messages were missed.\n") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("printed %q and, for diagnostics, %q", out.String(), diagnostics.String())
	}
}

// However large messages are, what waits to be printed is bounded, and is printed in order.
func TestBacklogIsBounded(t *testing.T) {
	bus := kdbustest.Start(t)
	w, err := startWatch(t.Context(), &watchOptions{bus: &busFlags{address: bus.Address()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	conn, err := kdbus.Dial(t.Context(), bus.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	content := make([]byte, 8<<20)
	sent := uint64(0)
	for ; w.backlog.missed() == 0; sent++ { // nobody reads
		if err := conn.Emit(t.Context(), "/a", "a.b.C", uint64(sent), content); err != nil {
			t.Fatal(err)
		}
		if sent > 10*maxBacklogBytes/uint64(len(content)) {
			t.Fatalf("%d messages of %d bytes wait", sent, len(content))
		}
	}
	for n := uint64(0); !w.backlog.empty(); {
		m, err := w.backlog.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got uint64
		if m.Member() != "C" {
			continue
		}
		if err := m.Decode(&got, &content); err != nil || got < n {
			t.Fatalf("message %d comes behind %d, %v", got, n, err)
		}
		n = got + 1
	}
}

func TestTimesAreThoseOfSystemd(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration
	}{
		{"5", 5 * time.Second}, {"1.5s", 1500 * time.Millisecond}, {"500ms", 500 * time.Millisecond}, {"2min 30s", 150 * time.Second},
		{"2min30", 150 * time.Second}, {"10us", 10 * time.Microsecond}, {"1h", time.Hour}, {"0", 0}, {"1w", 168 * time.Hour}, {"infinity", time.Duration(forEver)},
	} {
		var d duration
		if err := d.Set(test.text); err != nil || time.Duration(d) != test.want {
			t.Errorf("%q is %v, %v", test.text, time.Duration(d), err)
		}
	}
	for _, text := range []string{"soon", "5x", "-1", "1e9y", ".", "", " "} {
		if d := new(duration); d.Set(text) == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}
