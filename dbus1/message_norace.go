//go:build !race

package dbus1

const spoilFreed = false
