package activation

import (
	"syscall"
	"time"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/meta"
)

// service is a name that the bus can start an owner for: the bus.Service and the bus.Receiver of its
// activator. It rests until something waits, then it starts, until somebody has taken the name or
// it has failed.
type service struct {
	activation *Activation
	name       string
	conn       *bus.Conn

	// Guarded by Activation.mu.
	file    *busconfig.Service // nil if there is no .service file: systemd, and what is no service any more
	start   *start             // under way; nil at rest
	retired bool               // goes when it is at rest
}

// start is one attempt to get an owner for the name.
type start struct {
	service *service
	timer   *time.Timer

	// Guarded by Activation.mu.
	file    *busconfig.Service // as it was when this began, or was found to be since
	process *process           // nil if none was executed
	over    bool               // it has succeeded, or
	failed  bool               // it is failing

	prompted  bool       // Prompt has made it, and it has not been logged
	transient *transient // the unit that was made for it; nil if none was
}

// Wake implements bus.Receiver: something waits.
func (s *service) Wake() {
	var one [1]*bus.Message
	for {
		got := s.conn.Dequeue(one[:0]) // it says no more than that
		if len(got) == 0 {
			break
		}
		s.conn.Delivered(got)
	}
	s.begin()
}

// Wanted implements bus.Receiver. Activators send nothing.
func (s *service) Wanted(meta.Kinds) {}

// Admit implements bus.Service.
func (s *service) Admit(payer bus.Payer, who bus.Account, size int) error {
	return s.activation.admit(s.name, payer, who, size)
}

// Release implements bus.Service.
func (s *service) Release(payer bus.Payer, size int) { s.activation.release(payer, size) }

// Started implements bus.Service.
func (s *service) Started() {
	a := s.activation
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.start == nil {
		return
	}
	s.over()
	go a.log.Info("successfully activated a service", "service", s.name) // not with the bus locked
}

// over puts s at rest. Activation.mu is held.
func (s *service) over() {
	st := s.start
	st.over = true
	st.timer.Stop()
	s.start = nil
	if st.transient != nil {
		go st.dropUnit()
	}
	if s.retired {
		go s.leaveLater()
	}
}

// Prompt implements bus.Service: if the service is at rest and started by systemd, that is asked now.
func (s *service) Prompt() (name string, build func(owner *bus.Conn) *bus.Message) {
	a := s.activation
	a.mu.Lock()
	defer a.mu.Unlock()
	unit := a.unitFor(s.file)
	if unit == "" || s.start != nil || a.closed || s.name == systemdName {
		return "", nil
	}
	s.newStart().prompted = true
	return systemdName, requestUnit(unit)
}

// begin starts the service if it is at rest and something waits for it.
func (s *service) begin() {
	for {
		st, prompted := s.tryBegin()
		if st == nil {
			return
		}
		if n, first := s.conn.Waiting(); n > 0 {
			s.activation.logStart(s, st.file, first)
			if !prompted {
				go st.run()
			}
			return
		}
		// Who waited has what it wanted. Somebody else may have come since, and thought that a start
		// was under way.
		s.end(st)
		if n, _ := s.conn.Waiting(); n == 0 {
			return
		}
	}
}

// tryBegin makes a start, unless there is one, or returns that which Prompt has made just now.
func (s *service) tryBegin() (st *start, prompted bool) {
	a := s.activation
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return nil, false
	case s.start == nil:
		return s.newStart(), false
	case s.start.prompted:
		s.start.prompted = false
		return s.start, true
	}
	return nil, false
}

// newStart makes a start. Activation.mu is held.
func (s *service) newStart() *start {
	st := &start{service: s, file: s.file}
	timeout := s.activation.settings.Timeout
	st.timer = time.AfterFunc(timeout, func() { st.timedOut(timeout) })
	s.start = st
	return st
}

// end puts s at rest again, after st.
func (s *service) end(st *start) {
	a := s.activation
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.start == st {
		s.over()
	}
}

// fail ends st: everybody who waits is told the reason.
func (st *start) fail(reason error) {
	if st.finish() {
		st.tell(reason)
	}
}

// tell tells everybody who waits the reason, when st has failed.
func (st *start) tell(reason error) {
	s, a := st.service, st.service.activation
	a.log.Info("failed to activate a service", "service", s.name, "error", reason)
	s.conn.Fail(reason)
	s.end(st)
	// What came between the two found a start under way.
	s.begin()
}

// finish notes that st fails. It reports whether it was not over before.
func (st *start) finish() bool {
	a := st.service.activation
	a.mu.Lock()
	defer a.mu.Unlock()
	if st.over {
		return false
	}
	st.over, st.failed = true, true
	st.timer.Stop()
	return true
}

// timedOut is called when the service has had all the time there is.
func (st *start) timedOut(timeout time.Duration) {
	st.abort(failure(syscall.ETIMEDOUT, "TimedOut", "Failed to activate service '%s': timed out (service_start_timeout=%dms)",
		st.service.name, timeout.Milliseconds()))
}

// abort is fail for a service whose program may still run: it is ended, if it was executed.
func (st *start) abort(reason error) {
	if !st.finish() {
		return
	}
	a := st.service.activation
	a.mu.Lock()
	p := st.process
	a.mu.Unlock()
	if p != nil {
		p.Kill()
	}
	st.tell(reason)
}

// giveUp ends the start that is under way, if there is one.
func (s *service) giveUp(reason error) {
	a := s.activation
	a.mu.Lock()
	st := s.start
	a.mu.Unlock()
	if st != nil {
		st.abort(reason)
	}
}

// define says what the .service file says now, nil if there is none any more. It reports whether the
// service is one that it was not before, or the other way round.
func (s *service) define(file *busconfig.Service) (changed bool) {
	a := s.activation
	a.mu.Lock()
	defer a.mu.Unlock()
	changed = (s.file == nil) != (file == nil)
	s.file = file
	if file != nil {
		s.retired = false
	}
	return changed
}

// retire takes the service off the bus as soon as it is at rest. Activation.updating is held. systemd stays if services are started by it.
func (s *service) retire() {
	a := s.activation
	if s.name == systemdName && a.config.Systemd {
		return
	}
	a.mu.Lock()
	s.retired = true
	atRest := s.start == nil
	a.mu.Unlock()
	if atRest {
		s.leave()
	}
}

// leaveLater is leave for who does not hold Activation.updating.
func (s *service) leaveLater() {
	s.activation.updating.Lock()
	defer s.activation.updating.Unlock()
	s.leave()
}

// leave takes a retired service that is at rest off the bus. Activation.updating is held.
func (s *service) leave() {
	a := s.activation
	a.mu.Lock()
	if !s.retired || s.start != nil || a.services[s.name] != s {
		a.mu.Unlock()
		return
	}
	delete(a.services, s.name)
	a.mu.Unlock()
	s.conn.Close()
	s.conn.Flush()
}
