package conformance

import (
	"os"
	"strings"
	"testing"
)

// Whoever looks for a test begins with the list in doc.go.
func TestEveryDirectoryIsNamed(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.Contains(string(doc), "//   - "+e.Name()+":") {
			t.Errorf("doc.go does not say what %s is", e.Name())
		}
	}
}
