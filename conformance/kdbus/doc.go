// Package kdbus shows, sentence by sentence, that the bus does what the manual pages of kdbus say, as far as
// they are about more than the memory of a kernel: raw frames of the native protocol, of several users, go
// through sockets to a daemon in this process, and what comes back is compared.
//
// There is a file for each manual page. A test proves a section of it; each of its cases has the name of what
// it proves, and a bus of its own. docs/kdbus-conformance.md is the index: it lists what the manual pages
// promise, each with the test that proves it, here or in another package, or with what is different in user
// space and why. The test of the index (index_test.go) needs no build tag and runs with all others: it takes
// care that every test that the index names exists, that no line is without proof or reason, that every errno of the
// manual pages is in it, and that every case of this package is.
//
// The other tests have the build tag "conformance" and need root, to be several users.
package kdbus
