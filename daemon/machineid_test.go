package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadMachineID(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	tests := []struct {
		name  string
		files []string // contents; "-" for a file that does not exist
		want  string
		says  string
	}{
		{"the first that exists", []string{id + "\n", "nonsense"}, id, ""},
		{"the second when there is no first", []string{"-", id}, id, ""},
		{"digits of both cases", []string{strings.ToUpper(id)}, id, ""},
		{"none", []string{"-", "-"}, "", "there is no "},
		{"an empty one, as in a fresh image", []string{"", id}, "", "does not hold 32 hexadecimal digits"},
		{"too long", []string{id + "00"}, "", "does not hold"},
		{"not hexadecimal", []string{strings.Repeat("x", 32)}, "", "does not hold"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var files []string
			for i, content := range test.files {
				name := filepath.Join(t.TempDir(), "id"+string(rune('0'+i)))
				if content != "-" {
					if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				files = append(files, name)
			}
			got, err := readMachineID(files)
			if got != test.want || (test.says == "") != (err == nil) ||
				err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %q, %v; want %q, %q", got, err, test.want, test.says)
			}
		})
	}
}
