//go:build conformance

// Package gvariant compares package wire/gvariant with GLib, whose authors wrote the
// format: the same bytes must be in normal form to both, and mean the same, whatever
// has been done to them.
package gvariant

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kdbus-go/kdbus/conformance/internal/program"
	"github.com/kdbus-go/kdbus/wire"
	"github.com/kdbus-go/kdbus/wire/gvariant"
)

// limit bounds how long GLib may take for one set of questions.
const limit = time.Minute

// question is one for GLib. See testdata/glib.py.
type question struct {
	what, typ string
	data      []byte // or GVariant's text format, to "parse"
}

// ask asks all questions of one process, and returns the answers, split into words.
func ask(t *testing.T, questions []question) [][]string {
	t.Helper()
	var in bytes.Buffer
	for _, q := range questions {
		if q.what == "parse" {
			fmt.Fprintf(&in, "parse %s %s\n", q.typ, q.data)
			continue
		}
		fmt.Fprintf(&in, "%s %s %s\n", q.what, q.typ, digits(q.data))
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program.Python, "testdata/glib.py")
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(lines), len(questions))
	}
	answers := make([][]string, len(lines))
	for i, line := range lines {
		answers[i] = strings.Fields(line)
	}
	return answers
}

func digits(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return hex.EncodeToString(b)
}

// seeds are fixed, so that a difference can be looked at.
const (
	seeds   = 10
	perSeed = 1000
)

func each(t *testing.T, test func(t *testing.T, r source)) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { test(t, source{Rand: rand.New(rand.NewPCG(seed, 0))}) })
	}
}

// What GLib finds normal is normal, and what it reads is what is read, of values and of
// damaged values. Where GLib departs from its own rules, it may.
func TestNormalForms(t *testing.T) {
	each(t, func(t *testing.T, r source) {
		var questions []question
		for len(questions) < perSeed {
			typ := r.typ(4)
			value := r.value(typ, 4)
			if len(typ) > wire.MaxSignatureLength {
				continue
			}
			if err := gvariant.Check(typ, value); err != nil {
				t.Errorf("%s %x: %v", typ, value, err)
			}
			questions = append(questions, question{"normal", typ, value})
			for range 4 {
				questions = append(questions, question{"normal", typ, r.damage(value)})
			}
		}
		normal, differences := 0, 0
		for i, answer := range ask(t, questions) {
			q := questions[i]
			if len(answer) > 2 {
				continue
			}
			err := gvariant.Check(q.typ, q.data)
			if err == nil {
				normal++
			}
			if got := err == nil; got != (answer[0] == "1") {
				t.Errorf("%s %x: normal is %v (%v), GLib says %v", q.typ, q.data, got, err, answer[0])
				differences++
			}
			got, err := gvariant.AppendNormal(nil, q.typ, q.data, 1<<20)
			if err != nil || digits(got) != answer[1] {
				t.Errorf("%s %x:\nnormal form %x, %v\n     GLib's %s", q.typ, q.data, got, err, answer[1:])
				differences++
			}
			if differences > 5 {
				t.Fatal("and more")
			}
		}
		if normal < len(questions)/5 || normal > len(questions)*4/5 {
			t.Errorf("%d of %d values are normal, which shows little", normal, len(questions))
		}
	})
}
