package activation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kdbus-go/kdbus/bus"
	"github.com/kdbus-go/kdbus/busconfig"
	"github.com/kdbus-go/kdbus/wire"
)

// Starting services by systemd: it is told by a signal which unit somebody waits for, and answers by a signal
// if it cannot start it. It need not be connected yet: its name is one that can be waited for.

const (
	systemdName      = "org.freedesktop.systemd1"
	systemdPath      = "/org/freedesktop/systemd1"
	systemdManager   = "org.freedesktop.systemd1.Manager"
	systemdActivator = "org.freedesktop.systemd1.Activator"

	busName = "org.freedesktop.DBus"
	busPath = "/org/freedesktop/DBus"
)

// maxUnitName is the length of the name of a unit, systemd.unit(5).
const maxUnitName = 255

// unitFor returns the unit that systemd starts the service by: the one that its file names, or else what
// Config.LaunchUnit makes of its name. It is "" if the service is started in another way, and for a file that is nil.
func (a *Activation) unitFor(file *busconfig.Service) string {
	if !a.config.Systemd || file == nil {
		return ""
	}
	prefix, suffix, found := strings.Cut(a.config.LaunchUnit, "@")
	if unit := prefix + "@" + file.Name + suffix; file.SystemdService == "" && found && len(unit) <= maxUnitName {
		return unit
	}
	return file.SystemdService
}

// requestUnit makes the signal that asks systemd to start a unit.
func requestUnit(unit string) func(owner *bus.Conn) *bus.Message {
	return func(*bus.Conn) *bus.Message {
		return message(wire.Header{
			Type: wire.TypeSignal, Path: busPath, Interface: systemdActivator, Member: "ActivationRequest", Destination: systemdName,
		}, unit)
	}
}

// setEnvironment makes the call that sets variables in systemd's environment.
func setEnvironment(vars map[string]string) func(owner *bus.Conn) *bus.Message {
	return func(owner *bus.Conn) *bus.Message {
		destination := systemdName
		if owner != nil {
			destination = owner.UniqueName()
		}
		return message(wire.Header{
			Type: wire.TypeMethodCall, Path: systemdPath, Interface: systemdManager, Member: "SetEnvironment", Destination: destination,
		}, pairs(vars))
	}
}

// message makes a message of the bus, which nobody is to answer.
func message(h wire.Header, args ...any) *bus.Message {
	body, signature, err := wire.AppendBody(nil, wire.LittleEndian, args...)
	if err != nil {
		panic(err) // texts that came from a message, or were found to be UTF-8 without NUL
	}
	h.Order, h.Flags, h.Serial, h.Sender = wire.LittleEndian, wire.NoReplyExpected, busSerial, busName
	h.Signature, h.BodySize = string(signature), uint32(len(body))
	return &bus.Message{
		Has:     bus.PartDBus1,
		Dst:     bus.ToName,
		Cookie:  uint64(busSerial),
		Payload: [][]byte{append(h.Append(nil), body...)},
	}
}

// toSystemd sends a message of the bus to systemd, when it comes if it is not there. The error is an [Error].
func (a *Activation) toSystemd(build func(owner *bus.Conn) *bus.Message) error {
	if err := a.config.Endpoint.Bus().SendToName(systemdName, build); err != nil {
		return failure(spawnFailed, "Failed", "Cannot send a message to systemd: %v", err)
	}
	return nil
}

// busSerial is the serial of all messages of the bus: nobody answers them.
const busSerial uint32 = 1<<32 - 1

// UnitFailed tells that systemd cannot start a unit, with the D-Bus error that it gives. Whether it was systemd
// who said so is for the caller to see to.
func (a *Activation) UnitFailed(unit, name, text string) {
	a.log.Info("activation via systemd failed", "unit", unit, "error", name, "text", text)
	reason := &Error{Name: name, Text: text, Errno: spawnFailed}
	if err := wire.CheckErrorName(name); err != nil {
		reason.Name, reason.Text = errorPrefix+"Failed", fmt.Sprintf("%s: %s", name, text)
	}
	var concerned []*start
	a.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(a.services)) {
		if st := a.services[name].start; st != nil && a.unitFor(st.file) == unit {
			concerned = append(concerned, st)
		}
	}
	a.mu.Unlock()
	for _, st := range concerned {
		st.fail(reason)
	}
}
