// Kdbus-launch-helper starts a service of the system bus as the user that its .service file names. The bus, which
// runs as an unprivileged user, executes it with the name of the service as its only argument
// (<servicehelper> in the configuration of the bus). It becomes the service; if it cannot, its exit code says
// why, see package exitcode.
//
// It is to be installed setuid root and executable for the bus only: owner root, group that of the
// bus, mode 4754. It trusts nobody but root:
//
//   - Who runs it has to be the user whom the configuration of the system bus names, or root. Which file that
//     is was settled when this program was built; see the variable configFile.
//   - Nothing of the environment is looked at, and the service gets nothing of it.
//   - What is started is what the file says that is called like the service, in the directories of that
//     configuration; the file has to be root's, have that very name in it, and a user, and the program an absolute path.
//   - The service has the user, primary and supplementary groups that /etc/passwd and /etc/group give it, no way
//     back, no descriptors but the standard ones, the root directory as its working directory and a usual umask.
//
// It is a program of its own, without cgo, so that nothing else of kdbus is ever run with privileges. The
// Go runtime reads GODEBUG and its like from the environment, as in every Go program; those who may
// run this one are trusted that far.
package main

import (
	"fmt"
	"os"
)

// configFile is the configuration of the system bus. Another one can be set when this is built:
// -ldflags "-X main.configFile=/etc/dbus-1/system.conf".
var configFile = "/usr/share/dbus-1/system.conf"

// starterAddress is where services find the system bus; can be set likewise.
var starterAddress = "unix:path=/run/dbus/system_bus_socket"

func main() {
	os.Clearenv()
	err := launch(os.Args[1:], system{})
	fmt.Fprintln(os.Stderr, "kdbus-launch-helper:", err) // it has not become the service
	os.Exit(err.code)
}
