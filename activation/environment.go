package activation

import (
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
)

// maxEnvironment is how long what UpdateActivationEnvironment has set may be in all, in bytes. The
// kernel would not take much more.
const maxEnvironment = 1 << 20

// notInherited are variables that say something of the process of the bus only: systemd.exec(5).
var notInherited = []string{"JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "NOTIFY_SOCKET", "INVOCATION_ID"}

// inherited returns the environment that services get of the process of the bus.
func inherited(environment []string) map[string]string {
	if environment == nil {
		environment = os.Environ()
	}
	vars := make(map[string]string, len(environment))
	for _, entry := range environment {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			vars[name] = value
		}
	}
	for _, name := range notInherited {
		delete(vars, name)
	}
	return vars
}

// SetEnvironment sets variables for services that are started from now on, by systemd too. The error is an
// [Error].
func (a *Activation) SetEnvironment(vars map[string]string) error {
	size := 0
	for name, value := range vars {
		if name == "" || strings.Contains(name, "=") {
			a.log.Warn("cannot set a variable in the environment of services, for its name is no name", "name", name)
			delete(vars, name)
			continue
		}
		size += len(name) + len(value) + 2
	}
	a.mu.Lock()
	if a.settings.Helper != "" {
		a.mu.Unlock()
		return failure(syscall.EPERM, "AccessDenied", "Cannot change activation environment on a system bus.")
	}
	for name, value := range a.environment {
		if _, replaced := vars[name]; !replaced {
			size += len(name) + len(value) + 2
		}
	}
	if size > maxEnvironment {
		a.mu.Unlock()
		return failure(syscall.ENOBUFS, "LimitsExceeded", "The environment of services would have %d bytes, it may have %d", size, maxEnvironment)
	}
	maps.Copy(a.environment, vars)
	a.mu.Unlock()
	if a.config.Systemd {
		return a.toSystemd(setEnvironment(vars))
	}
	return nil
}

// starterEnvironment returns the environment of a service, as os.StartProcess wants it.
func (a *Activation) starterEnvironment() []string {
	a.mu.Lock()
	vars := maps.Clone(a.environment)
	a.mu.Unlock()
	maps.Copy(vars, a.starterVariables())
	return pairs(vars)
}

// starterVariables returns the variables by which services find the bus.
func (a *Activation) starterVariables() map[string]string {
	a.mu.Lock()
	busType := a.settings.BusType
	a.mu.Unlock()
	address := a.config.Address()
	vars := map[string]string{"DBUS_STARTER_ADDRESS": address}
	if busType != "" {
		vars["DBUS_STARTER_BUS_TYPE"] = busType
	}
	switch busType {
	case "session":
		vars["DBUS_SESSION_BUS_ADDRESS"] = address
	case "system":
		vars["DBUS_SYSTEM_BUS_ADDRESS"] = address
	}
	return vars
}

// pairs returns variables as NAME=VALUE, by name.
func pairs(vars map[string]string) []string {
	list := make([]string, 0, len(vars))
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		list = append(list, name+"="+vars[name])
	}
	return list
}
