package kdbus

import (
	"encoding/hex"
	"strings"
	"testing"
)

func FuzzParseChallenge(f *testing.F) {
	for _, text := range []string{"org_freedesktop_general 7 ab12", "a -1 b", "a 2147483648 b", "a 1", ""} {
		f.Add(hex.EncodeToString([]byte(text)))
	}
	f.Add("zz")
	f.Fuzz(func(t *testing.T, data string) {
		context, id, challenge, err := parseChallenge(data)
		if err != nil {
			return
		}
		if id < 0 || context == "" || challenge == "" || strings.ContainsAny(context+challenge, " \t\n") {
			t.Errorf("%q is %q, %d, %q", data, context, id, challenge)
		}
	})
}
