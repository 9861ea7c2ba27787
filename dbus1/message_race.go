//go:build race

package dbus1

// spoilFreed: under the race detector, that is in tests, who looks at a message that is not its own any more is
// to notice.
const spoilFreed = true
