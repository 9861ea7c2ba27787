package transport

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testGUID = "0123456789abcdef0123456789abcdef"

var testSASLConfig = saslConfig{ServerGUID: testGUID, External: true, UnixFD: true}

func hexOf(s string) string { return hex.EncodeToString([]byte(s)) }

// answers runs an exchange and returns the server's lines, with every ERROR
// reduced to that word: its text is for people.
func answers(s *sasl, in string) (lines []string, rest string, err error) {
	consumed, out, err := s.feed([]byte(in))
	return commandsOf(string(out)), in[consumed:], err
}

func commandsOf(out string) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\r\n"), "\r\n") {
		switch {
		case strings.HasPrefix(line, "ERROR "):
			line = "ERROR"
		case line == "OK "+testGUID:
			line = "OK"
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// The answers are those of dbus-daemon 1.14.10 to the same bytes, except where
// a case says otherwise.
func TestSASLAnswers(t *testing.T) {
	const (
		data     = "DATA"
		ok       = "OK"
		rejected = "REJECTED EXTERNAL"
		fail     = "ERROR"
		agree    = "AGREE_UNIX_FD"
	)
	anonymous := testSASLConfig
	anonymous.Anonymous = true
	noFD := testSASLConfig
	noFD.UnixFD = false
	type want = []string

	tests := []struct {
		name string
		cfg  saslConfig
		in   string // lines separated by |, without the leading NUL
		want want
	}{
		{"external with initial response", testSASLConfig, "AUTH EXTERNAL " + hexOf("1000"), want{ok}},
		{"upper case hex is hex", anonymous, "AUTH ANONYMOUS 4A", want{ok}},
		{"external without response is asked for one", testSASLConfig, "AUTH EXTERNAL", want{data}},
		{"external with trailing blank is asked for one", testSASLConfig, "AUTH EXTERNAL ", want{data}},
		{"empty identity means the peer's own", testSASLConfig, "AUTH EXTERNAL|DATA", want{data, ok}},
		{"empty identity with trailing blank", testSASLConfig, "AUTH EXTERNAL|DATA ", want{data, ok}},
		{"identity in DATA", testSASLConfig, "AUTH EXTERNAL|DATA " + hexOf("1000"), want{data, ok}},
		{"somebody else's identity", testSASLConfig, "AUTH EXTERNAL " + hexOf("0"), want{rejected}},
		{"somebody else's identity in DATA", testSASLConfig, "AUTH EXTERNAL|DATA " + hexOf("0"), want{data, rejected}},
		{"user name is no identity", testSASLConfig, "AUTH EXTERNAL " + hexOf("root"), want{rejected}},
		{"identity with trailing blank inside", testSASLConfig, "AUTH EXTERNAL " + hexOf("1000 "), want{rejected}},
		{"identity with NUL", testSASLConfig, "AUTH EXTERNAL " + hexOf("1000\x00"), want{rejected}},
		{"identity beyond 32 bits", testSASLConfig, "AUTH EXTERNAL " + hexOf("4294968296"), want{rejected}},
		{"hexadecimal uid (dbus-daemon: OK)", testSASLConfig, "AUTH EXTERNAL " + hexOf("0x3e8"), want{rejected}},
		{"signed uid (dbus-daemon: OK)", testSASLConfig, "AUTH EXTERNAL " + hexOf("+1000"), want{rejected}},
		{"uid with leading blank (dbus-daemon: OK)", testSASLConfig, "AUTH EXTERNAL " + hexOf(" 1000"), want{rejected}},
		{"octal uid (dbus-daemon: OK)", testSASLConfig, "AUTH EXTERNAL " + hexOf("01750"), want{rejected}},
		{"half a byte of hex (dbus-daemon: pads)", testSASLConfig, "AUTH EXTERNAL 3", want{fail}},
		{"no hex", testSASLConfig, "AUTH EXTERNAL zz", want{fail}},
		{"blank after hex", testSASLConfig, "AUTH EXTERNAL 31 ", want{fail}},
		{"two responses", testSASLConfig, "AUTH EXTERNAL 31 31", want{fail}},
		{"tabs and runs of blanks separate words", testSASLConfig, "AUTH \t EXTERNAL\t\t" + hexOf("1000"), want{ok}},
		{"leading blank makes an unknown command", testSASLConfig, " AUTH EXTERNAL", want{fail}},
		{"commands are upper case", testSASLConfig, "auth EXTERNAL", want{fail}},
		{"mechanisms are upper case", testSASLConfig, "AUTH external", want{rejected}},
		{"no mechanism lists them", testSASLConfig, "AUTH", want{rejected}},
		{"no mechanism but a blank lists them", testSASLConfig, "AUTH ", want{rejected}},
		{"unknown mechanism lists them", testSASLConfig, "AUTH FOO 30", want{rejected}},
		{"cookies are not offered", testSASLConfig, "AUTH DBUS_COOKIE_SHA1 30", want{rejected}},
		{"anonymous that is not configured", testSASLConfig, "AUTH ANONYMOUS", want{rejected}},
		{"anonymous is listed when configured", anonymous, "AUTH", want{"REJECTED EXTERNAL ANONYMOUS"}},
		{"anonymous", anonymous, "AUTH ANONYMOUS", want{ok}},
		{"anonymous with trace", anonymous, "AUTH ANONYMOUS " + hexOf("libdbus 1.14.10"), want{ok}},
		{"anonymous with trace that is not UTF-8", anonymous, "AUTH ANONYMOUS eda080", want{"REJECTED EXTERNAL ANONYMOUS"}},
		{"anonymous with trace that has NUL", anonymous, "AUTH ANONYMOUS 6100", want{"REJECTED EXTERNAL ANONYMOUS"}},
		{"anonymous with trace that is not hex", anonymous, "AUTH ANONYMOUS zz", want{fail}},

		{"cancel of nothing", testSASLConfig, "CANCEL", want{fail}},
		{"error before auth", testSASLConfig, "ERROR foo", want{rejected}},
		{"data before auth", testSASLConfig, "DATA", want{fail}},
		{"negotiation before auth", testSASLConfig, "NEGOTIATE_UNIX_FD", want{fail}},
		{"a server's commands", testSASLConfig, "OK|REJECTED|AGREE_UNIX_FD", want{fail, fail, fail}},
		{"unknown commands leave the state", testSASLConfig, "AUTH EXTERNAL|FOO||DATA", want{data, fail, fail, ok}},
		{"features not known", testSASLConfig, "AUTH EXTERNAL|DATA|NEGOTIATE_FOO 1|NEGOTIATE_", want{data, ok, fail, fail}},
		{"auth within auth", testSASLConfig, "AUTH EXTERNAL|AUTH EXTERNAL|DATA", want{data, fail, ok}},
		{"cancel within auth", testSASLConfig, "AUTH EXTERNAL|CANCEL|DATA", want{data, rejected, fail}},
		{"auth after cancel asks anew", testSASLConfig, "AUTH EXTERNAL|CANCEL|AUTH EXTERNAL|DATA", want{data, rejected, data, ok}},
		{"error within auth", testSASLConfig, "AUTH EXTERNAL|ERROR", want{data, rejected}},
		{"negotiation within auth", testSASLConfig, "AUTH EXTERNAL|NEGOTIATE_UNIX_FD|DATA", want{data, fail, ok}},
		{"bad data leaves the state", testSASLConfig, "AUTH EXTERNAL|DATA zz|DATA", want{data, fail, ok}},
		{"auth after OK", testSASLConfig, "AUTH EXTERNAL|DATA|AUTH EXTERNAL|BEGIN", want{data, ok, fail}},
		{"data after OK", testSASLConfig, "AUTH EXTERNAL|DATA|DATA|BEGIN", want{data, ok, fail}},
		{"cancel after OK", testSASLConfig, "AUTH EXTERNAL|DATA|CANCEL|DATA", want{data, ok, rejected, fail}},
		{"error after OK", testSASLConfig, "AUTH EXTERNAL|DATA|ERROR", want{data, ok, rejected}},
		{"fds", testSASLConfig, "AUTH EXTERNAL|DATA|NEGOTIATE_UNIX_FD", want{data, ok, agree}},
		{"fds twice, with arguments", testSASLConfig, "AUTH EXTERNAL|DATA|NEGOTIATE_UNIX_FD|NEGOTIATE_UNIX_FD x", want{data, ok, agree, agree}},
		{"fds on a transport without", noFD, "AUTH EXTERNAL|DATA|NEGOTIATE_UNIX_FD|BEGIN", want{data, ok, fail}},
		{"begin with arguments", testSASLConfig, "AUTH EXTERNAL|DATA|BEGIN foo", want{data, ok}},
		{"line feed is no line end", testSASLConfig, "AUTH EXTERNAL 31\n", want{fail}},
		{"carriage return is no line end", testSASLConfig, "AUTH EXTERNAL 31\r", want{fail}},
		{"bytes beyond ASCII", testSASLConfig, "AUTH EXTERNAL\xe9|AUTH EXTERNAL", want{fail, data}},
		{"NUL in a line", testSASLConfig, "AUTH EXTERNAL\x00|AUTH EXTERNAL", want{fail, data}},
		{"control characters", testSASLConfig, "\x01\x7f|AUTH EXTERNAL", want{fail, data}},
		{"sd-bus in one write", testSASLConfig, "AUTH EXTERNAL|DATA|NEGOTIATE_UNIX_FD|BEGIN", want{data, ok, agree}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := "\x00" + strings.ReplaceAll(tt.in, "|", "\r\n") + "\r\n"

			got, rest, err := answers(newSASL(tt.cfg, 1000, true), in)
			if err != nil || rest != "" {
				t.Fatalf("feed left %q, error %v", rest, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if got := feedBytewise(t, newSASL(tt.cfg, 1000, true), in); !cmp.Equal(tt.want, got) {
				t.Errorf("fed byte by byte, answers are %q, want %q", got, tt.want)
			}
		})
	}
}

// feedBytewise feeds in as the slowest of clients would send it.
func feedBytewise(t *testing.T, s *sasl, in string) []string {
	t.Helper()
	var pending, all []byte
	for i := range len(in) {
		pending = append(pending, in[i])
		n, out, err := s.feed(pending)
		if err != nil {
			t.Fatalf("after %q: %v", in[:i+1], err)
		}
		pending = pending[n:]
		all = append(all, out...)
	}
	return commandsOf(string(all))
}

func TestSASLIdentity(t *testing.T) {
	both := testSASLConfig
	both.Anonymous = true
	tests := []struct {
		name string
		in   string
		want saslIdentity
		fd   bool
	}{
		{"named", "AUTH EXTERNAL 31303030|BEGIN", saslIdentity{UID: 1000}, false},
		{"by the kernel alone", "AUTH EXTERNAL|DATA|NEGOTIATE_UNIX_FD|BEGIN", saslIdentity{UID: 1000}, true},
		{"anonymous", "AUTH ANONYMOUS|BEGIN", saslIdentity{Anonymous: true}, false},
		{"the last of several counts", "AUTH ANONYMOUS|CANCEL|AUTH EXTERNAL 31303030|BEGIN", saslIdentity{UID: 1000}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSASL(both, 1000, true)
			if _, _, err := answers(s, "\x00"+strings.ReplaceAll(tt.in, "|", "\r\n")+"\r\n"); err != nil {
				t.Fatal(err)
			}
			if !s.done() || s.identity != tt.want || s.unixFD != tt.fd {
				t.Errorf("done %v, identity %+v, fds %v; want true, %+v, %v", s.done(), s.identity, s.unixFD, tt.want, tt.fd)
			}
		})
	}
}

func TestSASLWithoutPeerCredentialsRefusesExternal(t *testing.T) {
	for _, in := range []string{"\x00AUTH EXTERNAL\r\n", "\x00AUTH EXTERNAL 30\r\n"} {
		got, _, err := answers(newSASL(testSASLConfig, 0, false), in)
		if err != nil || !cmp.Equal(got, []string{"REJECTED EXTERNAL"}) {
			t.Errorf("%q is answered by %q, error %v", in, got, err)
		}
	}
}

func TestSASLLeavesWhatFollowsBegin(t *testing.T) {
	const message = "l\x01\x00\x01\r\nBEGIN\r\n\x00\xff"
	s := newSASL(testSASLConfig, 1000, true)
	got, rest, err := answers(s, "\x00AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"+message)
	if err != nil || !s.done() {
		t.Fatalf("done %v, error %v", s.done(), err)
	}
	if rest != message {
		t.Errorf("left %q, want %q", rest, message)
	}
	if want := []string{"DATA", "OK", "AGREE_UNIX_FD"}; !cmp.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
	if n, out, err := s.feed([]byte(message)); n != 0 || len(out) != 0 || err != nil {
		t.Errorf("when done, feed consumes %d, answers %q, error %v", n, out, err)
	}
}

func TestSASLDisconnects(t *testing.T) {
	long := strings.Repeat("A", saslMaxLine)
	tests := []struct {
		name    string
		in      string
		want    error
		answers []string
	}{
		{"no NUL first", "AUTH EXTERNAL\r\n", errSASLNoNul, nil},
		{"begin first", "\x00BEGIN\r\n", errSASLEarlyBegin, nil},
		{"begin within auth", "\x00AUTH EXTERNAL\r\nBEGIN\r\n", errSASLEarlyBegin, []string{"DATA"}},
		{"begin after cancel", "\x00AUTH EXTERNAL\r\nDATA\r\nCANCEL\r\nBEGIN\r\n", errSASLEarlyBegin, []string{"DATA", "OK", "REJECTED EXTERNAL"}},
		{"too many attempts", "\x00" + strings.Repeat("AUTH\r\n", 6) + "AUTH EXTERNAL\r\n", errSASLRejected,
			[]string{"REJECTED EXTERNAL", "REJECTED EXTERNAL", "REJECTED EXTERNAL", "REJECTED EXTERNAL", "REJECTED EXTERNAL", "REJECTED EXTERNAL"}},
		{"line without end", "\x00" + long, errSASLLineTooLong, nil},
		{"line a byte too long", "\x00" + long[:saslMaxLine-1] + "\r\n", errSASLLineTooLong, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSASL(testSASLConfig, 1000, true)
			got, _, err := answers(s, tt.in)
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if !cmp.Equal(got, tt.answers) {
				t.Errorf("answers %q, want %q", got, tt.answers)
			}
			if n, out, again := s.feed([]byte("AUTH EXTERNAL\r\n")); n != 0 || len(out) != 0 || again != err {
				t.Errorf("afterwards feed consumes %d, answers %q, error %v", n, out, again)
			}
		})
	}
}

