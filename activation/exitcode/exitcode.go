// Package exitcode has the exit codes of the setuid helper that starts the services of a system bus, by which
// it tells the bus what went wrong. They are those of dbus-daemon-launch-helper, so that it and
// kdbus-launch-helper can take each other's place.
package exitcode

// The exit codes. 0 is the service's own: the helper becomes the service.
const (
	Failed             = 1  // something else
	NoMemory           = 2  // there is not enough memory
	ConfigInvalid      = 3  // the configuration of the system bus cannot be used, or names no user
	SetupFailed        = 4  // the helper cannot become the user of the service
	NameInvalid        = 5  // what the helper was given is no bus name
	ServiceNotFound    = 6  // no file has such a service
	PermissionsInvalid = 7  // the helper is not setuid root, or was called by somebody else than the bus
	FileInvalid        = 8  // the file of the service cannot be used
	ExecFailed         = 9  // the program cannot be executed
	InvalidArgs        = 10 // the helper takes one argument
	ChildSignaled      = 11 // the service was ended by a signal
)
