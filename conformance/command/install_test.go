//go:build conformance

package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

// install runs make install, and returns the directory that is /usr there.
func install(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("make", "-C", "../..", "install", "DESTDIR="+dir, "PREFIX=/usr")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	return filepath.Join(dir, "usr")
}

// What is installed is where people and shells look, and man has nothing to complain about.
func TestManualPagesAreInstalledAndFormatted(t *testing.T) {
	usr := install(t)
	if out, err := exec.Command(filepath.Join(usr, "bin/kdbus"), "version").Output(); err != nil || !strings.HasPrefix(string(out), "kdbus ") {
		t.Errorf("kdbus version prints %q, %v", out, err)
	}
	help, err := exec.Command(filepath.Join(usr, "bin/kdbus"), "help").Output()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(usr, "share/man/man1/*.1"))
	if err != nil {
		t.Fatal(err)
	}
	commands, _, _ := strings.Cut(string(help), "Flags:")
	for line := range strings.Lines(commands) { // each has a page
		words := strings.Fields(line)
		if len(words) < 3 || !strings.HasPrefix(line, "  ") || strings.HasPrefix(words[0], "-") || words[0] == "kdbus" || words[0] == "source" || words[0] == "help" {
			continue
		}
		if _, err := os.Stat(filepath.Join(usr, "share/man/man1", "kdbus-"+words[0]+".1")); err != nil {
			t.Error(err)
		}
	}
	for _, page := range pages {
		cmd := exec.Command("man", "--warnings", "-l", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=100", "PAGER=cat")
		var complaints strings.Builder
		cmd.Stderr = &complaints
		text, err := cmd.Output()
		if err != nil || complaints.Len() > 0 || !strings.Contains(string(text), "SYNOPSIS") || !strings.Contains(string(text), "EXIT STATUS") {
			t.Errorf("man %s: %v\n%s%s", page, err, complaints.String(), text)
		}
		if out, err := exec.Command("lexgrog", page).CombinedOutput(); err != nil {
			t.Errorf("what whatis(1) would index of %s: %v\n%s", page, err, out)
		}
	}
}

// completions are what is typed before Tab, and the line that comes of it.
var completions = []struct{ typed, want string }{
	{"moni", "monitor"},
	{"status --user com.exa", "status --user com.example.Player"},
	{"--user status com.exa", "--user status com.example.Player"},
	{"tree --user org.freedesktop.DB", "tree --user org.freedesktop.DBus"},
	{"introspect --user com.example.Player /com/o", "introspect --user com.example.Player /com/other"},
	{"introspect --user com.example.Player /com/other com.", "introspect --user com.example.Player /com/other com.example.Player"},
	{"call --user com.example.Player /com/other com.example.Player Fa", "call --user com.example.Player /com/other com.example.Player Fail"},
	{"get-property --user com.example.Player /com/other com.example.Player Vol", "get-property --user com.example.Player /com/other com.example.Player Volume"},
	{"set-property --user com.example.Player /com/other com.example.Player V", "set-property --user com.example.Player /com/other com.example.Player Volume"},
	{"list --json=pr", "list --json=pretty"},
	{"list --activ", "list --activatable"},
}

func TestShellsComplete(t *testing.T) {
	usr := install(t)
	bus := testbus.StartKind(t, testbus.KDBus, testbus.Options{})
	startPlayer(t, bus)
	env := append(environ(bus), "PATH="+filepath.Join(usr, "bin")+":"+os.Getenv("PATH"), "TERM=dumb", "HOME="+t.TempDir(), "EDITOR=", "VISUAL=")
	const ready = "print it> "
	share := filepath.Join(usr, "share")
	bashScript := "source " + share + "/bash-completion/completions/kdbus; "
	for _, shell := range []struct {
		name, setup string
		argv        []string
	}{
		{"bash", bashScript, []string{"bash", "--norc", "--noprofile", "-i"}},
		{"bash with bash-completion", "source /usr/share/bash-completion/bash_completion; " + bashScript, []string{"bash", "--norc", "--noprofile", "-i"}},
		{"zsh", "fpath=(" + share + "/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D; bindkey -e; unsetopt PROMPT_SP PROMPT_CR; ", []string{"zsh", "-f", "-i"}},
	} {
		t.Run(shell.name, func(t *testing.T) {
			terminal := onTerminal(t, 200, env, shell.argv...)
			terminal.write(t, shell.setup+"PS1='print 'it'> '\r")
			terminal.until(t, ready)
			for _, c := range completions {
				// With the cursor at the beginning of the completed line, that is made the argument of echo.
				terminal.write(t, "kdbus "+c.typed+"\t\x01echo 'RE'SULT \r")
				terminal.until(t, "\nRESULT kdbus ")
				line := terminal.until(t, "\n")
				if got := strings.TrimSpace(line); got != c.want {
					t.Errorf("%q is completed to %q, want %q", c.typed, got, c.want)
				}
				terminal.until(t, ready)
			}
		})
	}
	t.Run("fish", func(t *testing.T) {
		for _, c := range append(completions, struct{ typed, want string }{"status --user :1.", "status --user :1.1"}) {
			cmd := exec.Command("fish", "--command", "complete -C $argv[1]", "kdbus "+c.typed)
			cmd.Env = append(env, "XDG_DATA_DIRS="+share+":/usr/share")
			out, err := cmd.CombinedOutput()
			words := strings.Fields(c.want)
			found := false
			for line := range strings.Lines(string(out)) {
				word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				found = found || word == words[len(words)-1]
			}
			if err != nil || !found {
				t.Errorf("of %q come %q, %v; want %q", c.typed, out, err, c.want)
			}
		}
	})
}
