package transport

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/keyring"
)

const testCookieUser = 1234

var (
	testCookie = keyring.Cookie{ID: 7, Secret: "c00c1e"}
	// testChallenge is what cookieConfig has for random.
	testChallenge = strings.Repeat("ab", challengeBytes)

	cookieConfig = saslConfig{ServerGUID: testGUID, Random: func(b []byte) {
		for i := range b {
			b[i] = 0xab
		}
	}, Cookie: func(identity string) (keyring.Cookie, uint32, error) {
		if identity != "me" {
			return keyring.Cookie{}, 0, errors.New("nobody else")
		}
		return testCookie, testCookieUser, nil
	}}
)

// proofOf is what a client answers that knows the secret.
func proofOf(challenge, secret string) string {
	return fmt.Sprintf("%s %x", challenge, sha1.Sum([]byte(testChallenge+":"+challenge+":"+secret)))
}

func TestCookieAnswers(t *testing.T) {
	const (
		ok, rejected, fail = "OK", "REJECTED DBUS_COOKIE_SHA1", "ERROR"
		auth               = "AUTH DBUS_COOKIE_SHA1"
	)
	asked := "DATA " + hexOf("org_freedesktop_general 7 "+testChallenge)
	me := auth + " " + hexOf("me")
	good := proofOf("c1", testCookie.Secret)
	type want = []string
	tests := []struct {
		name, in string
		want     want
	}{
		{"who knows the cookie", me + "|DATA " + hexOf(good), want{asked, ok}},
		{"a proof with more blanks", me + "|DATA " + hexOf(strings.Replace(good, " ", " \t ", 1)), want{asked, ok}},
		{"somebody else", auth + " " + hexOf("you"), want{rejected}},
		{"nobody in particular", auth, want{rejected}},
		{"an identity that is no text", auth + " 6d6500", want{rejected}},
		{"another secret", me + "|DATA " + hexOf(proofOf("c1", "c00c1f")), want{asked, rejected}},
		{"no secret", me + "|DATA " + hexOf(proofOf("c1", "")), want{asked, rejected}},
		{"upper case", me + "|DATA " + hexOf(strings.ToUpper(good)), want{asked, rejected}},
		{"half of the proof", me + "|DATA " + hexOf(good[:len(good)-1]), want{asked, rejected}},
		{"more than the proof", me + "|DATA " + hexOf(good+"0"), want{asked, rejected}},
		{"a blank behind the proof", me + "|DATA " + hexOf(good+" "), want{asked, rejected}},
		{"no challenge", me + "|DATA " + hexOf(" "+strings.Fields(proofOf("", testCookie.Secret))[0]), want{asked, rejected}},
		{"no proof", me + "|DATA " + hexOf("c1 "), want{asked, rejected}},
		{"nothing", me + "|DATA", want{asked, rejected}},
		{"no hexadecimal digits", me + "|DATA xx|DATA " + hexOf(good), want{asked, fail, ok}},
		{"one that takes it back", me + "|CANCEL|DATA " + hexOf(good), want{asked, rejected, fail}},
		{"the second try", me + "|DATA|" + me + "|DATA " + hexOf(good), want{asked, rejected, asked, ok}},
		{"another mechanism", "AUTH EXTERNAL|AUTH ANONYMOUS", want{rejected, rejected}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := "\x00" + strings.ReplaceAll(test.in, "|", "\r\n") + "\r\n"
			s := newSASL(cookieConfig, 0, false)
			got, rest, err := answers(s, in)
			if err != nil || rest != "" {
				t.Fatalf("feed left %q, error %v", rest, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if got := feedBytewise(t, newSASL(cookieConfig, 0, false), in); !cmp.Equal(test.want, got) {
				t.Errorf("fed byte by byte, answers are %q, want %q", got, test.want)
			}
			if got[len(got)-1] == ok && s.identity != (saslIdentity{UID: testCookieUser}) {
				t.Errorf("it is %+v", s.identity)
			}
		})
	}
}

func TestChallengesDiffer(t *testing.T) {
	cfg := cookieConfig
	cfg.Random = nil
	in := "\x00AUTH DBUS_COOKIE_SHA1 " + hexOf("me") + "\r\n"
	first, _, _ := answers(newSASL(cfg, 0, false), in)
	second, _, _ := answers(newSASL(cfg, 0, false), in)
	if cmp.Equal(first, second) {
		t.Errorf("twice %q", first)
	}
}

// FuzzSASLCookie looks for ways to get in without knowing the cookie.
func FuzzSASLCookie(f *testing.F) {
	me := "\x00AUTH DBUS_COOKIE_SHA1 " + hexOf("me") + "\r\n"
	for _, in := range []string{
		me + "DATA " + hexOf(proofOf("c1", testCookie.Secret)) + "\r\nBEGIN\r\n",
		me + "DATA " + hexOf(proofOf("c1", "00")) + "\r\nBEGIN\r\n",
		me + "CANCEL\r\nBEGIN\r\n",
		me + "DATA\r\n" + me[1:] + "DATA 20\r\n",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newSASL(cookieConfig, 0, false)
		n, out, err := s.feed(in)
		checkSASL(t, s, in, n, out, err)
		if !s.done() {
			return
		}
		if s.identity != (saslIdentity{UID: testCookieUser}) {
			t.Errorf("it is %+v", s.identity)
		}
		if !provesSecret(in[:n]) {
			t.Errorf("%q was let in", in[:n])
		}
	})
}

// provesSecret reports whether there is a line with a proof.
func provesSecret(in []byte) bool {
	for line := range bytes.SplitSeq(in, []byte("\r\n")) {
		for word := range bytes.FieldsSeq(line) {
			data, err := hex.DecodeString(string(word))
			if err != nil {
				continue
			}
			challenge, proof, _ := bytes.Cut(bytes.ReplaceAll(data, []byte("\t"), []byte(" ")), []byte(" "))
			if string(challenge)+" "+string(bytes.TrimLeft(proof, " ")) == proofOf(string(challenge), testCookie.Secret) {
				return true
			}
		}
	}
	return false
}
