package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/activation"
	"github.com/kdbus-go/kdbus/address"
	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/dbus1"
	"github.com/kdbus-go/kdbus/kdbusfs"
	"github.com/kdbus-go/kdbus/meta"
	"github.com/kdbus-go/kdbus/native"
	"github.com/kdbus-go/kdbus/transport"
)

// Config says what bus to start. The zero value is a bus at [DefaultAddress] with
// dbus-daemon's limits for clients of the user who starts it.
type Config struct {
	// Addresses are the D-Bus addresses to listen on, all of them. Each may be a list
	// separated by semicolons, of which the first that can be opened is used. See
	// address.Address.Listenable for what is possible. Without any, DefaultAddress.
	Addresses []string
	// File is a configuration of dbus-daemon for the bus to follow, as [Load] returns it, now and
	// after [Daemon.Reload]. AllowAnonymous, Mechanisms and Limits are what it says then, and so are
	// Addresses, unless there are any. What it says about the process (user, fork, pidfile,
	// keep_umask, syslog) is for the caller to do.
	File *busconfig.Config
	// SystemdActivation starts services by way of systemd.
	SystemdActivation bool
	// LaunchUnit is a template unit, such as kdbus-launch@.service, by which systemd starts services
	// that name no unit themselves. "" for none.
	LaunchUnit string
	// Journal sends what services print to the journal, instead of where this process prints.
	Journal bool
	// Domain is a directory where the bus is to be found, too, and where clients can make other buses: see
	// docs/administration.md. It is made if there is none. The bus is called there after the user who starts
	// it, 0-system for root and UID-user for others; its socket comes last in Daemon.Addresses. If there is a
	// Domain, but neither Addresses nor a File, it is the only one. A directory that another daemon serves is
	// an error. "" for none: see [DefaultDomain].
	Domain string
	// Mount is a directory where the domain is to be found as kdbus's file system, by programs that were built for
	// that: see package kdbusfs. The directory has to be there, and it takes a Domain. "" for none.
	Mount string
	// Listening is called once the sockets listen and before anything is read from clients,
	// with what Daemon.Address will return. It is the moment to become another user. An error
	// ends the start. It may be nil.
	Listening func(address string) error
	// Owner is the user that Listening makes of this process; nil if it stays who it is. Files that are
	// made before and are for the bus alone, as those of nonce-tcp: are, are given to it.
	Owner *Owner
	// Notify is told what sd_notify(3) should tell a service manager while the daemon runs: that it
	// reloads its configuration, and that it has. It may be nil.
	Notify func(state string)
	// Log receives what an administrator wants to know; nil discards it.
	Log *slog.Logger
	// MachineID is what GetMachineId answers, 32 hexadecimal digits. Without one it is
	// read from /etc/machine-id or /var/lib/dbus/machine-id; on a machine that has
	// neither, GetMachineId fails and everything else works.
	MachineID string
	// AllowAnonymous admits clients that do not say who they are.
	AllowAnonymous bool
	// Mechanisms are those by which clients may authenticate, of transport.Mechanisms; nil means
	// EXTERNAL, over TCP DBUS_COOKIE_SHA1, and ANONYMOUS if that is allowed.
	Mechanisms []string
	// Limits are the D-Bus 1 front-end's; zero fields mean dbus-daemon's defaults.
	Limits dbus1.Limits
	// Metadata are the kinds of metadata that receivers can have attached to messages; nil
	// means all.
	Metadata *meta.Kinds
	// RequiredMetadata are the kinds that every native client has to let others see; one that
	// keeps some to itself is refused.
	RequiredMetadata meta.Kinds
}

// DefaultAddress is where a bus listens that was not told where: unix:runtime=yes when
// the environment has XDG_RUNTIME_DIR, else unix:tmpdir=/tmp.
func DefaultAddress() string {
	if os.Getenv("XDG_RUNTIME_DIR") != "" {
		return "unix:runtime=yes"
	}
	return "unix:tmpdir=/tmp"
}

// Daemon is a running bus. Its methods are safe for concurrent use.
type Daemon struct {
	log     *slog.Logger
	config  Config
	poller  *transport.Poller // of all servers
	bus     *bus.Bus
	hub     *hub          // what serves it
	server  *dbus1.Server // its default endpoint
	nodes   privateNodes
	domain  *domain        // nil without
	control *native.Server // of the domain, for kdbusfs
	mounted *kdbusfs.FS    // nil without
	inodes  atomic.Uint64  // given away so far
	// background is what goes on until the end: the servers of what clients have made
	background sync.WaitGroup
	// denials logs what is denied to clients
	denials *denials
	// activation starts services; nil without a configuration
	activation *activation.Activation
	doors      []*door
	name       string // of the bus
	dir        string // to be removed at the end; "" when there is none
	watch      *watch // of the configuration; nil without

	reloading sync.Mutex        // held while the configuration is read again
	file      *busconfig.Config // the last one read; guarded by reloading; nil without
	inForce   atomic.Pointer[busconfig.Config]

	fail     sync.Once // guards err
	err      error     // why the first door broke; not read before done is closed
	shutdown sync.Once
	started  chan struct{} // closed when everything has been made
	ending   chan struct{} // closed when Shutdown begins, or nothing will start
	done     chan struct{} // closed when nothing is left
}

