package activation

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/wire"
)

// Services without a unit of their own are started by systemd as well, if it is there: in a unit that is made for the
// purpose, so that they have a control group, a log and limits of their own and end with the session. If systemd
// cannot or will not, as on a system bus that does not run as root, they are executed as without it.

// systemdRuns reports whether systemd runs this machine, as sd_booted(3) does: who has its name on a bus may
// otherwise be anything.
var systemdRuns = func() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// transient is a unit that was made for a start.
type transient struct {
	unit string
	id   uint64 // of its match rules
	// how the main process ended, see ExecMainCode and ExecMainStatus in org.freedesktop.systemd1(5)
	code, status int32
}

// launch asks systemd to start the service in a unit of its own. It reports whether that is under way.
func (st *start) launch(file *busconfig.Service) bool {
	a := st.service.activation
	words, err := file.Command()
	if a.config.Rules == nil || err != nil || !filepath.IsAbs(words[0]) {
		return false // when it is executed, it becomes clear what is wrong
	}
	if !systemdRuns() || !a.config.Endpoint.Bus().HasOwner(systemdName) {
		return false
	}
	a.mu.Lock()
	helper := a.settings.Helper
	a.mu.Unlock()
	if helper != "" && (file.User == "" || os.Geteuid() != 0) || a.launcher.acquire() != nil {
		return false // systemd makes units for other users for root only
	}
	a.mu.Lock()
	if st.over { // somebody has taken the name, or the time is up; nobody will drop the unit any more
		a.mu.Unlock()
		a.launcher.release()
		return true
	}
	a.launched++
	t := &transient{id: a.launched}
	t.unit = fmt.Sprintf("dbus-%s@%d-%d.service", file.Name, os.Getpid(), t.id)
	st.transient = t
	a.mu.Unlock()
	if a.launcher.start(t, st, a.properties(file, words, helper != "")) != nil {
		st.fallBack(file)
	}
	return true
}

// start asks for the unit.
func (l *launcher) start(t *transient, st *start, properties [][]any) error {
	const from = "type='signal',sender='" + systemdName + "',"
	err := l.subscribe(t.id,
		from+"path='"+systemdPath+"',interface='"+systemdManager+"',member='JobRemoved',arg2='"+t.unit+"'",
		from+"path='"+unitPath(t.unit)+"',interface='"+propertiesInterface+"',member='PropertiesChanged'")
	if err != nil {
		return err
	}
	file := st.file
	return l.do("StartTransientUnit", func(answer *wire.Message) {
		if answer.Type == wire.TypeError {
			l.activation.log.Info("systemd does not start a service in a unit of its own", "service", st.service.name, "error", answer.ErrorName)
			st.fallBack(file)
		}
	}, "ssa(sv)a(sa(sv))", t.unit, "replace", properties, [][]any{})
}

const propertiesInterface = "org.freedesktop.DBus.Properties"

// properties returns those of a unit for a service: systemd.service(5).
func (a *Activation) properties(file *busconfig.Service, words []string, asUser bool) [][]any {
	list := [][]any{
		{"Description", wire.Variant{Signature: "s", Value: "D-Bus service " + file.Name}},
		{"Type", wire.Variant{Signature: "s", Value: "exec"}},
		{"ExecStart", wire.Variant{Signature: "a(sasb)", Value: [][]any{{words[0], words, false}}}},
		// A service that goes on in another process is not to be ended with its first one.
		{"KillMode", wire.Variant{Signature: "s", Value: "process"}},
		{"CollectMode", wire.Variant{Signature: "s", Value: "inactive-or-failed"}},
		{"Environment", wire.Variant{Signature: "as", Value: pairs(a.starterVariables())}},
	}
	if asUser {
		list = append(list, []any{"User", wire.Variant{Signature: "s", Value: file.User}})
	}
	return list
}

