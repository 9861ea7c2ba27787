package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"github.com/kdbus-go/kdbus"
)

// player is the service of the scripts.
type player struct {
	Volume kdbus.Property[float64] `kdbus:",writable"`
	Tracks kdbus.Property[[]string]
	Build  kdbus.Property[map[string]kdbus.Variant] `kdbus:",const"`
	Cached kdbus.Property[uint32]                   `kdbus:",invalidates"`
	Ticked kdbus.Signal[struct {
		What string
		N    uint32
	}]
}

func (*player) Echo(v kdbus.Variant) (kdbus.Variant, error) { return v, nil }
func (*player) Fail(text string) error {
	return kdbus.NewError("com.example.Error.Bad", "%s", text)
}
func (*player) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (*player) Write(f *os.File, text string) error {
	defer f.Close()
	_, err := f.WriteString(text)
	return err
}
func (p *player) Tick(what string, n uint32) error {
	return p.Ticked.Emit(struct {
		What string
		N    uint32
	}{what, n})
}

// withService COMMAND...: run the command while com.example.Player is on the session bus.
func withService(args []string) error {
	ctx := context.Background()
	conn, err := (&kdbus.Dialer{Description: "player"}).DialSession(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	p := new(player)
	p.Volume.Set(0.5)
	p.Tracks.Set([]string{"one", "zwei\t\"é\""})
	p.Build.Set(map[string]kdbus.Variant{"numbers": {Value: []uint32{1, 2}}, "text": {Value: "x"}})
	for _, path := range []kdbus.ObjectPath{"/com/example/Player", "/com/example/Player/a", "/com/example/Player/a/b", "/com/other"} {
		if err := conn.Export(path, "com.example.Player", p); err != nil {
			return err
		}
	}
	if _, err := conn.RequestName(ctx, "com.example.Player", kdbus.DoNotQueue); err != nil {
		return err
	}
	return runHere(exec.Command(args[0], args[1:]...))
}

func runHere(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(exit.ExitCode())
	}
	return err
}

// during WATCHER... -- COMMAND...: start the watcher, run the command as soon as the watcher has said
// something on standard error, and wait for the watcher.
func during(args []string) error {
	split := slices.Index(args, "--")
	watcher := exec.Command(args[0], args[1:split]...)
	watcher.Stdout = os.Stdout
	stderr, err := watcher.StderrPipe()
	if err != nil {
		return err
	}
	if err := watcher.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(stderr)
	if lines.Scan() {
		fmt.Fprintln(os.Stderr, lines.Text())
	}
	cmd := exec.Command(args[split+1], args[split+2:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // what the watcher prints is what counts
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for lines.Scan() {
		fmt.Fprintln(os.Stderr, lines.Text())
	}
	err = watcher.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(exit.ExitCode())
	}
	return err
}
