package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/internal/sandbox"
	"github.com/kdbus-go/kdbus/internal/sandbox/policy"
)

// sandboxChild is the first argument of this program where it is in a sandbox: see sandbox.Config.Self.
const sandboxChild = "sandbox-child"

// run runs argv in the sandbox. The error has the exit code; it is nil for 0.
func (o *sandboxOptions) run(ctx context.Context, argv []string, stderr io.Writer) error {
	fail := func(err error) error { return &exitError{exitRunFailure, err} }
	signals := make(chan os.Signal, 16)
	notifyUnlessIgnored(signals, forwarded...)
	// Caught rather than ignored: COMMAND must not inherit that.
	notifyUnlessIgnored(make(chan os.Signal, 1), unix.SIGPIPE)

	refusals := newRefusals(o, stderr)
	endpoint, list, err := o.makeEndpoint(ctx, refusals.note())
	if err != nil {
		return fail(err)
	}
	defer endpoint.Close()

	config, inside, err := o.outline(list, endpoint)
	if err != nil {
		return fail(err)
	}
	config.Argv = argv
	config.Env = o.environment(os.Environ(), inside)
	box, err := sandbox.Start(config)
	if start, ok := errors.AsType[*sandbox.StartError](err); ok && !start.NotFound {
		return &exitError{exitNotExecutable, err}
	}
	if err != nil {
		return fail(err)
	}
	for {
		select {
		case sig := <-signals:
			if !fromTerminal(sig) {
				box.Signal(sig.(unix.Signal))
			}
		case <-endpoint.Done():
			// A bus that comes in its place would not know of the sandbox.
			box.Kill()
			box.Wait()
			return fail(errors.New("the bus has ended, and so has the command"))
		case <-box.Ended():
			if err := refusals.end(ctx, endpoint); err != nil {
				return fail(err)
			}
			return o.end(box)
		}
	}
}

// end passes on how the command ended.
func (o *sandboxOptions) end(box *sandbox.Sandbox) error {
	code, err := box.Wait()
	switch {
	case err != nil:
		return &exitError{exitRunFailure, err}
	case code != 0:
		return &exitError{code: code}
	}
	return nil
}

// makeEndpoint makes the endpoint of the sandbox, which tells refused what it does not let through. It also returns the addresses of the bus.
func (o *sandboxOptions) makeEndpoint(ctx context.Context, refused func(kdbus.Refusal)) (*kdbus.Endpoint, []address.Address, error) {
	addr, from := o.bus.where()
	if from != "" {
		from = " (from " + from + ")"
	}
	list, err := address.Parse(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("%w%s", err, from)
	}
	config := kdbus.EndpointConfig{
		Name:    fmt.Sprintf("%d-sandbox-%s", os.Geteuid(), strings.ToLower(rand.Text()[:12])),
		Refused: refused,
	}
	if config.Policies, err = namePolicies(o.policy.Entries()); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	var failures []error
	for _, a := range list {
		endpoint, err := kdbus.MakeEndpoint(ctx, a.String(), config)
		if err == nil {
			return endpoint, list, nil
		}
		failures = append(failures, noEndpoint(a, from, err))
	}
	return nil, nil, errors.Join(failures...)
}

// namePolicies returns entries as those of an endpoint. Whoever comes through that is in the sandbox.
func namePolicies(entries []policy.Entry) ([]kdbus.NamePolicy, error) {
	levels := [...]kdbus.AccessLevel{policy.See: kdbus.AccessSee, policy.Talk: kdbus.AccessTalk, policy.Own: kdbus.AccessOwn}
	var policies []kdbus.NamePolicy
	for _, e := range entries {
		p := kdbus.NamePolicy{Name: e.Name, Subtree: e.Subtree,
			Access: []kdbus.Access{{Kind: kdbus.AccessWorld, Level: levels[e.Level]}}}
		var err error
		if p.Calls, err = matches(e.Calls); err == nil {
			p.Broadcasts, err = matches(e.Broadcasts)
		}
		if err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	return policies, nil
}

func matches(texts []string) ([]kdbus.Match, error) {
	list := make([]kdbus.Match, len(texts))
	for i, text := range texts {
		var err error
		if list[i], err = kdbus.ParseMatch(text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// noEndpoint says why the bus at an address has made no endpoint, and what to do.
func noEndpoint(a address.Address, from string, err error) error {
	where := fmt.Sprintf("the bus at %s%s", a.With("guid", ""), from)
	switch {
	case errors.Is(err, kdbus.ErrNotNative):
		return fmt.Errorf("%s cannot make endpoints, as it is not kdbus; use xdg-dbus-proxy", where)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%s does not let user %d make endpoints here: it lets root and the user that it belongs to, and nobody in a sandbox; "+
			"use xdg-dbus-proxy", where, os.Geteuid())
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%s has made as many endpoints for user %d as it may; end other sandboxes", where, os.Geteuid())
	case errors.Is(err, syscall.EMSGSIZE):
		return fmt.Errorf("there are more rules than an endpoint can have, for which there are 32 KiB: use fewer, such as one for NAME.* instead of several: %w", err)
	}
	return noBus(a, from, err)
}

// outline returns what is the bus's in the file system, and the address at which COMMAND finds the endpoint. The
// bus was found by list.
func (o *sandboxOptions) outline(list []address.Address, endpoint *kdbus.Endpoint) (config sandbox.Config, inside string, err error) {
	config = sandbox.Config{
		Self: []string{sandboxChild},
		Door: endpoint.Path(),
		// The domain, or the directory that is one for a bus without: with its control, and the endpoints of all its buses.
		Hidden:    []string{filepath.Dir(filepath.Dir(endpoint.Path()))},
		NoNetwork: o.noNetwork,
	}
	inside = address.UnixPath(endpoint.Path()).String()
	config.Sockets = socketFiles(list)
	if i := slices.IndexFunc(config.Sockets, fileExists); i >= 0 {
		inside = address.UnixPath(config.Sockets[i]).String()
	}
	others, err := address.Parse(endpoint.BusAddresses())
	if err != nil {
		return config, "", fmt.Errorf("where the bus listens: %w", err)
	}
	for _, a := range others {
		if a.Transport != "unix" && !o.noNetwork {
			return config, "", fmt.Errorf("the bus also listens at %s, from where only --no-network keeps the command", a.With("guid", ""))
		}
	}
	config.Sockets = append(config.Sockets, socketFiles(others)...)
	return config, inside, nil
}

// socketFiles returns the sockets in the file system that addresses are about.
func socketFiles(list []address.Address) (files []string) {
	for _, a := range list {
		if name, err := a.UnixName(); err == nil && name[0] != '@' {
			files = append(files, name)
		}
	}
	return files
}

// environment returns env as COMMAND is to see it.
func (o *sandboxOptions) environment(env []string, inside string) []string {
	variable := "DBUS_SESSION_BUS_ADDRESS"
	if o.bus.scope() == "system" {
		variable = "DBUS_SYSTEM_BUS_ADDRESS"
	}
	out := make([]string, 0, len(env)+1)
	for _, v := range env {
		switch name, _, _ := strings.Cut(v, "="); name {
		case variable, "DBUS_SESSION_BUS_PID", "DBUS_SESSION_BUS_WINDOWID", "DBUS_STARTER_ADDRESS", "DBUS_STARTER_BUS_TYPE",
			"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES": // of descriptors, which it does not inherit
		default:
			out = append(out, v)
		}
	}
	return append(out, variable+"="+inside)
}
