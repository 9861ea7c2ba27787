package sandbox

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// As in proc_pid_mountinfo(5), with names that need escaping.
func TestMountsAreRead(t *testing.T) {
	const table = `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
37 36 0:5 /a\040b /mnt\0112/c\134d rw - tmpfs tmpfs rw
`
	got, err := parseMounts(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	want := []mount{{36, "98:0", "/mnt1", "/mnt2"}, {37, "0:5", "/a b", "/mnt\t2/c\\d"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mount{})); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{"36 35 98:0 /mnt1\n", "x 35 98:0 / / rw\n"} {
		if _, err := parseMounts(strings.NewReader(line)); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestWhatIsBelowADirectory(t *testing.T) {
	for _, test := range []struct {
		dir, file, rest string
		ok              bool
	}{
		{"/", "/a", "/a", true}, {"/a", "/a", "", true}, {"/a", "/a/b", "/b", true}, {"/a", "/ab", "", false}, {"/a/b", "/a", "", false},
	} {
		if rest, ok := below(test.dir, test.file); ok != test.ok || ok && rest != test.rest {
			t.Errorf("below %s is %s: %q, %v", test.dir, test.file, rest, ok)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw\n")
	f.Add("1 2 3:4 /\\040 /\\ rw\n")
	f.Fuzz(func(t *testing.T, table string) {
		mounts, err := parseMounts(strings.NewReader(table))
		if err == nil && len(mounts) > strings.Count(table, "\n")+1 {
			t.Errorf("%d mounts in %q", len(mounts), table)
		}
	})
}
