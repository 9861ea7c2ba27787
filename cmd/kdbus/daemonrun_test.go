package main

import (
	"log/slog"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/busconfig"
)

// A bus whose configuration cannot be read for now, as the file system does not answer, ends when it is told to.
func TestBusEndsWhileItReloads(t *testing.T) {
	p := &busProcess{file: new(busconfig.Config), log: slog.New(slog.DiscardHandler)}
	signals, begun, end := make(chan os.Signal), make(chan struct{}, 1), make(chan struct{})
	defer close(end)
	until := func() error { <-end; return nil }
	go func() {
		signals <- unix.SIGHUP
		<-begun
		for range 3 {
			signals <- unix.SIGHUP
		}
		signals <- unix.SIGTERM
	}()
	reload := func() error {
		begun <- struct{}{}
		return until()
	}
	if err := p.untilEnd(until, reload, signals); err != nil {
		t.Error(err)
	}
}
