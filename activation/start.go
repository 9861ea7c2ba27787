package activation

import (
	"strings"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
)

// run starts the service, in whatever way is right for it, and returns when it is under way or has failed.
func (st *start) run() {
	a := st.service.activation
	if a.config.Systemd && st.service.name == systemdName {
		return // it comes by itself, early on when a machine starts
	}
	file := st.refresh()
	if file == nil {
		st.fail(unknownService(st.service.name))
		return
	}
	var err error
	switch {
	case a.unitFor(file) != "":
		err = a.toSystemd(requestUnit(a.unitFor(file)))
	case a.config.Systemd && st.launch(file):
	default:
		err = st.execute(file)
	}
	if err != nil {
		st.fail(err)
	}
}

// refresh returns what the .service file says now: it may have been changed, removed or replaced since it
// was read. nil: there is none.
func (st *start) refresh() *busconfig.Service {
	s, a := st.service, st.service.activation
	a.mu.Lock()
	file := st.file
	a.mu.Unlock()
	if file == nil {
		return nil
	}
	fresh, err := busconfig.ParseService(file.File)
	if err != nil || fresh.Name != s.name {
		a.updating.Lock()
		a.reload()
		a.updating.Unlock()
		a.mu.Lock()
		defer a.mu.Unlock()
		fresh = s.file
	} else {
		a.mu.Lock()
		defer a.mu.Unlock()
	}
	st.file = fresh
	return fresh
}

// execute starts the program of the service, or the helper that does.
func (st *start) execute(file *busconfig.Service) error {
	s, a := st.service, st.service.activation
	if file.Exec == "" && strings.HasSuffix(file.File, ".busname") {
		return failure(spawnFailed, "Spawn.ServiceNotValid", "The name %s is activated by the unit %s of %s, which takes systemd, "+
			"by which this bus does not start services (--systemd-activation)", s.name, file.SystemdService, file.File)
	}
	a.mu.Lock()
	helper := a.settings.Helper
	a.mu.Unlock()
	words, err := command(file, helper)
	if err != nil {
		return err
	}
	environment := a.starterEnvironment()
	a.mu.Lock()
	over := st.over
	a.mu.Unlock()
	if over {
		return nil // somebody else has taken the name
	}
	p, err := a.execute(s.name, words, environment)
	if err != nil {
		a.failAlike(st, file.Exec, err)
		return err
	}
	a.mu.Lock()
	st.process = p
	late := st.failed
	a.mu.Unlock()
	if late {
		p.Kill() // the time was up while it was being executed
	}
	go func() {
		if err := p.wait(s.name, helper != ""); err != nil {
			a.failAlike(st, file.Exec, err)
			st.fail(err)
		}
	}()
	return nil
}

// command returns what to execute for a service.
func command(file *busconfig.Service, helper string) ([]string, error) {
	line := file.Exec
	if helper != "" {
		if file.User == "" {
			return nil, failure(spawnFailed, "Spawn.FileInvalid", "Cannot do system-bus activation with no user\n")
		}
		line = helper + " " + file.Name
	}
	words, err := busconfig.SplitCommand(line)
	if err != nil {
		return nil, failure(spawnFailed, "InvalidArgs", "Unclosed quotes in command line")
	}
	return words, nil
}

// failAlike ends all other starts with the same command line as st, which has failed: they wait for the same
// program.
func (a *Activation) failAlike(st *start, exec string, reason error) {
	var alike []*start
	a.mu.Lock()
	if !st.over {
		for _, s := range a.services {
			if other := s.start; other != nil && other != st && other.file != nil && other.file.Exec == exec {
				alike = append(alike, other)
			}
		}
	}
	a.mu.Unlock()
	for _, other := range alike {
		other.fail(reason)
	}
}

// logStart logs that somebody wants a service.
func (a *Activation) logStart(s *service, file *busconfig.Service, first bus.ID) {
	by := "the message bus"
	var uid any
	if conn := a.config.Endpoint.Bus().Conn(first); conn != nil {
		by, uid = conn.UniqueName(), conn.UID()
	}
	unit := a.unitFor(file)
	switch {
	case a.config.Systemd && s.name == systemdName:
		a.log.Info("waiting for systemd", "requested_by", by)
	case unit != "":
		a.log.Info("activating a service via systemd", "service", s.name, "unit", unit, "requested_by", by, "uid", uid)
	default:
		a.log.Info("activating a service", "service", s.name, "requested_by", by, "uid", uid)
	}
}
