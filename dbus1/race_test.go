//go:build race

package dbus1_test

// underRace is whether the race detector is on, with which connecting takes ten times as long.
const underRace = true
