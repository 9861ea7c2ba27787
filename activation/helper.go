package activation

// The exit codes of the setuid helper that starts the services of a system bus. They are what
// dbus-daemon-launch-helper has, so that it and ours can take each other's place.
const (
	HelperFailed             = 1
	HelperNoMemory           = 2
	HelperConfigInvalid      = 3
	HelperSetupFailed        = 4
	HelperNameInvalid        = 5
	HelperServiceNotFound    = 6
	HelperPermissionsInvalid = 7
	HelperFileInvalid        = 8
	HelperExecFailed         = 9
	HelperInvalidArgs        = 10
	HelperChildSignaled      = 11
)

// helperErrors are the errors that the exit codes stand for.
var helperErrors = map[int]struct{ name, text string }{
	HelperNoMemory:           {"NoMemory", "Launcher could not run (out of memory)"},
	HelperConfigInvalid:      {"Spawn.ConfigInvalid", "Invalid configuration (missing or empty <user>?)"},
	HelperSetupFailed:        {"Spawn.FailedToSetup", "Failed to setup environment correctly"},
	HelperNameInvalid:        {"Spawn.ServiceNotValid", "Bus name is not valid or missing"},
	HelperServiceNotFound:    {"Spawn.ServiceNotFound", "Bus name not found in system service directory"},
	HelperPermissionsInvalid: {"Spawn.PermissionsInvalid", "The permission of the setuid helper is not correct"},
	// dbus-daemon has this name here, too.
	HelperFileInvalid:   {"Spawn.PermissionsInvalid", "The service file is incorrect or does not have all required attributes"},
	HelperExecFailed:    {"Spawn.ExecFailed", "Cannot launch daemon, file not found or permissions invalid"},
	HelperInvalidArgs:   {"InvalidArgs", "Invalid arguments to command line"},
	HelperChildSignaled: {"Spawn.ChildSignaled", "Launched child was signaled, it probably crashed"},
}

// helperFailure returns the error for an exit code of the helper that is not 0.
func helperFailure(code int) *Error {
	if e, ok := helperErrors[code]; ok {
		return failure(spawnFailed, e.name, "%s", e.text)
	}
	return failure(spawnFailed, "Spawn.ChildExited", "Launch helper exited with unknown return code %d", code)
}
