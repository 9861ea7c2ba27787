package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/internal/sandbox/policy"
)

// What it costs to be confined: a call through a custom endpoint with 100 rules, compared with one
// through the default endpoint, and with one through xdg-dbus-proxy with the same rules on the same bus.

// proxyProgram is what others confine programs with.
const proxyProgram = "xdg-dbus-proxy"

// endpointRules is how many rules there are, and those for the service that is called.
const (
	endpointRules = 100
	serviceRules  = 10
)

// confinement returns the rules, as flags: levels and rules for names that are not called, and for that which is,
// method by method, of which the last is called.
func confinement() []string {
	var flags []string
	for i := range endpointRules - serviceRules {
		name := fmt.Sprintf("org.kdbus.Other%d", i/2)
		if i%2 == 0 {
			flags = append(flags, "--see="+name+".*")
		} else {
			flags = append(flags, fmt.Sprintf("--call=%s=%s.Interface.*@/org/kdbus/Other%d/*", name, name, i/2))
		}
	}
	for i := range serviceRules - 1 {
		flags = append(flags, fmt.Sprintf("--call=%s=%s.Method%d@%s", serviceName, serviceInterface, i, servicePath))
	}
	return append(flags, fmt.Sprintf("--call=%s=%s.Call@%s", serviceName, serviceInterface, servicePath))
}

// confinementPolicies returns the same for an endpoint.
func confinementPolicies() ([]abi.Policy, error) {
	var p policy.Policy
	for _, flag := range confinement() {
		if err := p.AddFlag(flag); err != nil {
			return nil, err
		}
	}
	var policies []abi.Policy
	for _, e := range p.Entries() {
		policies = append(policies, e.ABI())
	}
	return policies, nil
}

// makeEndpoint makes a custom endpoint of the bus at socket, and returns that of the endpoint. It lasts until
// remove is called.
func makeEndpoint(socket string) (path string, remove func(), err error) {
	policies, err := confinementPolicies()
	if err != nil {
		return "", nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("make a socket: %w", err)
	}
	c := newClient(fd, bufferSize, newNative(false))
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err == nil {
		path, err = c.makeEndpoint(policies)
	}
	if err != nil {
		c.close()
		return "", nil, fmt.Errorf("make an endpoint of the bus at %s: %w", socket, err)
	}
	return path, c.close, nil
}

// makeEndpoint has the bus make an endpoint, instead of Hello.
func (c *client) makeEndpoint(policies []abi.Policy) (path string, err error) {
	if err := c.authenticate(); err != nil {
		return "", err
	}
	name := fmt.Sprintf("%d-bench-%d", os.Geteuid(), os.Getpid())
	request := frame(0, 0, &abi.EndpointMake{Name: name, Policies: policies}, nil)
	if err := c.write(append([]byte("BEGIN\r\n"), request...)); err != nil {
		return "", err
	}
	answer, err := c.reply()
	if err != nil {
		return "", err
	}
	_, items, err := abi.CutStruct(answer[abi.FrameHeaderSize:], "the answer to ENDPOINT_MAKE")
	if err != nil {
		return "", err
	}
	if path, err = abi.DecodePath(items); err == nil && path == "" {
		err = errors.New("the bus does not say where it is")
	}
	return path, err
}

// startProxy starts xdg-dbus-proxy for the bus of s, where s says, and returns its socket.
func startProxy(ctx context.Context, s site) (path string, stop func(), err error) {
	program, err := exec.LookPath(proxyProgram)
	if err != nil {
		return "", nil, fmt.Errorf("find %s: %w", proxyProgram, err)
	}
	dir, err := os.MkdirTemp("", "kdbus-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for %s: %w", proxyProgram, err)
	}
	p := &server{dir: dir, socket: filepath.Join(dir, "proxy")}
	if err := p.startProxy(ctx, program, s); err != nil {
		p.stop()
		return "", nil, fmt.Errorf("start %s: %w%s", proxyProgram, err, quote(p.stderr.Bytes()))
	}
	return p.socket, p.stop, nil
}

func (s *server) startProxy(ctx context.Context, program string, on site) error {
	out, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	command := append([]string{program, "--fd=3", address.UnixPath(on.socket).String(), s.socket, "--filter"}, confinement()...)
	err = s.run(on.cpus, command, in)
	in.Close()
	if err != nil {
		out.Close()
		return err
	}
	// It ends when the pipe is closed.
	s.release = func() { out.Close() }
	if err := out.SetReadDeadline(time.Now().Add(setupTime)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { out.SetReadDeadline(time.Now()) })
	defer stop()
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		return fmt.Errorf("wait until it is ready: %w", errors.Join(err, context.Cause(ctx)))
	}
	return nil
}

// through measures calls by name, of which the caller comes through a door that open opens.
func through(open func(context.Context, site) (path string, remove func(), err error)) func(context.Context, site) (map[string]float64, error) {
	return func(ctx context.Context, s site) (map[string]float64, error) {
		service, err := s.start(ctx, job{Role: "service", Named: true}, nil)
		if err != nil {
			return nil, err
		}
		defer service.stop()
		path, remove, err := open(ctx, s)
		if err != nil {
			return nil, err
		}
		defer remove()
		s.socket = path
		caller, err := s.start(ctx, job{Role: "caller", ByName: true}, nil)
		if err != nil {
			return nil, err
		}
		defer caller.stop()
		return measured(ctx, service, caller)
	}
}

// planEndpoint returns what is measured of endpoints, each compared with the one before. As with other short
// round trips, what they take where processes are free is not judged.
func planEndpoint(pinned bool) []measurement {
	none := func(_ context.Context, s site) (string, func(), error) { return s.socket, func() {}, nil }
	ours := func(_ context.Context, s site) (string, func(), error) { return makeEndpoint(s.socket) }
	all := []measurement{
		{id: "default", title: "call by name", run: through(none)},
		{id: "custom", title: fmt.Sprintf("call through an endpoint of %d rules", endpointRules), run: through(ours)},
		{id: "proxy", title: "call through " + proxyProgram + " with them", program: proxyProgram, run: through(startProxy)},
	}
	// The endpoint's should be at most 0.6 of the proxy's.
	targets := []Target{{}, {Bus: Kdbus, AtMost: 1.05}, {Bus: Kdbus, AtLeast: 1.67}}
	for i := range all {
		m := &all[i]
		m.group, m.id, m.native = "endpoint", "endpoint."+m.id, true
		m.outputs = []output{{value: valueP50, label: "p50", unit: Microseconds}}
		if i == 0 {
			continue
		}
		m.beside = all[i-1].id
		if m.outputs[0].target = (&Target{Bus: Kdbus}); pinned {
			m.outputs[0].target = &targets[i]
		}
	}
	return all
}

// withoutMissing returns the measurements that need no program, or one that is installed, and says of the others what
// is missing.
func withoutMissing(all []measurement) (rest []measurement, missing []string) {
	for _, m := range all {
		if _, err := exec.LookPath(m.program); m.program != "" && err != nil {
			missing = append(missing, fmt.Sprintf("%s: %s is not installed (Debian: apt-get install %s)", m.title, m.program, m.program))
			continue
		}
		rest = append(rest, m)
	}
	return rest, missing
}
