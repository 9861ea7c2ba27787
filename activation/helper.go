package activation

import "github.com/kdbus-go/kdbus/activation/exitcode"

// helperErrors are the errors that the exit codes of the helper stand for.
var helperErrors = map[int]struct{ name, text string }{
	exitcode.NoMemory:           {"NoMemory", "Launcher could not run (out of memory)"},
	exitcode.ConfigInvalid:      {"Spawn.ConfigInvalid", "Invalid configuration (missing or empty <user>?)"},
	exitcode.SetupFailed:        {"Spawn.FailedToSetup", "Failed to setup environment correctly"},
	exitcode.NameInvalid:        {"Spawn.ServiceNotValid", "Bus name is not valid or missing"},
	exitcode.ServiceNotFound:    {"Spawn.ServiceNotFound", "Bus name not found in system service directory"},
	exitcode.PermissionsInvalid: {"Spawn.PermissionsInvalid", "The permission of the setuid helper is not correct"},
	// dbus-daemon has that name here, too.
	exitcode.FileInvalid:   {"Spawn.PermissionsInvalid", "The service file is incorrect or does not have all required attributes"},
	exitcode.ExecFailed:    {"Spawn.ExecFailed", "Cannot launch daemon, file not found or permissions invalid"},
	exitcode.InvalidArgs:   {"InvalidArgs", "Invalid arguments to command line"},
	exitcode.ChildSignaled: {"Spawn.ChildSignaled", "Launched child was signaled, it probably crashed"},
}

// helperFailure returns the error for an exit code of the helper that is not 0.
func helperFailure(code int) *Error {
	if e, ok := helperErrors[code]; ok {
		return failure(spawnFailed, e.name, "%s", e.text)
	}
	return failure(spawnFailed, "Spawn.ChildExited", "Launch helper exited with unknown return code %d", code)
}
