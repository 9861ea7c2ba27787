package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the values are differs; which fields there are, in which order and on which lines, does not.
var shapes = []struct{ what, pattern, with string }{
	{"names of capabilities", `(?m)^ {10}cap_.*\n|cap_.*`, ""},
	{"strings in bodies", `STRING ".*";`, `STRING "";`},
	{"what processes are called", `(CommandLine)=.*?(  |\n)`, "$1=$2"},
	{"values", `(\w+)=\S*( \d+)*`, "$1="},
	{"what only some machines have", `  (OwnerUID|UserSlice|Label)=|(?m)^  AuditLoginUID=.*\n`, ""},
	{"the thread, which a socket does not tell", `  TIDComm=`, ""},
	{"the executable, which is hidden from some", `  Exe=`, ""},
}

func shape(text string) string {
	for _, s := range shapes {
		text = regexp.MustCompile(s.pattern).ReplaceAllString(text, s.with)
	}
	return text
}

// The demo's messages have the shape of those that busctl showed on a kdbus bus when localectl asked
// systemd-localed.
func TestDemoHasTheShapeOfTheTranscript(t *testing.T) {
	want, err := os.ReadFile("testdata/transcript/localectl.txt")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("kdbus", "demo").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, messages, _ := strings.Cut(string(out), "properties:\n\n")
	messages, _, _ = strings.Cut(messages, "4 messages; ")
	for _, line := range []string{" Type=  Endian=  Flags=  Version=  Priority= Cookie=  ReplyCookie=\n", "  PID=  TID=  PPID=\n", "  UniqueName=  WellKnownNames=\n"} {
		if !strings.Contains(shape(messages), line) {
			t.Errorf("no line %q in %s", line, shape(messages))
		}
	}
	if diff := cmp.Diff(shape(string(want)), shape(messages)); diff != "" {
		t.Errorf("-transcript +demo\n%s", diff)
	}
}
