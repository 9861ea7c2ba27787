// Package process is what a daemon does to the process that it is, as daemon(7) and
// dbus-daemon(1) have it: going to the background, writing its id to a file, becoming a
// user without privileges, and having enough file descriptors without handing them, or
// the raised limit, to what it starts. Each is in a file of its name, none needs another, and the
// order is the caller's:
//
//	process.RaiseFileLimit()            // first of all: it may execute the program anew
//	process.KeepName()
//	background := process.InBackground()
//	...                                 // take what was inherited, read the configuration
//	process.Fork()                      // in the foreground, if it is to go to the background
//	process.CloseOnExec()
//	...                                 // open sockets
//	process.WritePIDFile(path)
//	account.Become()
//	background.Detach(); background.Ready()
//
// All of it concerns the whole process, so it is for func main and not for packages.
package process
