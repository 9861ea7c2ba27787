package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/address"
)

// waitForSocket waits until one of the addresses that are socket files is there. Addresses of
// other kinds are there, or not, at once.
func waitForSocket(ctx context.Context, list []address.Address) error {
	var paths []string
	for _, a := range list {
		path, ok := a.Get("path")
		if !ok || a.Transport != "unix" {
			return nil
		}
		paths = append(paths, path)
	}
	for {
		for _, path := range paths {
			if _, err := os.Stat(path); err == nil {
				return nil
			}
		}
		if err := waitForFile(ctx, paths); err != nil {
			return fmt.Errorf("wait for %s: %w", paths[0], err)
		}
	}
}

// waitForFile returns when something has happened where one of the paths may appear: in the nearest
// directory above it that exists.
func waitForFile(ctx context.Context, paths []string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify_init: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	for _, path := range paths {
		dir := filepath.Dir(path)
		for {
			_, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ATTRIB|unix.IN_DELETE_SELF)
			if err == nil {
				break
			}
			if dir == "/" || dir == "." {
				return fmt.Errorf("watch %s: %w", dir, err)
			}
			dir = filepath.Dir(dir)
		}
		if _, err := os.Stat(path); err == nil {
			return nil // it came before the watch
		}
	}
	defer context.AfterFunc(ctx, func() { events.SetReadDeadline(time.Unix(1, 0)) })()
	if _, err := events.Read(make([]byte, 4096)); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return nil
}
