package activation

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
)

// Config describes how services are started on a bus.
type Config struct {
	// Endpoint is the door through which activators come to the bus.
	Endpoint *bus.Endpoint
	// Address returns where services find the bus. It is asked when one is started.
	Address func() string
	// Environment is what services inherit, NAME=VALUE; nil is the environment of this process.
	Environment []string
	// Systemd has services started by systemd if it can: dbus-daemon's option --systemd-activation.
	Systemd bool
	// Rules are the match rules of the bus. With them, services that have no unit are started by systemd,
	// too, in one that is made for the purpose; may be nil.
	Rules Rules
	// LaunchUnit is a template unit, such as kdbus-launch@.service, by which systemd starts services that name no
	// unit; the instance is called like the service. It is for a system bus that can neither start them itself, since
	// that takes privileges, nor have systemd make units for them. "" for none.
	LaunchUnit string
	// Journal sends what services print to the journal, instead of where this process prints.
	Journal bool
	// Log gets what happens to services. Nil discards.
	Log *slog.Logger

	Settings
}

// Settings are what can be changed by [Activation.Update].
type Settings struct {
	// Directories are where .service files are, in order of precedence.
	Directories []busconfig.ServiceDirectory
	// BusNames are the directories of .busname files, in order of precedence: see [busconfig.LoadBusNames].
	BusNames []string
	// Helper is the command line of the setuid program that starts services on a system bus; "" for none.
	Helper string
	// BusType is "session", "system", or what else the configuration calls the bus; may be "".
	BusType string
	// Timeout is how long a service may take until it owns its name (service_start_timeout); 0 is
	// DefaultTimeout.
	Timeout time.Duration
	// MaxPending is how many messages and calls of one user may wait for services to start
	// (max_pending_service_starts, which in dbus-daemon is for all users together); 0 is
	// DefaultMaxPending, and less is none.
	MaxPending int
	// MaxBytes is how long all of them may be together, in bytes; 0 is DefaultMaxBytes.
	MaxBytes int
}

// Defaults of Settings, which are dbus-daemon's; it has no MaxBytes.
const (
	DefaultTimeout    = 25 * time.Second
	DefaultMaxPending = 512
	DefaultMaxBytes   = 127 << 20
)

func (s *Settings) setDefaults() {
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.MaxPending == 0 {
		s.MaxPending = DefaultMaxPending
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = DefaultMaxBytes
	}
}

// An Activation starts the services of a bus. Safe for concurrent use.
type Activation struct {
	config    Config
	log       *slog.Logger
	protected bool // from being killed when memory is short

	updating sync.Mutex           // held while services are exchanged; taken before mu
	seen     []glance             // of the directories when they were read; guarded by updating
	warnings []busconfig.Warning  // that were logged; guarded by updating
	changed  bool                 // the names have changed since Update was called last; guarded by updating
	holders  map[string]*bus.Conn // of policies, by name; guarded by updating

	mu          sync.Mutex
	settings    Settings
	environment map[string]string
	services    map[string]*service
	waiting     map[bus.Payer]load
	closed      bool
	launched    uint64 // units that were made

	launcher launcher
}

// New makes the services of a bus known to it, to be ended by Close. What is wrong with .service files is
// logged.
func New(config Config) (*Activation, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	a := &Activation{
		config:      config,
		log:         config.Log,
		protected:   oomProtected(),
		environment: inherited(config.Environment),
		services:    make(map[string]*service),
		holders:     make(map[string]*bus.Conn),
		waiting:     make(map[bus.Payer]load),
	}
	a.launcher.activation = a
	if config.Systemd {
		if err := a.add(systemdName, nil, nil); err != nil {
			return nil, err
		}
	}
	a.Update(config.Settings)
	return a, nil
}

// Update puts new settings in force and reads the .service files again. It reports whether the names of
// services have changed since it was called last: files are read in between, too, if somebody calls what they
// may be about. What has been executed goes on, even what is no service any more; but what was about to be
// executed, by a file that has gone, fails, and who waits for it is told.
func (a *Activation) Update(settings Settings) (changed bool) {
	a.updating.Lock()
	defer a.updating.Unlock()
	settings.setDefaults()
	a.mu.Lock()
	a.settings = settings
	a.mu.Unlock()
	a.reload()
	changed, a.changed = a.changed, false
	return changed
}

