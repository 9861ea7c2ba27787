// Package metadata prints what is known of a peer or of the sender of a message: as the lines of
// monitor, one field a line as status does, and as JSON (fields.go, json.go). What a bus does not
// tell of a process that still runs, Augment reads in /proc (proc.go).
//
// It goes by what [abi.Metadata] has: a field whose kind is absent is left out, and one of which it
// is known that there is none is "n/a".
package metadata

import (
	"slices"

	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
)

// Peer is what is known of a peer, or of a process that is none.
type Peer struct {
	abi.Metadata
	// Unique is its unique name; empty for a process.
	Unique string
	// NamesKnown is set if Names are all the names it has, even if there are none.
	NamesKnown bool
	// TTY is the terminal of the process, "n/a" if it has none, empty if that is not known.
	TTY string
}

// equal reports whether two peers would be printed alike. Timestamps do not count.
func (p *Peer) equal(q *Peer) bool {
	return p.Has == q.Has && p.Unique == q.Unique && p.NamesKnown == q.NamesKnown && p.TTY == q.TTY &&
		p.Creds == q.Creds && p.PIDs == q.PIDs && slices.Equal(p.AuxGroups, q.AuxGroups) && slices.Equal(p.Names, q.Names) &&
		p.TIDComm == q.TIDComm && p.PIDComm == q.PIDComm && p.Exe == q.Exe && slices.Equal(p.Cmdline, q.Cmdline) &&
		p.CGroup == q.CGroup && p.Caps == q.Caps && p.SecLabel == q.SecLabel && p.Audit == q.Audit && p.Description == q.Description
}

// Cache keeps how the senders seen lately are printed: of one sender, metadata hardly change from
// message to message. It is for one goroutine.
type Cache struct {
	texts   map[string]cached
	objects map[string]cachedObject
	lines   lines
}

type cached struct {
	peer Peer
	text string
}

type cachedObject struct {
	peer   Peer
	object jsontext.Object
}

// maxCached is how many senders a Cache remembers.
const maxCached = 1024

// AppendLines appends what AppendLines does without a cache.
func (c *Cache) AppendLines(dst []byte, p *Peer, indent string) []byte {
	if known, ok := c.texts[p.Unique]; ok && known.peer.equal(p) {
		return append(dst, known.text...)
	}
	start := len(dst)
	c.lines.collect(p, false)
	dst = c.lines.append(dst, indent)
	if len(c.texts) >= maxCached {
		clear(c.texts)
	}
	if c.texts == nil {
		c.texts = make(map[string]cached)
	}
	c.texts[p.Unique] = cached{*p, string(dst[start:])}
	return dst
}

// JSON returns what JSON does without a cache, with values that are already written for this mode, for
// an object that is below so many others.
func (c *Cache) JSON(p *Peer, mode jsontext.Mode, depth int) jsontext.Object {
	if known, ok := c.objects[p.Unique]; ok && known.peer.equal(p) {
		return known.object
	}
	object := JSON(p)
	for i := range object {
		object[i].Value = jsontext.Prepare(object[i].Value, mode, depth)
	}
	if len(c.objects) >= maxCached {
		clear(c.objects)
	}
	if c.objects == nil {
		c.objects = make(map[string]cachedObject)
	}
	c.objects[p.Unique] = cachedObject{*p, object}
	return object
}

// AppendLines appends the lines that monitor prints of a sender, each behind indent.
func AppendLines(dst []byte, p *Peer, indent string) []byte {
	var l lines
	l.collect(p, false)
	return l.append(dst, indent)
}

// AppendStatus appends the fields of a peer, one a line.
func AppendStatus(dst []byte, p *Peer, bold func(string) string) []byte {
	var l lines
	l.collect(p, true)
	for _, f := range l {
		dst = append(append(dst, f.name...), '=')
		dst = append(dst, bold(f.value)...)
		dst = append(dst, '\n')
	}
	return dst
}
