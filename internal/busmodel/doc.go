// Package busmodel has no code of its own: its tests compare the core, package bus, with a model of the
// rules that kdbus's manual pages state, by random operations of many connections.
//
// The model (model_test.go, names_test.go, send_test.go, queue_test.go, match_test.go, policy_test.go)
// says the same as the core in the plainest way: no index, no lock, no account that is kept, everything
// is searched for and added up each time it is asked for. Its comments name the page and the section
// that a rule is from. Where the pages are silent the last kernel module decides, and for what only
// D-Bus has (names with its queue, NameAcquired and NameLost) the D-Bus specification.
//
// A world (world_test.go, compare_test.go) is a bus of the core and a model of one side by side. Steps (steps_test.go)
// are done in both; after each, every result, every errno, what each connection has received and in
// which order, how often it was woken, what waits and what was dropped have to be the same. Time is
// that of testing/synctest, so deadlines pass exactly.
//
// What holds whatever the model says, the five rules of the design, has tests of its own
// (rules_test.go) that do not ask it.
//
// The tests begin with the same seed each time. More is tried, from another one, by
//
//	go test ./internal/busmodel -rapid.checks=100000 -rapid.seed=0
//
// Not here, as it has models of its own: services that the bus itself starts, D-Bus match rules,
// the concurrency of the core.
package busmodel
