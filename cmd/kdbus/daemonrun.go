package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"

	sddaemon "github.com/coreos/go-systemd/v22/daemon"
	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/daemon"
	"github.com/kdbus-go/kdbus/internal/process"
)

// A choice is what a command line says about something that a configuration decides otherwise.
type choice uint8

const (
	asConfigured choice = iota
	always
	never
)

func (c choice) or(configured bool) bool { return c == always || c == asConfigured && configured }

// busOptions say what bus to run in this process. They are what the command lines of kdbus daemon
// and of dbus-daemon have in common.
type busOptions struct {
	configFile        string // "" for none
	addresses         []string
	domain            string // "" for none
	mount             string // "" for nowhere
	printAddress      descriptor
	printPID          descriptor
	fork              choice
	noPIDFile         bool
	syslog            choice
	syslogOnly        bool // with syslog: standard error gets no log
	systemdActivation bool
	launchUnit        string // "" for none
	level             slog.Leveler

	// asDBusDaemon writes the log and speaks of what goes as expected as dbus-daemon does.
	asDBusDaemon bool
}

// standardConfig returns the configuration of the standard bus of a kind, "system" or "session".
func standardConfig(kind string) string {
	const standard = "/usr/share/dbus-1"
	for _, dir := range []string{standard, "/usr/local/share/dbus-1", "/etc/dbus-1"} {
		if file := filepath.Join(dir, kind+".conf"); fileExists(file) {
			return file
		}
	}
	return filepath.Join(standard, kind+".conf")
}

func fileExists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// busProcess is a process that runs a bus.
type busProcess struct {
	busOptions
	stderr     io.Writer
	out        descriptors
	background *process.Background // nil in the foreground
	file       *busconfig.Config   // nil without
	account    *process.Account    // to become; nil for none
	accountErr error               // why there is none although there should be
	pidPath    string              // of the pid file to write; "" for none
	pidFile    *process.PIDFile    // nil until it is written
	log        *slog.Logger
	ownLog     *lineQueue // to standard error
	systemLog  *lineQueue // nil without
}

