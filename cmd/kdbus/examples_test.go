package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/kdbustest"
)

// takes ARGUMENT...: judge a command line of kdbus, and that behind its --, if it is one, without
// executing anything. Each becomes a line of the file $TAKEN, with what is wrong with it.
func takes(args []string) error {
	log, err := os.OpenFile(os.Getenv("TAKEN"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	for {
		root := newRootCommand()
		cmd, rest, err := root.Find(arrange(root, args))
		if err == nil && !slices.Contains(args, "--help") {
			err = cmd.ParseFlags(rest)
			if rest = cmd.Flags().Args(); err == nil {
				err = cmd.ValidateArgs(rest)
			}
		}
		verdict := "taken"
		if err != nil {
			verdict = err.Error()
		}
		if _, err := fmt.Fprintf(log, "kdbus %s: %s\n", strings.Join(args, " "), verdict); err != nil {
			return err
		}
		dash := cmd.Flags().ArgsLenAtDash()
		if dash < 0 || dash >= len(rest) || rest[dash] != "kdbus" {
			return nil
		}
		args = rest[dash+1:]
	}
}

// shell returns a command that executes a script in bash, below a directory of the test. Programs
// are those of these tests; others only let pass what is written to them.
func shell(t *testing.T, script string) *exec.Cmd {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	own, err := exec.LookPath("takes")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, file := range []string{"app.policy", "new.conf"} { // which examples read
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(bash, "--norc", "-c",
		"command_not_found_handle() { trap '' INT; echo '"+standIn+"' >&2; while IFS= read -r line; do printf '%s\\n' \"$line\"; done; }\n"+script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + filepath.Dir(own), "TMPDIR=" + dir, "HOME=" + dir, "GORACE=" + os.Getenv("GORACE")}
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // to be ended with all that it starts
	return cmd
}

// standIn is what a program says that is not here and passes on what it reads, as soon as SIGINT does not end it.
const standIn = "A stand-in passes on what it reads."

// checkTaken judges all command lines of kdbus in a script.
func checkTaken(t *testing.T, script string) {
	t.Helper()
	cmd := shell(t, "kdbus() { takes \"$@\"; }\n"+script)
	taken := filepath.Join(cmd.Dir, "taken")
	cmd.Env = append(cmd.Env, "TAKEN="+taken)
	// What is not there fails, and "takes" says so in the file.
	out, _ := cmd.CombinedOutput()
	lines, err := os.ReadFile(taken)
	if err != nil {
		t.Errorf("no command of kdbus is in\n%s\nbash says: %s", script, out)
	}
	for line := range strings.Lines(string(lines)) {
		if !strings.HasSuffix(line, ": taken\n") {
			t.Error(line)
		}
	}
	said := len(commandLine.FindAllString(withoutComments(script), -1))
	if got := bytes.Count(lines, []byte("\n")); got != said {
		t.Errorf("%d commands of kdbus were taken, want %d:\n%s\nof\n%s\nbash says: %s", got, said, lines, script, out)
	}
}

// commandLine is where a command of kdbus begins.
var commandLine = regexp.MustCompile(`(?m)(^ *|[(|;&] *|-- )kdbus `)

func withoutComments(script string) string {
	return regexp.MustCompile(`(?m)(^| ) *#.*$`).ReplaceAllString(script, "")
}

// eachCommand calls do for each command that users see.
func eachCommand(t *testing.T, do func(*testing.T, *cobra.Command)) {
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "help" {
			return
		}
		t.Run(strings.ReplaceAll(cmd.CommandPath(), " ", "-"), func(t *testing.T) { do(t, cmd) })
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRootCommand())
}

func TestExamplesAreTaken(t *testing.T) {
	eachCommand(t, func(t *testing.T, cmd *cobra.Command) {
		if cmd.Example == "" {
			if cmd.Runnable() && cmd.Name() != "version" {
				t.Error("there is no example")
			}
			return
		}
		checkTaken(t, strings.ReplaceAll(cmd.Example, "kdbus COMMAND --help", "kdbus list --help"))
	})
}

// The documents' command lines are taken, too, and what they make can be made.
func TestDocumentedCommandsAreTaken(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range append(documents, "../../README.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(document), func(t *testing.T) {
			for _, target := range regexp.MustCompile("(?m)(^    |`)make ([a-z]+)").FindAllStringSubmatch(string(text), -1) {
				if !bytes.Contains(makefile, []byte("\n"+target[2]+":")) {
					t.Errorf("there is no target for make %s", target[2])
				}
			}
			// Indented, in one line or going on in the next; all else in such lines is not executed.
			commands := regexp.MustCompile(`(?m)^    (?:.*\| )?((?:\./)?kdbus .*(?:\\\n.*)*)`).FindAllStringSubmatch(string(text), -1)
			for _, command := range commands {
				checkTaken(t, strings.TrimPrefix(command[1], "./"))
			}
		})
	}
}

// Why an example is not executed here as it is.
const (
	endless   = "ends at Ctrl-C; it gets that when it has said something"
	elsewhere = "depends on what is on the machine, or would change it"
	lengthy   = "takes long"
	other     = "is for another shell, or runs programs that need not be here"
)

