package kdbus_test

import (
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus"
)

// fileBox returns files in all kinds of containers.
type fileBox struct{ files []*os.File }

type labelled struct {
	Label string
	File  *os.File
	local int
}

func (b *fileBox) Take() (labelled, map[string][]*os.File, []any, kdbus.Variant, error) {
	f := b.files
	return labelled{"one", f[0], 1}, map[string][]*os.File{"two": {f[1], f[2]}}, []any{"three", f[3], labelled{"four", f[4], 2}},
		kdbus.Variant{Value: []*labelled{{"five", f[5], 3}}}, nil
}

func TestFilesAreSentWithinOtherValues(t *testing.T) {
	onEachBus(t, func(t *testing.T, address string) {
		service, c := dial(t, address), dial(t, address)
		box := &fileBox{}
		var pipes []*os.File
		for range 6 {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			pipes, box.files = append(pipes, r), append(box.files, w)
		}
		if err := service.Export("/", "a.b", box); err != nil {
			t.Fatal(err)
		}
		reply := must(c.Object(service.Name(), "/").Call(testContext(t), "a.b.Take"))(t)
		if want := kdbus.Signature("(sh)a{sah}avv"); reply.Signature() != want {
			t.Errorf("the signature is %s, want %s", reply.Signature(), want)
		}
		variant := func(sig kdbus.Signature, value any) kdbus.Variant { return kdbus.Variant{Signature: sig, Value: value} }
		want := []any{
			[]any{"one", kdbus.UnixFD(0)},
			map[string][]kdbus.UnixFD{"two": {1, 2}},
			[]kdbus.Variant{variant("s", "three"), variant("h", kdbus.UnixFD(3)), variant("(sh)", []any{"four", kdbus.UnixFD(4)})},
			variant("a(sh)", [][]any{{"five", kdbus.UnixFD(5)}}),
		}
		if diff := cmp.Diff(want, must(reply.Values())(t)); diff != "" {
			t.Error(diff)
		}
		for i, f := range reply.Files() {
			if _, err := f.WriteString("x"); err != nil {
				t.Error(err)
			}
			f.Close()
			// What the method returned is closed, too, or else this does not end.
			if got, err := io.ReadAll(pipes[i]); string(got) != "x" || err != nil {
				t.Errorf("file %d: the pipe holds %q, %v", i, got, err)
			}
		}
	})
}

func TestFilesThatCannotBeSent(t *testing.T) {
	c := dial(t, kinds["native"](t))
	before := openFiles(t)
	for _, args := range [][]any{
		{(*os.File)(nil)},
		{os.Stdin, []*os.File{nil}},
		{os.Stdin, nil},
		{os.Stdin, struct{ F, G *os.File }{os.Stdin, nil}},
		{os.Stdin, 42},
	} {
		if _, err := c.Object(c.Name(), "/").Call(testContext(t), "a.b.C", args...); err == nil {
			t.Errorf("%v was sent", args)
		}
	}
	if got := openFiles(t); got != before {
		t.Errorf("%d files are open, and %d were before", got, before)
	}
	if err := c.Export("/", "a.b", takesFiles{}); err == nil {
		t.Error("a method that takes files within others was exported")
	}
}

type takesFiles struct{}

func (takesFiles) Take([]*os.File) error { return nil }
