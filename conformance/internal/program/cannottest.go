package program

import (
	"fmt"
	"os"
	"testing"
)

// CannotTest skips a test for which something is missing, and fails it in CI, where nothing may be.
func CannotTest(t *testing.T, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