// door is a socket that the server accepts on. Each address has a GUID of its own
// (specification, "Server Addresses").
type door struct {
	*listener
	guid   string
	served chan struct{} // closed when Serve has returned
}

func newDoor(l *listener) *door {
	return &door{listener: l, guid: newGUID(), served: make(chan struct{})}
}

// Start opens all addresses and serves clients until [Daemon.Shutdown]. When it
// returns without error, every socket listens; else nothing is left behind.
func Start(config Config) (*Daemon, error) { return start(config, "") }

// start is Start for a daemon that removes dir when it ends.
func start(config Config, dir string) (*Daemon, error) {
	config = config.withDefaults()
	if config.File != nil {
		logWarnings(config.Log, nil, config.File)
	}
	d := &Daemon{log: config.Log, config: config, file: config.File, dir: dir, name: busName(config.File),
		started: make(chan struct{}), ending: make(chan struct{}), done: make(chan struct{})}
	listeners, err := config.listen()
	if err != nil {
		return nil, err
	}
	for _, l := range listeners {
		d.doors = append(d.doors, newDoor(l))
	}
	if config.Domain != "" {
		if d.domain, err = d.openDomain(config.Domain, d.name); err == nil {
			d.doors = append(d.doors, d.domain.bus.door)
		}
	}
	if err == nil && config.Owner != nil {
		err = d.giveFiles(*config.Owner)
	}
	if err == nil && config.Listening != nil {
		err = config.Listening(d.Address())
	}
	if err == nil {
		d.startWatch()
		err = d.makeBus()
	}
	if err != nil {
		return nil, errors.Join(err, d.abandon())
	}
	close(d.started)
	for _, o := range d.doors {
		d.serve(o, d.server.Server)
	}
	return d, nil
}

// startWatch begins to notice what changes in the configuration, before services are read.
func (d *Daemon) startWatch() {
	if d.file == nil {
		return
	}
	d.makeRuntimeDirectories()
	d.watch = newWatch(d.log, d.reloadChanged)
	d.watch.follow(d.file)
}

// abandon closes what a daemon has opened that does not start.
func (d *Daemon) abandon() error {
	close(d.ending)
	d.unmount()
	if d.watch != nil {
		d.watch.close()
	}
	var failed []error
	for _, o := range d.doors {
		failed = append(failed, o.close())
	}
	if d.domain != nil {
		failed = append(failed, d.domain.close())
	}
	if d.poller != nil {
		d.poller.Close()
	}
	return errors.Join(failed...)
}

// withDefaults fills in what follows from the file, the environment and the machine.
func (config Config) withDefaults() Config {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Notify == nil {
		config.Notify = func(string) {}
	}
	if config.File != nil {
		config.AllowAnonymous = config.File.AllowAnonymous
		config.Limits = limitsOf(&config.File.Limits)
		config.Mechanisms = config.File.Auth
	}
	if config.MachineID == "" {
		id, err := readMachineID(machineIDFiles)
		if err != nil {
			config.Log.Warn("no machine id, GetMachineId will fail", "error", err)
		}
		config.MachineID = id
	}
	return config
}

// makeBus makes the bus and what serves it. From now on the process has the user that it will have.
func (d *Daemon) makeBus() error {
	creator, err := meta.Self(meta.AllKinds)
	if err != nil {
		return fmt.Errorf("find out who we are, for those who ask who made the bus: %w", err)
	}
	if d.poller, err = transport.NewPoller(); err != nil {
		return fmt.Errorf("make what waits for clients: %w", err)
	}
	config := d.config
	d.denials = newDenials(config.Log)
	subscriptions := dbus1.NewSubscriptions()
	var access abi.MakeFlags
	if d.file != nil && d.file.Type == "system" {
		access = abi.MakeAccessGroup | abi.MakeAccessWorld // unless the policy has other rules about users
	}
	d.bus = bus.NewDomain(bus.DomainConfig{}).NewBus(bus.Config{
		Name:         d.name,
		Indexes:      []bus.Index{subscriptions},
		Attach:       config.Metadata,
		Required:     config.RequiredMetadata,
		Creator:      &creator,
		CreatorFlags: uint64(access),
		View:         dbus1.ViewOf,
		Refusal: func(src *bus.Conn, m *bus.Message, reason error) *bus.Message {
			return d.server.Refusal(src, m, reason)
		},
	})
	if err := d.newActivation(subscriptions); err != nil {
		return err
	}
	d.hub = d.newHub(d.bus, subscriptions)
	d.server, d.hub.front, err = d.hub.newServer(d.bus.Endpoint(), dbus1.Config{
		AllowUser:      d.allowUser(),
		AllowAnonymous: config.AllowAnonymous,
		Mechanisms:     config.Mechanisms,
		Limits:         config.Limits,
		Reload:         d.reloadFor(),
		Activation:     d.starter(),
	})
	if err != nil {
		return err
	}
	d.hub.standard = d.server
	if d.file != nil {
		d.apply(d.file)
	}
	if d.domain != nil {
		d.hub.dir = d.domain.busDir
		d.control = native.New(native.Config{Buses: d.domain, Denied: d.denials.noteUser})
	}
	if err := d.mount(); err != nil {
		return err
	}
	if d.domain != nil {
		return d.domain.serve()
	}
	return nil
}

