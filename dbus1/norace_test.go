//go:build !race

package dbus1_test

const underRace = false