// fallBack executes the service, as systemd does not start it.
func (st *start) fallBack(file *busconfig.Service) {
	a := st.service.activation
	a.mu.Lock()
	over := st.over
	a.mu.Unlock()
	st.dropUnit()
	if over {
		return
	}
	if err := st.execute(file); err != nil {
		st.fail(err)
	}
}

// dropUnit forgets the unit that was made for st, which systemd keeps as long as it is needed.
func (st *start) dropUnit() {
	a := st.service.activation
	a.mu.Lock()
	t := st.transient
	st.transient = nil
	a.mu.Unlock()
	if t != nil {
		a.launcher.unsubscribe(t.id)
		a.launcher.release()
	}
}

// unitSignal is called for signals of systemd.
func (a *Activation) unitSignal(w *wire.Message) {
	var (
		job          uint32
		path         string
		unit, result string
		iface        string
		changed      map[string]wire.Variant
		invalidated  []string
	)
	switch {
	case w.Member == "JobRemoved" && w.Signature == "uoss" && w.Decode(&job, &path, &unit, &result) == nil:
		if st := a.startOf(func(t *transient) bool { return t.unit == unit }); st != nil {
			st.jobRemoved(result)
		}
	case w.Member == "PropertiesChanged" && w.Signature == "sa{sv}as" && w.Decode(&iface, &changed, &invalidated) == nil:
		if st := a.startOf(func(t *transient) bool { return unitPath(t.unit) == w.Path }); st != nil {
			st.unitChanged(changed)
		}
	}
}

// startOf returns the start whose unit is meant, nil if there is none any more.
func (a *Activation) startOf(is func(*transient) bool) *start {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.services {
		if s.start != nil && s.start.transient != nil && is(s.start.transient) {
			return s.start
		}
	}
	return nil
}

// jobRemoved is told that the job which starts the unit has ended.
func (st *start) jobRemoved(result string) {
	if result == "done" {
		return
	}
	st.unitFailed()
}

// unitChanged is told of properties of the unit.
func (st *start) unitChanged(changed map[string]wire.Variant) {
	a := st.service.activation
	a.mu.Lock()
	if t := st.transient; t != nil {
		if code, ok := changed["ExecMainCode"].Value.(int32); ok {
			t.code = code
		}
		if status, ok := changed["ExecMainStatus"].Value.(int32); ok {
			t.status = status
		}
	}
	a.mu.Unlock()
	if state, _ := changed["ActiveState"].Value.(string); state == "failed" {
		st.unitFailed()
	}
}

// How a main process ended, as waitid(2) has it, and systemd's exit status if it could not be executed.
const (
	childExited  = 1
	statusNoExec = 203
)

// unitFailed ends the start with what is known of the reason.
func (st *start) unitFailed() {
	a := st.service.activation
	a.mu.Lock()
	t := st.transient
	a.mu.Unlock()
	if t == nil {
		return
	}
	name := st.service.name
	reason := failure(spawnFailed, "Spawn.Failed", "systemd could not start the unit %s for %s", t.unit, name)
	switch {
	case t.code == childExited && t.status == statusNoExec:
		reason = failure(spawnFailed, "Spawn.ExecFailed", "Failed to execute program %s: see the log of the unit %s", name, t.unit)
	case t.code == childExited:
		reason = failure(spawnFailed, "Spawn.ChildExited", "Process %s exited with status %d", name, t.status)
	case t.code != 0:
		reason = failure(spawnFailed, "Spawn.ChildSignaled", "Process %s received signal %d", name, t.status)
	}
	st.fail(reason)
}

// unitPath returns the object of a unit, escaped as by sd_bus_path_encode(3).
func unitPath(unit string) string {
	var b strings.Builder
	b.WriteString(systemdPath + "/unit/")
	for i := range len(unit) {
		c := unit[i]
		if 'a' <= c|0x20 && c|0x20 <= 'z' || i > 0 && '0' <= c && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}
