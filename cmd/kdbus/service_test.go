package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/wire"
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
func (*player) Leave() error {
	os.Exit(0)
	return nil
}
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

// withSleeper COMMAND...: run the command while com.example.Sleeper is on the session bus, who does not
// read, and to whom twice 16 MiB have been sent.
func withSleeper(args []string) error {
	ctx := context.Background()
	sleeper, err := sleep(os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	if err != nil {
		return err
	}
	defer sleeper.Close()
	conn, err := kdbus.DialSession(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.WaitForName(ctx, "com.example.Sleeper"); err != nil {
		return err
	}
	for range 2 {
		if err := conn.Object("com.example.Sleeper", "/").Send(ctx, "com.example.Sleeper.Take", make([]byte, 16<<20)); err != nil {
			return err
		}
	}
	return runHere(exec.Command(args[0], args[1:]...))
}

// sleep puts com.example.Sleeper on a bus.
func sleep(addr string) (net.Conn, error) {
	list, err := address.Parse(addr)
	if err != nil {
		return nil, err
	}
	path, _ := list[0].Get("path")
	socket, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	said := []byte("\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
	for serial, call := range []struct {
		member string
		args   []any
	}{{"Hello", nil}, {"RequestName", []any{"com.example.Sleeper", uint32(0)}}} {
		body, signature, err := wire.AppendBody(nil, wire.LittleEndian, call.args...)
		if err != nil {
			return nil, err
		}
		m := wire.Message{Body: body, Header: wire.Header{Order: wire.LittleEndian, Type: wire.TypeMethodCall, Serial: uint32(serial + 1),
			Path: "/", Interface: busName, Member: call.member, Destination: busName, Signature: string(signature)}}
		if said, err = m.Append(said); err != nil {
			return nil, err
		}
	}
	_, err = socket.Write(said)
	return socket, err
}

// overfill NAME: call NAME, who does not read, with large messages until the bus refuses one, and say so.
func overfill(args []string) error {
	conn, err := kdbus.DialSession(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	const calls = 8 // what waits already, and seven of these, is all that there is space for
	refused := make(chan error, calls)
	content := make([]byte, 16<<20)
	for range calls {
		go func() {
			_, err := conn.Object(args[0], "/").Call(context.Background(), "com.example.Sleeper.Take", content)
			refused <- err
		}()
	}
	err = <-refused
	if errors.Is(err, kdbus.ErrLimitsExceeded) {
		fmt.Fprintln(os.Stderr, "refused")
		return nil
	}
	return err
}
