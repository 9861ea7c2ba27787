package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/wire"
)

// printer prints a body in one line, nearly as busctl does.
type printer struct {
	strings.Builder
	depth   int
	deepest int
}

func (p *printer) Basic(v wire.Basic) error {
	switch v.Type {
	case 'b':
		fmt.Fprintf(p, "%c:%t ", v.Type, v.Bool())
	case 'd':
		fmt.Fprintf(p, "%c:%v ", v.Type, v.Double())
	case 's', 'o', 'g':
		fmt.Fprintf(p, "%c:%q ", v.Type, v.Text())
	case 'n', 'i', 'x':
		fmt.Fprintf(p, "%c:%d ", v.Type, v.Int())
	default:
		fmt.Fprintf(p, "%c:%d ", v.Type, v.Uint())
	}
	return nil
}

func (p *printer) Enter(kind byte, contents string) error {
	p.depth++
	p.deepest = max(p.deepest, p.depth)
	fmt.Fprintf(p, "%c%q{ ", kind, contents)
	return nil
}

func (p *printer) Leave(kind byte) error {
	p.depth--
	fmt.Fprintf(p, "}%c ", kind)
	return nil
}

func TestWalk(t *testing.T) {
	for _, c := range []struct {
		signature string
		values    []any
		want      string
	}{
		{"", nil, ""},
		{"ybnqiuxtdh", []any{1, true, -2, 3, -4, 5, -6, 7, 8.5, wire.UnixFD(9)}, "y:1 b:true n:-2 q:3 i:-4 u:5 x:-6 t:7 d:8.5 h:9 "},
		{"sog", []any{"a", "/b", "as"}, `s:"a" o:"/b" g:"as" `},
		{"asau", []any{[]string{"a"}, []uint32{}}, `a"s"{ s:"a" }a a"u"{ }a `},
		{"a{sv}(y(s))", []any{map[string]any{"k": int32(1)}, []any{1, []any{"x"}}},
			`a"{sv}"{ {"sv"{ s:"k" v"i"{ i:1 }v }{ }a ("y(s)"{ y:1 ("s"{ s:"x" }( }( `},
	} {
		var p printer
		if err := wire.Walk(wire.LittleEndian, c.signature, body(t, c.signature, c.values...), &p); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(c.want, p.String()); d != "" {
			t.Error(d)
		}
	}
}

// stopper fails at one of its calls.
type stopper struct{ calls int }

var errStop = errors.New("stop")

func (s *stopper) call() error {
	if s.calls--; s.calls < 0 {
		return errStop
	}
	return nil
}

func (s *stopper) Basic(wire.Basic) error   { return s.call() }
func (s *stopper) Enter(byte, string) error { return s.call() }
func (s *stopper) Leave(byte) error         { return s.call() }

func TestVisitorEndsTheWalk(t *testing.T) {
	b := body(t, "a{sv}y", map[string]any{"k": int32(1)}, 1)
	calls := 0
	for ; wire.Walk(wire.LittleEndian, "a{sv}y", b, &stopper{calls}) == errStop; calls++ {
	}
	if want := 9; calls != want {
		t.Errorf("%d calls, want %d", calls, want)
	}
}

func TestInvalidBodyIsNotVisited(t *testing.T) {
	var p printer
	if err := wire.Walk(wire.LittleEndian, "yb", unhex("01 000000 02000000"), &p); err == nil || p.String() != "" {
		t.Errorf("%q, %v", p.String(), err)
	}
}

func TestArgs(t *testing.T) {
	const signature = "sa{sv}o(s(ay))gvuasi"
	b := body(t, signature, "a", map[string]any{"k": "v"}, "/b", []any{"x", []any{[]byte{1}}}, "as", []any{"y"}, 7, []string{"z"}, -1)
	var got []wire.Arg
	args := wire.NewArgs(wire.LittleEndian, signature, b)
	for arg, ok := args.Next(); ok; arg, ok = args.Next() {
		got = append(got, arg)
	}
	want := []wire.Arg{{0, "s", "a"}, {1, "a{sv}", ""}, {2, "o", "/b"}, {3, "(s(ay))", ""}, {4, "g", "as"}, {5, "v", ""}, {6, "u", ""}, {7, "as", ""}, {8, "i", ""}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got[1].Type() != 'a' {
		t.Errorf("type %c", got[1].Type())
	}
}

// A body that is not valid may yield anything, but must not keep the reader.
func TestArgsOfInvalidBodiesEnd(t *testing.T) {
	for name, c := range map[string]struct{ signature, body string }{
		"array of no type":       {"aa", "00000000"},
		"variant of such arrays": {"v", repeat("08 'vvvvvva0' 00", 20)},
		"open struct":            {"(((", "00"},
		"closed struct":          {")", "00"},
		"text beyond the end":    {"ss", "ffffffff"},
	} {
		args := wire.NewArgs(wire.LittleEndian, c.signature, unhex(c.body))
		n := 0
		for _, ok := args.Next(); ok; _, ok = args.Next() {
			n++
		}
		if n > len(c.signature) {
			t.Errorf("%s: %d arguments", name, n)
		}
	}
}

func BenchmarkArgs(b *testing.B) {
	data := body(b, "sa{sv}s", "a", map[string]any{"k": "v"}, "b")
	b.ReportAllocs()
	for b.Loop() {
		args := wire.NewArgs(wire.LittleEndian, "sa{sv}s", data)
		for _, ok := args.Next(); ok; _, ok = args.Next() {
		}
	}
}