// run runs the bus until a signal ends it. If the process goes to the background, it returns when the
// one that stays is ready.
func (o busOptions) run(stderr io.Writer) error {
	limitErr := process.RaiseFileLimit()
	process.KeepName() // fails without /proc only, where nobody looks
	p := &busProcess{busOptions: o, stderr: stderr, out: make(descriptors), background: process.InBackground()}
	// Whoever read the log or the address may be gone; that is no reason to die. Services inherit it,
	// as they do from dbus-daemon and have it from systemd.
	signal.Ignore(unix.SIGPIPE)
	signals := make(chan os.Signal, 16)
	notifyUnlessIgnored(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer signal.Stop(signals) // if nobody reads why the bus has failed, a signal ends the wait for that

	if err := errors.Join(
		p.out.take("--print-address", o.printAddress), p.out.take("--print-pid", o.printPID)); err != nil {
		return err
	}
	if err := p.load(); err != nil {
		return err
	}
	if p.background == nil && o.fork.or(p.file != nil && p.file.Fork) {
		err := process.Fork()
		if errors.Is(err, process.ErrNotReady) {
			return &exitError{code: exitFailure} // it has been said why
		}
		return err
	}
	if err := errors.Join(process.CloseOnExec(), process.NoInput()); err != nil {
		return err
	}
	p.openLog()
	defer p.closeLog()
	if limitErr != nil {
		p.log.Warn("there may be too few file descriptors for many clients", "error", limitErr)
	}
	err := p.serve(signals)
	if isUnsaid(err) && p.systemLog != nil {
		p.systemLog.put(slog.LevelError, startFailure+err.Error())
	}
	return err
}

// isUnsaid reports whether err is one that nobody has been told.
func isUnsaid(err error) bool {
	exit, ok := errors.AsType[*exitError](err)
	return err != nil && (!ok || exit.err != nil)
}

// startFailure is how the reason why a bus did not start begins, as with dbus-daemon.
const startFailure = "Failed to start message bus: "

// load reads the configuration, if there is one.
func (p *busProcess) load() error {
	if p.configFile == "" {
		return nil
	}
	var err error
	if p.file, err = daemon.Load(p.configFile); err != nil {
		return err
	}
	if p.noPIDFile || p.file.PIDFile == "" {
		return nil
	}
	if p.pidPath, err = filepath.Abs(p.file.PIDFile); err != nil {
		return err
	}
	return process.CheckPIDFile(p.pidPath)
}

// serve opens the bus and serves it until a signal or an error ends it.
func (p *busProcess) serve(signals chan os.Signal) error {
	p.findAccount()
	d, err := daemon.Start(daemon.Config{
		Addresses:         p.addresses,
		Domain:            p.domain,
		Mount:             p.mount,
		File:              p.file,
		SystemdActivation: p.systemdActivation,
		LaunchUnit:        p.launchUnit,
		Journal:           p.systemLog != nil && journal.Enabled(),
		Listening:         p.listening,
		Owner:             p.owner(),
		Notify:            func(state string) { notify(p.log, state) },
		Log:               p.log,
	})
	defer p.removePIDFile()
	if err != nil {
		return err
	}
	defer d.Shutdown()
	p.log.Log(context.Background(), p.expected(), "listening", "address", d.Address(), "pid", os.Getpid())
	if err := errors.Join(p.out.print(p.printPID, strconv.Itoa(os.Getpid())), p.out.close()); err != nil {
		return fmt.Errorf("print the process id: %w", err)
	}
	if p.background != nil {
		p.flushLog()
		keepUmask := p.file != nil && p.file.KeepUmask
		if err := p.background.Detach(os.Getenv("DBUS_DEBUG_OUTPUT") != "", keepUmask); err != nil {
			return err
		}
		if err := p.background.Ready(); err != nil {
			p.log.Warn("the process that went to the background is gone", "error", err)
		}
	}
	notify(p.log, sddaemon.SdNotifyReady)
	err = p.untilEnd(d.Wait, d.Reload, signals)
	notify(p.log, sddaemon.SdNotifyStopping)
	if err != nil {
		return &exitError{code: exitFailure} // the log has it
	}
	return nil
}

// findAccount finds the user that the bus is to become. If there is none, the bus ends when it has told its address,
// as dbus-daemon does.
func (p *busProcess) findAccount() {
	if p.file == nil || p.file.User == "" {
		return
	}
	account, err := process.LookupAccount(p.file.User)
	if err != nil {
		p.accountErr = &busconfig.Error{Source: p.file.UserAt, Element: "<user>", Err: err,
			Reason: fmt.Sprintf("Could not get UID and GID for username %q: %v", p.file.User, err)}
		return
	}
	p.account = &account
}

// owner returns who the process will be when it has listened, nil if that is who it is.
func (p *busProcess) owner() *daemon.Owner {
	if p.account == nil || os.Geteuid() != 0 {
		return nil
	}
	return &daemon.Owner{UID: p.account.UID, GID: p.account.GID}
}

// listening does what there is to do between listening and serving: the address is printed, and
// the privileges go that it took to listen.
func (p *busProcess) listening(address string) error {
	if err := p.out.print(p.printAddress, address); err != nil {
		return fmt.Errorf("print the address: %w", err)
	}
	if p.accountErr != nil {
		return p.accountErr
	}
	if p.pidPath != "" {
		var err error
		if p.pidFile, err = process.WritePIDFile(p.pidPath); err != nil {
			return err
		}
	}
	if p.account == nil {
		return nil
	}
	err := p.account.Become()
	if errors.Is(err, process.ErrNotRoot) {
		// As dbus-daemon does: there are no privileges to lose, and people run such a configuration.
		p.log.Warn("the bus stays with the user who has started it", "user", p.file.User, "error", err)
		return nil
	}
	return err
}

func (p *busProcess) removePIDFile() {
	if p.pidFile == nil {
		return
	}
	if err := p.pidFile.Remove(); err != nil {
		p.log.Debug("cannot remove the pid file", "error", err) // of a directory of root's
	}
}

// untilEnd returns when a signal says that the bus is to end, or when wait does, since it has.
func (p *busProcess) untilEnd(wait, reload func() error, signals chan os.Signal) error {
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	// By somebody else: files can be where reading takes long, and the bus is to end all the same. Who
	// asks while it is read has it read once more.
	reloads := make(chan struct{}, 1)
	defer close(reloads)
	go func() {
		for range reloads {
			reload() // which logs
		}
	}()
	for {
		select {
		case sig := <-signals:
			if sig != unix.SIGHUP {
				p.log.Log(context.Background(), p.expected(), "ending", "signal", sig.String())
				signal.Stop(signals) // the next one ends the process at once
				return nil
			}
			if p.file == nil {
				p.log.Info("SIGHUP ignored: there is no configuration to read again")
				continue
			}
			select {
			case reloads <- struct{}{}:
			default: // somebody has asked, and what has changed since will be seen
			}
		case err := <-ended:
			return err
		}
	}
}

// expected is the level of what goes as expected. dbus-daemon says nothing about it on standard error.
func (p *busProcess) expected() slog.Level {
	if p.asDBusDaemon && p.systemLog == nil {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// openLog opens the log where the command line, or else the configuration, wants it.
func (p *busProcess) openLog() {
	program, prefix := filepath.Base(os.Args[0]), p.logPrefix()
	var own slog.Handler
	if p.asDBusDaemon {
		p.ownLog = newLineQueue(writeLines(p.stderr, program, prefix))
		own = newLineHandler(p.level, p.ownLog.put)
	} else {
		p.ownLog = newTextQueue(p.stderr)
		own = slog.NewTextHandler(p.ownLog, &slog.HandlerOptions{Level: p.level})
	}
	p.log = slog.New(own)
	if !p.syslog.or(p.file != nil && p.file.Syslog) {
		return
	}
	var err error
	if p.systemLog, err = openSystemLog(program, prefix); err != nil {
		// Better in the wrong place than nowhere.
		p.log.Warn("cannot log to the log of the system, so the log goes to standard error", "error", err)
		return
	}
	system := newLineHandler(p.level, p.systemLog.put)
	// If standard error is the journal, everything would be there twice.
	if inJournal, err := journal.StderrIsJournalStream(); p.syslogOnly || err == nil && inJournal {
		p.log = slog.New(system)
		return
	}
	p.log = slog.New(slog.NewMultiHandler(own, system))
}

func (p *busProcess) closeLog() {
	ctx, cancel := context.WithTimeout(context.Background(), logPatience)
	defer cancel()
	p.ownLog.close(ctx)
	if p.systemLog != nil {
		p.systemLog.close(ctx)
	}
}

// flushLog has what was logged so far in standard error, before that becomes another file.
func (p *busProcess) flushLog() {
	ctx, cancel := context.WithTimeout(context.Background(), logPatience)
	defer cancel()
	p.ownLog.flush(ctx)
}

// logPrefix tells buses apart in a log that they share, as dbus-daemon does.
func (p *busProcess) logPrefix() string {
	if p.file == nil {
		return ""
	}
	switch kind := cmp.Or(p.file.Type, "custom"); kind {
	case "system":
		return "[system] "
	default:
		return fmt.Sprintf("[%s uid=%d pid=%d] ", kind, os.Getuid(), os.Getpid())
	}
}

// notify tells the service manager, if there is one, about state.
func notify(log *slog.Logger, state string) {
	if _, err := sddaemon.SdNotify(false, state); err != nil {
		log.Warn("cannot notify the service manager", "state", state, "error", err)
	}
}
