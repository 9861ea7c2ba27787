//go:build conformance

package driver

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/conformance/internal/peer"
)

var (
	typeNames = map[byte]string{peer.TypeCall: "call", peer.TypeReply: "reply", peer.TypeError: "error", peer.TypeSignal: "signal"}
	idPattern = regexp.MustCompile(`\b[0-9a-f]{32}\b`)
)

// format writes a message as transcripts have it, with all that varies from bus to bus replaced.
func (s *session) format(m *peer.Message) string {
	name := typeNames[m.Type]
	if name == "" {
		name = fmt.Sprintf("type %d", m.Type)
	}
	parts := []string{name}
	if m.Flags != 0 {
		parts = append(parts, fmt.Sprintf("flags=%d", m.Flags))
	}
	fields := slices.Clone(m.Fields)
	sort.SliceStable(fields, func(i, j int) bool { return fields[i].Code < fields[j].Code })
	for _, f := range fields {
		parts = append(parts, formatField(f))
	}
	for _, v := range m.Body {
		if s.sorted {
			v = sortedArrays(v)
		}
		if s.shape {
			parts = append(parts, formatShape(v))
		} else {
			parts = append(parts, peer.Format(s.withoutPID(v)))
		}
	}
	return s.normalise(strings.Join(parts, " "))
}

func formatField(f peer.Field) string {
	names := map[byte]string{peer.FieldPath: "path", peer.FieldInterface: "interface", peer.FieldMember: "member",
		peer.FieldErrorName: "name", peer.FieldReplySerial: "answers", peer.FieldDestination: "to",
		peer.FieldSender: "from", peer.FieldSignature: "signature", peer.FieldUnixFDs: "fds"}
	name := names[f.Code]
	if name == "" {
		name = "field" + strconv.Itoa(int(f.Code))
	}
	return fmt.Sprintf("%s=%v", name, f.Value.Value)
}

// normalise replaces unique names by the labels of their clients, and the ids of buses.
func (s *session) normalise(text string) string {
	for _, c := range s.clients {
		if c.Name != "" {
			text = regexp.MustCompile(regexp.QuoteMeta(c.Name)+`\b`).ReplaceAllString(text, "<"+c.label+">")
		}
	}
	text = regexp.MustCompile(regexp.QuoteMeta(s.witness.Name)+`\b`).ReplaceAllString(text, "<witness>")
	text = strings.ReplaceAll(text, fmt.Sprintf("_per_connection=%d", s.most), "_per_connection=<most>")
	return idPattern.ReplaceAllStringFunc(text, func(id string) string {
		if machine, _ := os.ReadFile("/etc/machine-id"); strings.TrimSpace(string(machine)) == id {
			return "<machine id>"
		}
		return "<id>"
	})
}

// withoutPID replaces the process id of the bus.
func (s *session) withoutPID(v any) any {
	switch v := v.(type) {
	case uint32:
		if int(v) == s.bus.PID {
			return "<pid of the bus>"
		}
	case peer.Variant:
		return peer.Variant{Sig: v.Sig, Value: s.withoutPID(v.Value)}
	case peer.Entry:
		return peer.Entry{Key: v.Key, Value: s.withoutPID(v.Value)}
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = s.withoutPID(x)
		}
		return out
	}
	return v
}

func sortedArrays(v any) any {
	if p, ok := v.(peer.Variant); ok {
		return peer.Variant{Sig: p.Sig, Value: sortedArrays(p.Value)}
	}
	list, ok := v.([]any)
	if !ok {
		return v
	}
	list = slices.Clone(list)
	sort.Slice(list, func(i, j int) bool { return peer.Format(list[i]) < peer.Format(list[j]) })
	return list
}

// formatShape writes a value with its leaves replaced by their types.
func formatShape(v any) string {
	switch v := v.(type) {
	case []any:
		var parts []string
		for _, x := range v {
			if e, ok := x.(peer.Entry); ok {
				parts = append(parts, fmt.Sprintf("%v: %s", e.Key, formatShape(e.Value)))
			}
		}
		if parts == nil {
			return fmt.Sprintf("%T", v)
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	case peer.Variant:
		return v.Sig
	}
	return fmt.Sprintf("%T", v)
}
