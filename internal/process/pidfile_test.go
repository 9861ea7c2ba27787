package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPIDFileIsOfThisProcessAndGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	f, err := WritePIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != fmt.Sprintf("%d\n", os.Getpid()) {
		t.Errorf("the file has %q, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if err := f.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}
	if err := f.Remove(); err != nil {
		t.Errorf("removing it again: %v", err)
	}
}

func TestPIDFileOfAnotherStays(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"alive": fmt.Sprintf("%d\n", os.Getppid()), "empty": "", "garbage": "all is well", "negative": "-1",
		"zero": "0", "huge": "99999999999999999999", "long": strings.Repeat(" ", 100) + "999999999",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := WritePIDFile(path)
		if _, ok := errors.AsType[*PIDFileError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(path); string(b) != content {
			t.Errorf("%s: now it has %q", name, b)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nothing", link); err != nil {
		t.Fatal(err)
	}
	if _, err := WritePIDFile(link); err == nil {
		t.Error("a symbolic link was followed or replaced")
	}
	if _, err := WritePIDFile(filepath.Join(dir, "none", "pid")); err == nil {
		t.Error("a file in no directory was written")
	}
}

func TestPIDFileOfADeadProcessIsReplaced(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(path, fmt.Appendln(nil, dead.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := WritePIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Another one that took its place is not removed.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "1\n" {
		t.Errorf("the other's file has %q, %v", b, err)
	}
}