func TestSASLTakesTheLongestLine(t *testing.T) {
	line := strings.Repeat("A", saslMaxLine-2) + "\r\n"
	s := newSASL(testSASLConfig, 1000, true)
	if _, rest, err := answers(s, "\x00"+line[:len(line)-1]); err != nil || rest != line[:len(line)-1] {
		t.Fatalf("incomplete line: left %d bytes, error %v", len(rest), err)
	}
	got, rest, err := answers(s, line)
	if err != nil || rest != "" || !cmp.Equal(got, []string{"ERROR"}) {
		t.Errorf("answers %q, left %d bytes, error %v", got, len(rest), err)
	}
}

func TestSASLBoundsAnswersOfOneRead(t *testing.T) {
	s := newSASL(testSASLConfig, 1000, true)
	_, out, err := s.feed([]byte("\x00" + strings.Repeat("\r\n", 20000)))
	if !errors.Is(err, errSASLFlood) {
		t.Errorf("error %v, want %v", err, errSASLFlood)
	}
	if len(out) > saslMaxOutput+100 {
		t.Errorf("%d bytes of answers", len(out))
	}
}

func FuzzSASL(f *testing.F) {
	for _, in := range []string{
		"\x00AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl\x01\x00\x01",
		"\x00AUTH EXTERNAL 31303030\r\nBEGIN\r\n",
		"\x00AUTH ANONYMOUS 61\r\nCANCEL\r\nAUTH\r\nERROR x\r\nBEGIN\r\n",
		"\x00\r\n\xff\r\nDATA zz\r\n",
		"AUTH",
	} {
		f.Add([]byte(in), uint16(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		cfg := saslConfig{ServerGUID: testGUID, External: true, Anonymous: true, UnixFD: true}
		whole := newSASL(cfg, 1000, true)
		n, out, err := whole.feed(in)
		checkSASL(t, whole, in, n, out, err)
		answered := bytes.Clone(out)

		// Where the bytes are cut makes no difference.
		at := min(int(cut), len(in))
		parts := newSASL(cfg, 1000, true)
		m, out, err1 := parts.feed(in[:at])
		checkSASL(t, parts, in[:at], m, out, err1)
		joined := bytes.Clone(out)
		if err1 == nil {
			k, out, err2 := parts.feed(in[m:])
			joined, err1 = append(joined, out...), err2
			m += k
		}
		if errors.Is(err, errSASLFlood) {
			return
		}
		if m != n || !bytes.Equal(joined, answered) || parts.state != whole.state {
			t.Errorf("cut at %d: consumed %d and answered %q, error %v; whole: %d, %q, %v", at, m, joined, err1, n, answered, err)
		}
	})
}

func checkSASL(t *testing.T, s *sasl, in []byte, n int, out []byte, err error) {
	t.Helper()
	switch {
	case n < 0 || n > len(in):
		t.Fatalf("consumed %d of %d bytes", n, len(in))
	case len(out) > saslMaxOutput+100:
		t.Fatalf("answered %d bytes", len(out))
	case len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")):
		t.Fatalf("answered half a line: %q", out)
	case s.done() && err != nil:
		t.Fatalf("done with error %v", err)
	case err == nil && !s.done() && bytes.Contains(in[n:], []byte("\r\n")):
		t.Fatalf("left a whole line in %q", in[n:])
	case n > 1 && !bytes.HasSuffix(in[:n], []byte("\r\n")):
		t.Fatalf("consumed half a line: %q", in[:n])
	}
	if !s.done() {
		return
	}
	lines := bytes.Split(in[1:n], []byte("\r\n"))
	for i, line := range lines[:len(lines)-1] {
		word, _, _ := bytes.Cut(bytes.ReplaceAll(line, []byte("\t"), []byte(" ")), []byte(" "))
		isBegin := string(word) == "BEGIN" && !bytes.ContainsFunc(line, func(r rune) bool { return r == 0 || r > 0x7f })
		if last := i == len(lines)-2; isBegin != last {
			t.Fatalf("consumed %q; BEGIN must be the last line and no other", in[:n])
		}
	}
}
