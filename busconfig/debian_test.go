package busconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What Debian ships: the stock configuration and everything that packages add to it, and the corpus of
// dbus-daemon's own tests (package dbus-tests). What is not installed is not tested.

const corpus = "/usr/lib/dbus-1.0/installed-tests/dbus/data"

func glob(t *testing.T, patterns ...string) (files []string) {
	t.Helper()
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

func TestStockConfigurationsAreRead(t *testing.T) {
	for _, file := range glob(t, "/usr/share/dbus-1/s*.conf") {
		c, err := Parse(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if c.Type != strings.TrimSuffix(filepath.Base(file), ".conf") {
			t.Errorf("%s: the type is %q", file, c.Type)
		}
		for _, w := range c.Warnings { // packages ship what they like
			t.Log(w)
		}
		t.Logf("%s: %d files, %d rules", file, len(c.Files), len(c.Policy.Rules()))
	}
}

func TestServicesOfPackagesAreRead(t *testing.T) {
	for _, file := range glob(t, "/usr/share/dbus-1/*services/*.service") {
		s, err := ParseService(file)
		if err != nil {
			t.Error(err)
		} else if _, err := s.Command(); err != nil {
			t.Error(err)
		}
	}
}

func TestCorpusOfDBusDaemon(t *testing.T) {
	for _, file := range glob(t, corpus+"/valid-config-files*/*.conf", corpus+"/equiv-config-files/*/*.conf") {
		if _, err := Parse(file); err != nil {
			t.Errorf("should be valid: %v", err)
		}
	}
	for _, file := range glob(t, corpus+"/invalid-config-files*/*.conf") {
		_, err := Parse(file)
		if err == nil {
			t.Errorf("should be invalid: %s", file)
			continue
		}
		if !strings.HasPrefix(err.Error(), file) && !strings.Contains(file, "circular") {
			t.Errorf("%s is not named by the error %q", file, err)
		}
		t.Log(err)
	}
	for _, file := range glob(t, corpus+"/valid-service-files*/*.service", corpus+"/systemd-activation/*.service") {
		if _, err := ParseService(file); err != nil {
			t.Errorf("should be valid: %v", err)
		}
	}
	for _, file := range glob(t, corpus+"/invalid-service-files-system/*.service") {
		s, err := ParseService(file)
		if err != nil {
			t.Log(err)
			continue
		}
		_, _, err = FindHelperService([]ServiceDirectory{{Path: filepath.Dir(file)}}, s.Name)
		if err == nil {
			t.Errorf("should be invalid: %s", file)
		}
		t.Log(err)
	}
}

// Configurations that say the same in different ways are equal.
func TestEquivalentConfigurationsOfTheCorpus(t *testing.T) {
	for _, first := range glob(t, corpus+"/equiv-config-files/*/*-1.conf") {
		a, err := Parse(first)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Parse(strings.Replace(first, "-1.conf", "-2.conf", 1))
		if err != nil {
			t.Fatal(err)
		}
		if x, y := describe(a, "."), describe(b, "."); x != y {
			t.Errorf("%s differs:\n%s\n%s", first, x, y)
		}
	}
}

func TestMain(m *testing.M) {
	// Tests do not depend on who runs them.
	os.Unsetenv("XDG_RUNTIME_DIR")
	os.Exit(m.Run())
}
