// Package sandbox runs a program that can reach a message bus through one socket, its door, and not
// otherwise. The door is a custom endpoint of the bus; what it lets through is package policy's part, and the
// bus's. The door lies where the bus's own sockets were, so the program needs to know nothing.
//
// How the pieces fit:
//
//   - [Start] (sandbox.go) starts this very program again, in a user, a mount and a process-id namespace
//     of its own. In the program, [Main] (child.go) takes over.
//   - As the first process there, it puts the door over the sockets of the bus, hides directories in which
//     more of them are (mounts.go, mountinfo.go), and gives up every privilege for good (confine.go,
//     seccomp.go). Then it executes itself again, so that no thread keeps any.
//   - What has been executed is the init of the namespace (init.go): it starts the program, passes signals on,
//     reaps orphans, and ends with the program. With it ends whatever is left, and so it does when
//     the process that called Start dies.
//
// What keeps the program from the bus's other sockets: they are covered in its mount namespace, at every
// place where their file system is mounted, and only who has a privilege could uncover them. Processes
// outside are of another user namespace, so that their memory, descriptors and root directories are closed
// even to who has their user id, and they have no process id inside. Descriptors other than 0 to 2 are not
// inherited. Landlock keeps abstract sockets, which are in no file system, out of reach; on request a
// network namespace does, and keeps TCP out, too.
//
// It is a boundary for a bus, not for files: what the program could read and write before, it still can.
//
// What it leaves to others: making the endpoint, knowing where the bus listens, and exit codes (cmd/kdbus).
package sandbox
