// Package meta is what can be known, truthfully, about the sender of a message: credentials and
// process metadata, in the kinds of kdbus.item(7). Everything here comes from the kernel, never
// from the peer; what cannot be known is absent, never guessed.
//
// [Kinds] is a set of kinds, and [Attach] the rule of who gets to see which. [Data] is a collection.
// There are three ways to make one:
//
//   - [Socket.Collect], when a peer has connected: of the process that connected.
//   - [Sender.Collect], for one message: of the process that sent it, whoever that was. Processes
//     hand their sockets on, change their user, execute other programs and exit. [ParseControl]
//     makes a Sender of what recvmsg returns, after [Socket.SetPassing].
//   - [Self]: of our own process, for whoever asks who made the bus.
//
// Timestamps, names and descriptions are added by the bus, which alone knows them. [CGroupPath]
// reads in a control group which unit, slice and session of systemd it stands for.
//
// # What is believed
//
// A little is the kernel's own word about the moment of connecting or sending, and holds even for a
// process that is gone:
//
//	            connecting              sending
//	creds       EUID, EGID              UID, GID
//	pids        PID                     PID
//	auxgroups   all                     -
//	seclabel    all                     all
//
// The rest is asked afterwards: read from /proc or, since Linux 6.13 and as far as it goes, from the
// pidfd. A pidfd, which the kernel hands out with the socket or the message (Linux 6.5), proves that
// this is the same process and not another one with the same pid: if it does not run any more when
// everything has been read, all that is dropped. On kernels without, nothing is asked at all.
//
// But the same process may have changed since. For what it can choose itself anyway (names of
// process and executable, arguments) that does not matter. Credentials do: a process that sends and
// then executes a set-user-ID program must not pass for one that sent as root. So those of
// afterwards are believed of root, and of others only as long as nothing in them can come from an
// execve: real, effective, saved and file system user are all the one that is proved, so are the
// groups, and there are no permitted or effective capabilities. Otherwise what is not proved is absent, and ids are [IDUnset].
// Security labels, which an execve can change in ways that only the security module knows, are never
// taken from /proc.
//
// Absent, too, is what means something else here than there: capabilities in another user namespace,
// the executable of a process with another root directory. Which thread has sent cannot be told on a
// socket: TIDs are 0, and [KindTIDComm] is absent.
//
// # What can make us wait
//
// One file does: /proc/PID/cmdline, which is read only for [KindCmdline], last, and no more than
// [MaxCmdline] bytes of it. It lies in the process's own memory: a process that changes its mappings
// all the time delays the reader, and one with the privilege to handle page faults of the kernel
// (userfaultfd(2)) can stop it for good. Who collects should do so where only that very process
// waits for it: in the goroutine that reads its socket, without holding a lock.
package meta
