// Package transcript prints messages that a monitor saw: as text, with the fields, the lines and
// the line breaks that busctl's monitor had on a kdbus bus (transcript.go), and as JSON in the
// shape of today's busctl (json.go). What it knows of a message is what the message has; on a bus
// that attaches no metadata those lines are missing.
package transcript

import (
	"strconv"
	"time"

	"github.com/kdbus-go/kdbus"
	"github.com/kdbus-go/kdbus/abi"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/metadata"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/values"
)

// busName is the name of the bus itself.
const busName = "org.freedesktop.DBus"

// Printer prints messages. Its zero value is ready; it is for one goroutine.
type Printer struct {
	// Native is set if the messages come from a native bus, where all have a priority.
	Native bool
	// Bold makes the first field of a message stand out; nil does nothing.
	Bold func(string) string
	// Arrived is when the message arrived here, which is printed if the bus does not say when it
	// was sent.
	Arrived time.Time
	// Note is printed behind the fields of the header, on a line of its own, unless it is empty.
	Note string

	cache metadata.Cache
}

const indent = "  "

// arrivedLayout is how busctl writes a time.
const arrivedLayout = `"Mon 2006-01-02 15:04:05.000000 MST"`

// Append appends a message and an empty line.
func (p *Printer) Append(dst []byte, m *kdbus.Message) ([]byte, error) {
	dst = append(dst, ' ')
	dst = append(dst, p.bold("Type="+m.Type().String())...)
	dst = append(append(dst, "  Endian="...), byte(m.Order()))
	dst = strconv.AppendUint(append(dst, "  Flags="...), uint64(m.Flags()), 10)
	dst = append(dst, "  Version=1"...)
	if p.Native {
		dst = strconv.AppendInt(append(dst, "  Priority="...), m.Priority(), 10)
	}
	// All ones is what the bus puts on its own messages.
	dst = strconv.AppendInt(append(dst, " Cookie="...), cookie(m.Serial()), 10)
	if m.ReplySerial() != 0 {
		dst = strconv.AppendInt(append(dst, "  ReplyCookie="...), cookie(m.ReplySerial()), 10)
	}
	if !p.Native && !p.Arrived.IsZero() {
		dst = p.Arrived.AppendFormat(append(dst, "  Timestamp="...), arrivedLayout)
	}
	dst = append(dst, '\n')
	dst = appendFields(dst, "Sender", m.Sender(), "Destination", m.Destination(), "Path", string(m.Path()),
		"Interface", m.Interface(), "Member", m.Member())
	if m.Type() == kdbus.TypeError {
		dst = append(append(dst, "  ErrorName="...), m.ErrorName()...)
		if text, ok := errorText(m); ok {
			dst = append(values.AppendPrintable(append(dst, `  ErrorMessage="`...), text), '"')
		}
		dst = append(dst, '\n')
	}
	dst = appendTimestamp(dst, m.Metadata())
	dst = p.cache.AppendLines(dst, sender(m, p.Native), indent)
	if p.Note != "" {
		dst = append(append(append(dst, indent...), p.Note...), '\n')
	}
	return appendBody(dst, m)
}

func (p *Printer) bold(s string) string {
	if p.Bold == nil {
		return s
	}
	return p.Bold(s)
}

func cookie(serial uint32) int64 {
	if serial == 1<<32-1 {
		return -1
	}
	return int64(serial)
}

// appendFields appends the fields that are set, given as names and values, on one line.
func appendFields(dst []byte, pairs ...string) []byte {
	start := len(dst)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			dst = append(append(append(append(dst, "  "...), pairs[i]...), '='), pairs[i+1]...)
		}
	}
	if len(dst) > start {
		dst = append(dst, '\n')
	}
	return dst
}

// errorText returns the text of an error: its first value, if that is a string.
func errorText(m *kdbus.Message) (string, bool) {
	if s := m.Signature(); s == "" || s[0] != 's' {
		return "", false
	}
	all, err := m.Values()
	if err != nil || len(all) == 0 {
		return "", false
	}
	text, ok := all[0].(string)
	return text, ok
}

func appendTimestamp(dst []byte, m *abi.Metadata) []byte {
	if m == nil || m.Has&abi.AttachTimestamp == 0 {
		return dst
	}
	dst = strconv.AppendUint(append(dst, "  Monotonic="...), m.Timestamp.MonotonicNS/1000, 10)
	dst = strconv.AppendUint(append(dst, "  Realtime="...), m.Timestamp.RealtimeNS/1000, 10)
	dst = strconv.AppendUint(append(dst, "  SequenceNumber="...), m.Timestamp.Seqnum, 10)
	return append(dst, '\n')
}

// sender returns what is known of the sender of a message.
func sender(m *kdbus.Message, native bool) *metadata.Peer {
	p := &metadata.Peer{Unique: m.Sender()}
	if known := m.Metadata(); known != nil {
		p.Metadata = *known
		p.NamesKnown = native && known.Has&abi.AttachPIDs != 0 // names that there are none of are absent
	}
	if native && p.Unique == busName {
		p.NamesKnown, p.Names = true, []abi.OwnedName{{Name: busName}}
	}
	return p
}

// AppendSender appends the lines that tell who sent a message and when.
func AppendSender(dst []byte, m *kdbus.Message, native bool) []byte {
	return metadata.AppendLines(appendTimestamp(dst, m.Metadata()), sender(m, native), indent)
}

func appendBody(dst []byte, m *kdbus.Message) ([]byte, error) {
	dst = append(append(append(dst, "  MESSAGE \""...), m.Signature()...), "\" {\n"...)
	dst, err := values.AppendTree(dst, m, "          ")
	return append(dst, "  };\n\n"...), err
}

// AppendBody appends the body of a message as monitor shows it, but not indented, and an empty
// line.
func AppendBody(dst []byte, m *kdbus.Message) ([]byte, error) {
	dst = append(append(append(dst, "MESSAGE \""...), m.Signature()...), "\" {\n"...)
	dst, err := values.AppendTree(dst, m, "        ")
	return append(dst, "};\n\n"...), err
}