// listen opens the addresses that the daemon is to have.
func (config Config) listen() ([]*listener, error) {
	lists := config.Addresses
	switch {
	case len(lists) == 0 && config.File != nil:
		return listenAsConfigured(config.File, config.Log)
	case len(lists) == 0 && config.Domain != "":
		return nil, nil
	case len(lists) == 0:
		lists = []string{DefaultAddress()}
	}
	return listenAll(lists, config.Log)
}

// listenAll opens every list of addresses or none.
func listenAll(lists []string, log *slog.Logger) ([]*listener, error) {
	var out []*listener
	for _, list := range lists {
		opened, err := listen(list, log)
		if err != nil {
			return nil, closeAll(out, err)
		}
		out = append(out, opened...)
	}
	return out, nil
}

// closeAll closes listeners because of err, which it returns with what else went wrong.
func closeAll(listeners []*listener, err error) error {
	for _, l := range listeners {
		err = errors.Join(err, l.close())
	}
	return err
}

// serve serves clients on o. When that ends for another reason than Shutdown, the
// daemon ends: a bus that nobody can find is worse than none, which is started anew.
func (d *Daemon) serve(o *door, server *transport.Server) {
	go func() {
		defer close(o.served)
		err := o.listener.serve(server, o.guid)
		if errors.Is(err, transport.ErrServerClosed) {
			return
		}
		d.fail.Do(func() {
			d.err = fmt.Errorf("serve %s: %w", o.address, err)
			d.log.Error("ending, because a socket cannot be served any longer", "error", d.err)
			go d.Shutdown() // which waits for us
		})
	}()
}

// newGUID returns a fresh identity for a listening address (specification, "UUIDs").
func newGUID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// Addresses returns where clients can connect, one connectable address with its guid
// for each socket, in the order of Config.Addresses.
func (d *Daemon) Addresses() []address.Address {
	list := make([]address.Address, len(d.doors))
	for i, o := range d.doors {
		list[i] = o.address.With("guid", o.guid)
	}
	return list
}

// Address returns Addresses as one string, for DBUS_SESSION_BUS_ADDRESS and the like.
func (d *Daemon) Address() string { return address.Format(d.Addresses()) }

// Wait returns when the daemon has ended: with nil after [Daemon.Shutdown], else with
// the reason why it had to end by itself.
func (d *Daemon) Wait() error {
	<-d.done
	return d.err
}

// Shutdown removes the sockets, disconnects all clients, and returns when no goroutine
// and no file of the daemon is left, except that services which do not end although nobody
// can call them have a goroutine each that waits for their end. It may be called again; every call waits.
func (d *Daemon) Shutdown() {
	d.shutdown.Do(func() {
		close(d.ending)
		if d.watch != nil {
			d.watch.close()
		}
		for _, o := range d.doors {
			if err := o.close(); err != nil {
				level := slog.LevelWarn
				if errors.Is(err, fs.ErrPermission) {
					level = slog.LevelDebug // a bus that was root when it made it; the next one replaces it
				}
				d.log.Log(context.Background(), level, "cannot remove a socket", "address", o.address.String(), "error", err)
			}
		}
		if d.activation != nil {
			d.activation.Close() // before anybody leaves who is then called, and started anew
		}
		d.unmount() // before handles lose what they are of
		d.closeNodes()
		d.server.Shutdown(context.Background())
		for _, o := range d.doors {
			<-o.served
		}
		d.closeDomain()
		d.background.Wait()
		d.poller.Close()
		if d.dir != "" {
			if err := os.RemoveAll(d.dir); err != nil {
				d.log.Warn("cannot remove the private directory", "error", err)
			}
		}
		close(d.done)
	})
	<-d.done
}