// notJustExecuted are the lines of examples that are not simply executed and succeed.
var notJustExecuted = map[string]string{
	"kdbus COMMAND --help": other,
	"kdbus bench":          lengthy,
	"kdbus bench --address unix:path=/run/bus --only roundtrip,inflight": elsewhere,
	"kdbus bench --compare":                                                        lengthy,
	"kdbus bench --compare --policies 300":                                         lengthy,
	"kdbus bench --compare --against= --json":                                      lengthy,
	"kdbus capture --user > bus.pcapng":                                            endless,
	"kdbus daemon --print-address":                                                 endless,
	"kdbus daemon --address unix:path=/tmp/a --address unix:abstract=b":            elsewhere,
	"kdbus daemon --system":                                                        elsewhere,
	"kdbus daemon --domain \"$XDG_RUNTIME_DIR/kdbus\" --address unix:runtime=yes":  elsewhere,
	"kdbus man --directory=/usr/local/share/man/man1":                              elsewhere,
	"kdbus monitor --user":                                                         endless,
	"kdbus monitor --user --latency org.freedesktop.locale1":                       endless,
	"kdbus monitor --user --match \"type='signal'\" --json=short | jq .member":     endless,
	"kdbus run -- make check":                                                      other,
	"kdbus run -- bash":                                                            other,
	"kdbus run --session -- gsettings list-schemas":                                elsewhere,
	"kdbus run -- sh -c 'busctl --user status; busctl --user list'":                other,
	"kdbus status 1234":                                                            elsewhere,
	"kdbus top --user":                                                             lengthy,
	"kdbus top --user --interval=10s --json=pretty":                                lengthy,
	"kdbus completion fish | source":                                               other,
	"source <(kdbus completion zsh)":                                               other,
	"mkdir -p /run/kdbusfs && kdbus mount /run/kdbusfs":                            elsewhere,
	"unshare --user --map-root-user --mount kdbus mount --domain /tmp/domain /mnt": elsewhere,
}

// scripted are the commands and examples of which a script in testdata shows that they work, with the configuration,
// the domain, or the file of a policy that they need.
var scripted = regexp.MustCompile(`^kdbus (policy|bus|name (acquire|activate|protect)|sandbox|endpoint make --system|endpoint make --user --policy)\b`)

// Every other example does what it is an example of, where those are of whom the examples speak.
func TestExamplesWork(t *testing.T) {
	bus := kdbustest.Start(t)
	inhabit(t, bus.Address())
	unused := maps.Clone(notJustExecuted)
	eachCommand(t, func(t *testing.T, cmd *cobra.Command) {
		if scripted.MatchString(cmd.CommandPath()) {
			return
		}
		for _, example := range split(cmd.Example) {
			if scripted.MatchString(example) {
				continue
			}
			why, special := notJustExecuted[example]
			delete(unused, example)
			if !special || why == endless {
				t.Run(example, func(t *testing.T) { executeExample(t, bus.Address(), example, why == endless) })
			}
		}
	})
	for example := range unused {
		t.Errorf("there is no example %q any more", example)
	}
}

// split returns examples without comments: paragraphs below a comment, and lines.
func split(text string) (examples []string) {
	text = regexp.MustCompile(`\\\n *`).ReplaceAllString(text, "")
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		lines := strings.TrimSpace(withoutComments(paragraph))
		if strings.HasPrefix(strings.TrimSpace(paragraph), "#") {
			examples = append(examples, lines)
			continue
		}
		for line := range strings.Lines(lines) {
			examples = append(examples, strings.TrimSpace(line))
		}
	}
	return slices.DeleteFunc(examples, func(e string) bool { return e == "" })
}

// executeExample executes an example on the session bus at an address. If it is without end, it gets
// SIGINT when it has said something.
func executeExample(t *testing.T, address, example string, endless bool) {
	cmd := shell(t, "set -o pipefail; "+example)
	cmd.Env = append(cmd.Env, "DBUS_SESSION_BUS_ADDRESS="+address)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	end := func(sig unix.Signal) { unix.Kill(-cmd.Process.Pid, sig) }
	late := time.AfterFunc(time.Minute, func() { end(unix.SIGABRT) }) // when something hangs, say where
	defer late.Stop()
	said := firstWords(out, endless && strings.Contains(example, " | "))
	if endless {
		end(unix.SIGINT)
	}
	rest := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(out) // until nobody is left
		rest <- b
	}()
	err = cmd.Wait()
	end(unix.SIGTERM) // what goes on in the background
	if all := append(said, <-rest...); err != nil {
		t.Errorf("%v; it said:\n%s", err, all)
	}
}

// firstWords reads until something was said, and, in a pipeline, until whoever stands in there can take SIGINT, too.
func firstWords(out io.Reader, pipeline bool) (said []byte) {
	for {
		chunk := make([]byte, 512)
		n, err := out.Read(chunk)
		said = append(said, chunk[:n]...)
		before, after, standsIn := bytes.Cut(said, []byte(standIn+"\n"))
		if err != nil || !pipeline || standsIn && len(before)+len(after) > 0 {
			return said
		}
	}
}

// inhabit puts on a bus those of whom the examples speak. They emit and are called all the time.
func inhabit(t *testing.T, address string) {
	t.Helper()
	ctx := t.Context()
	service, err := kdbus.Dial(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	if err := service.Export("/com/example/Player", "com.example.Player", new(player)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"com.example.Player", "com.example.Remote", localeName, "org.freedesktop.portal.Desktop"} {
		if _, err := service.RequestName(ctx, name, kdbus.DoNotQueue); err != nil {
			t.Fatal(err)
		}
	}
	caller, err := kdbus.Dial(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	var busy sync.WaitGroup
	t.Cleanup(busy.Wait)
	t.Cleanup(func() { caller.Close() })
	busy.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for err == nil {
			<-tick.C
			if err = service.Emit(ctx, "/com/example/Player", "com.example.Player.Stopped"); err == nil {
				_, err = caller.Object(localeName, localePath).Call(ctx, "org.freedesktop.DBus.Peer.Ping")
			}
		}
	})
}
