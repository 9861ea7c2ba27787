// Package busconfig reads what administrators and packages write for a message bus: the XML configuration of
// dbus-daemon with the security policy in it, the .service files of activatable services, and the
// .busname files that systemd had for kdbus. It says what is written there; acting on it is for
// others.
//
//   - [Parse] reads a configuration with everything it includes into a [Config], or says in which
//     file, line and element something is wrong ([Error]). What dbus-daemon only grumbles about, and
//     what looks right but does nothing, is in Config.Warnings.
//   - [Policy] is the security policy of the configuration, compiled. [Policy.MayConnect] judges who
//     may connect at all. [Policy.For] gives the [View] of a connection: which names it may own, which
//     messages it may send and receive. Each answer is a [Verdict] with the deciding [Rule], which
//     knows where it was written. [View.SendRules] and its siblings list all rules that apply.
//   - [LoadServices] reads the .service files of directories in order of precedence, [ParseService]
//     one of them, [FindHelperService] what the setuid helper of a system bus may start, and
//     [SplitCommand] takes a command line apart.
//   - [LoadBusNames] reads the .busname files, [ParseBusName] one of them.
//
// The language is the one of dbus-daemon(1), version 1.14. Where the manual page is silent, the
// program decides: a file means here what it means there, in order of evaluation, defaults and odd
// cases. The exceptions are few: files of an includedir, which dbus-daemon reads in the order of the
// directory, are read in the order of their names; of several service files in one directory for one
// name, the one that is named after it wins; <syslog/> counts in included files too; user and group
// numbers need no entry in the user database; and what a DOCTYPE may define beyond texts is refused: entities that
// stand for markup, parameter entities, default attributes.
//
// # How a policy is evaluated
//
// The rules that concern a connection are put one after the other: those of context="default", of its
// groups (by number), of its user, of at_console, of context="mandatory"; within each in the order of the
// files, an included file standing where it is included. The last rule that matches decides, and if
// none does, it is forbidden. One peculiarity is kept because security depends on it: a rule without
// any of path, interface, member, error, type and peer voids all rules of its kind before it, even
// if it only matches messages with certain descriptors, broadcasts or replies.
//
// A check does not walk the rules. Each part of the policy keeps its rules in hash tables, one for
// each combination of header fields that rules ask for, so that a check costs a few look-ups,
// whether there are ten rules or five thousand (index.go). Parts are shared by all views, and views by
// all connections that the same parts concern.
//
// # Safety
//
// Configuration is trusted, but sizes, depths and counts are bounded nevertheless (limits with names in
// bounds.go), so that a mistake ends in an error and not in a machine without memory. Everything
// returned is immutable and may be used from several goroutines, except [Message], which belongs to
// one check at a time.
//
// The package imports wire only. It opens the files that it is told to read and nothing else.
package busconfig
