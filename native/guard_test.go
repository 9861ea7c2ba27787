package native

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPagesThatAreMissingAreAnError(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(1 << 16); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(file.Fd()), 0, 1<<16, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	if err := file.Truncate(0); err != nil { // which nobody can do to a sealed memfd
		t.Fatal(err)
	}
	sum := byte(0)
	err = guard(func() error {
		for _, c := range b {
			sum += c
		}
		return nil
	})
	if err == nil {
		t.Errorf("there was no error; the sum is %d", sum)
	}
}

func TestOtherPanicsAreNotCaught(t *testing.T) {
	mistake := errors.New("a mistake of ours")
	defer func() {
		if got := recover(); got != any(mistake) {
			t.Errorf("recovered %v", got)
		}
	}()
	guard(func() error { panic(mistake) })
}
