package busconfig

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/kdbus-go/kdbus/wire"
)

// FuzzParse reads any bytes as a configuration: it ends in an [*Error] that names the file, or in a
// policy whose index agrees with its rules.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/config/*.txtar")
	for _, file := range files {
		if a, err := txtar.ParseFile(file); err == nil && len(a.Files) > 0 {
			f.Add(a.Files[0].Data)
		}
	}
	options := testOptions("/nowhere")
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "include") {
			return // other files are no business of a fuzz test
		}
		p := &parser{Options: &options, read: &tally{}, file: "fuzz.conf", conf: &Config{Limits: DefaultLimits()}}
		err := scanXML(p.file, data, p)
		if err == nil {
			_, err = p.finish()
		}
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.File != "fuzz.conf" || e.Reason == "" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for _, r := range p.conf.Policy.Rules() {
			checkIndex(t, p.conf.Policy, r)
		}
	})
}

// checkIndex checks messages that r is about.
func checkIndex(t *testing.T, p *Policy, r *Rule) {
	v := p.For(1000, []uint32{29}, r.Context.Kind == AtConsole)
	m := &Message{
		Type: wire.TypeSignal, Path: r.path, Interface: r.iface, Member: r.member, ErrorName: r.errorName,
		Destination: NewNames(r.peer), Sender: NewNames(r.peer + ".x"), Descriptors: r.condition.minFDs,
	}
	for kind, pair := range map[Kind]struct {
		got  Verdict
		want []*Rule
	}{
		Send:    {v.MaySend(m), v.SendRules(m)},
		Receive: {v.MayReceive(m), v.ReceiveRules(m)},
		Own:     {v.MayOwn(r.peer), v.OwnRules(r.peer)},
	} {
		if len(pair.want) == 0 && pair.got.Rule != nil || len(pair.want) > 0 && pair.got.Rule != pair.want[len(pair.want)-1] {
			t.Fatalf("%v: %v decides, of %v", kind, pair.got.Rule, pair.want)
		}
	}
}

// FuzzService reads any bytes as a .service file: it ends in an [*Error], or in a service with a valid
// name.
func FuzzService(f *testing.F) {
	f.Add([]byte(serviceText("a.b", "User=joe", "Name[de]=x", "# comment", "Exec=\\s")))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseService("fuzz.service", data)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.File != "fuzz.service" || e.Reason == "" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if err := wire.CheckWellKnownName(s.Name); err != nil {
			t.Fatal(err)
		}
		s.Command()
	})
}

// FuzzSplitCommand splits any string, and again what it is split into, each word quoted.
func FuzzSplitCommand(f *testing.F) {
	for _, line := range []string{`a 'b c' "d\"$e" \f`, "a#b\nc", "'", `\`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := SplitCommand(line)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		again, err := SplitCommand(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(words, again) {
			t.Fatalf("%q, %q, %v", words, again, err)
		}
	})
}
