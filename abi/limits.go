package abi

// The limits of kdbus. Those of this package's concern, what one command may
// hold, are enforced by its decoders; the quotas are the bus's to enforce, and
// stand here because they are part of what clients were promised.
const (
	// CmdMaxSize is the largest command, and the largest message without its
	// payload, in bytes with all items (EMSGSIZE).
	CmdMaxSize = 32 << 10
	// MsgMaxSize was the limit of a message without its payload. The last
	// version still defines it, but applies CmdMaxSize.
	MsgMaxSize = 8 << 10
	// MsgMaxItems was the largest number of items in a message until the last
	// version, which leaves this to CmdMaxSize.
	MsgMaxItems = 128
	// MsgMaxMemfdItems is how many memfds can make up one payload (E2BIG).
	MsgMaxMemfdItems = 16
	// MsgMaxPayloadVecSize is the largest sum of the payload vectors of a
	// message being sent, in bytes (EMSGSIZE). Memfds do not count.
	MsgMaxPayloadVecSize = 2 << 20
	// MsgMaxFDs is how many file descriptors one message can carry besides
	// memfds (EMFILE), as in kdbus.message(7). The quota ConnMaxFDsPerUser is
	// lower.
	MsgMaxFDs = 253
	// BusBloomMaxSize is the largest bloom filter, in bytes.
	BusBloomMaxSize = 4 << 10
	// NameMaxLen is the longest well-known name, in bytes.
	NameMaxLen = 255
	// SysnameMaxLen is the longest name of a bus or an endpoint, and the
	// longest description of a connection, in bytes (ENAMETOOLONG).
	SysnameMaxLen = 63
)

// Quotas, which the bus enforces.
const (
	// ConnMaxFDsPerUser is how many file descriptors of one user can be queued
	// at a connection (EMFILE if one message has more).
	ConnMaxFDsPerUser = 16
	// ConnMaxMsgs is how many messages of one user can be queued at a
	// connection (ENOBUFS).
	ConnMaxMsgs = 256
	// ConnMaxNames is how many names a connection can own or wait for (E2BIG).
	ConnMaxNames = 256
	// ConnMaxRequestsPending is how many replies a connection can wait for
	// (EMLINK).
	ConnMaxRequestsPending = 128
	// MatchMax is how many matches a connection can have (EMFILE).
	MatchMax = 256
	// UserMaxConn is how many connections a user can have in a domain (EMFILE).
	UserMaxConn = 1024
	// UserMaxBuses is how many buses a user can have in a domain (EMFILE).
	UserMaxBuses = 16
)