// reload reads the .service files, and the .busname files. a.updating is held.
func (a *Activation) reload() {
	a.mu.Lock()
	settings := a.settings
	a.mu.Unlock()
	a.seen = look(settings.watched())
	loaded := busconfig.LoadServices(settings.Directories, settings.Helper != "")
	names, warnings := a.readBusNames(&settings)
	a.warn(slices.Concat(loaded.Warnings, warnings))
	files := names.services(loaded)
	for _, s := range a.all() {
		file := files[s.name]
		if s.define(file) {
			a.changed = true
		}
		if file == nil || names.acceptsFDs(s.name) != (s.conn.Flags()&bus.FlagAcceptFDs != 0) {
			s.retire() // to come back otherwise
		} else if err := s.conn.UpdatePolicies(names.policies(s.name)); err != nil {
			a.log.Warn("the policy of a name cannot be put in force", "name", s.name, "file", file.File, "error", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if a.service(name) != nil {
			continue
		}
		if err := a.add(name, files[name], names); err != nil {
			a.log.Warn("a service cannot be started by the bus", "service", name, "file", files[name].File, "error", err)
			continue
		}
		a.changed = true
	}
	a.protect(names)
}

// warn logs what is wrong with files, unless it has been said before. a.updating is held.
func (a *Activation) warn(warnings []busconfig.Warning) {
	for _, w := range warnings {
		if !slices.Contains(a.warnings, w) {
			a.log.Warn("a service file is not as it should be", "problem", w.String())
		}
	}
	a.warnings = warnings
}

// add makes a service known to the bus, with what .busname files say of its name.
func (a *Activation) add(name string, file *busconfig.Service, names busNames) error {
	s := &service{activation: a, name: name, file: file}
	conn, err := a.config.Endpoint.Connect(bus.ConnConfig{
		UID:           uint32(os.Geteuid()),
		Flags:         bus.FlagActivator,
		AcceptFDs:     names.acceptsFDs(name),
		ActivatorName: name,
		Service:       s,
		Policies:      names.policies(name),
		Receiver:      s,
		Description:   "service",
		Limits:        &bus.Limits{Quota: bus.Quota{Bytes: maxHeld, FDs: maxHeldFDs}},
	})
	if err != nil {
		return err
	}
	s.conn = conn
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		conn.Close()
		return errors.New("the bus is ending")
	}
	a.services[name] = s
	a.mu.Unlock()
	if err := conn.Hello(); err != nil {
		a.forget(s)
		conn.Close()
		return err
	}
	conn.Flush()
	return nil
}

// Limits of what waits for one service, per user; Settings has those for all together.
const (
	maxHeld    = 1 << 30 // bytes
	maxHeldFDs = 64
)

// forget takes s off the services.
func (a *Activation) forget(s *service) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.services[s.name] == s {
		delete(a.services, s.name)
	}
}

func (a *Activation) service(name string) *service {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.services[name]
}

func (a *Activation) all() []*service {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*service, 0, len(a.services))
	for _, s := range a.services {
		all = append(all, s)
	}
	return all
}

// Names returns the names of the services there are .service files for, sorted.
func (a *Activation) Names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	names := make([]string, 0, len(a.services))
	for name, s := range a.services {
		if s.file != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Systemd reports whether services are started by systemd.
func (a *Activation) Systemd() bool { return a.config.Systemd }

// Close ends the starting of services: programs that have not got as far as to own their names are
// killed, everybody who waits is told. Services that run go on, each with a goroutine here that
// reaps it when it ends.
func (a *Activation) Close() {
	a.updating.Lock()
	defer a.updating.Unlock()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	for _, s := range a.all() {
		s.giveUp(failure(spawnFailed, "NoReply", "The message bus ends"))
		a.forget(s)
		s.conn.Close()
	}
	for name, holder := range a.holders {
		holder.Close()
		delete(a.holders, name)
	}
	a.launcher.close()
}
