//go:build conformance

// Package policy holds the security policy of the bus against dbus-daemon's: the same files, the same
// users, the same messages, and what became of each has to be the same: who got it, or the name and
// the words of the error.
//
//   - Rules and messages that are made up (generated_test.go), several policies after each other on
//     the same buses, exchanged by ReloadConfig.
//   - The files that packages of Debian bring (packages_test.go): every rule in them is tried, and its
//     neighbours.
//   - Who may connect, and own what (persons_test.go).
//
// There are several buses of the kind under test, which differ in who of their clients speaks D-Bus 1 and who
// the native protocol (world_test.go): the policy is the same for all. Everybody is a connection of its own,
// made by a thread that is another user (package account), so the tests need root.
package policy

import (
	"testing"

	"github.com/kdbus-go/kdbus/conformance/internal/testbus"
)

func TestMain(m *testing.M) { testbus.Main(m) }
