// Package kdbus is a client of message buses: it calls methods, emits and receives signals, owns
// names and exports Go values as objects.
package kdbus
