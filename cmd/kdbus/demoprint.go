package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kdbus-go/kdbus/wire"
)

// printMessage writes m as busctl's monitor does: its header in two lines, then its
// body as a tree, and an empty line. Fields that m lacks are left out. The cookie of the
// bus's own messages, all ones, is printed as -1.
func printMessage(w io.Writer, m *wire.Message) error {
	p := &messagePrinter{depth: 1}
	fmt.Fprintf(&p.text, " Type=%s  Endian=%c  Flags=%d  Version=1 Cookie=%d", m.Type, m.Order, m.Flags, int32(m.Serial))
	if m.ReplySerial != 0 {
		fmt.Fprintf(&p.text, "  ReplyCookie=%d", m.ReplySerial)
	}
	p.text.WriteByte('\n')
	for _, field := range []struct{ name, value string }{
		{"Sender", m.Sender}, {"Destination", m.Destination}, {"Path", m.Path},
		{"Interface", m.Interface}, {"Member", m.Member}, {"ErrorName", m.ErrorName},
	} {
		if field.value != "" {
			fmt.Fprintf(&p.text, "  %s=%s", field.name, field.value)
		}
	}
	fmt.Fprintf(&p.text, "\n  MESSAGE %q {\n", m.Signature)
	if err := wire.Walk(m.Order, m.Signature, m.Body, p); err != nil {
		return err
	}
	p.text.WriteString("  };\n\n")
	_, err := io.WriteString(w, p.text.String())
	return err
}

// messagePrinter writes the values of a body that it visits, one a line.
type messagePrinter struct {
	text  strings.Builder
	depth int
}

// typeNames are the types' names in the specification.
var typeNames = map[byte]string{
	'y': "BYTE", 'b': "BOOLEAN", 'n': "INT16", 'q': "UINT16", 'i': "INT32", 'u': "UINT32",
	'x': "INT64", 't': "UINT64", 'd': "DOUBLE", 's': "STRING", 'o': "OBJECT_PATH", 'g': "SIGNATURE",
	'h': "UNIX_FD", 'a': "ARRAY", '(': "STRUCT", '{': "DICT_ENTRY", 'v': "VARIANT",
}

// Basic is wire.Visitor's.
func (p *messagePrinter) Basic(v wire.Basic) error {
	var value string
	switch v.Type {
	case 's', 'o', 'g':
		value = strconv.Quote(v.Text())
	case 'b':
		value = strconv.FormatBool(v.Bool())
	case 'd':
		value = strconv.FormatFloat(v.Double(), 'g', -1, 64)
	case 'n', 'i', 'x':
		value = strconv.FormatInt(v.Int(), 10)
	default:
		value = strconv.FormatUint(v.Uint(), 10)
	}
	p.line(typeNames[v.Type] + " " + value + ";")
	return nil
}

// Enter is wire.Visitor's.
func (p *messagePrinter) Enter(kind byte, contents string) error {
	p.line(typeNames[kind] + " " + strconv.Quote(contents) + " {")
	p.depth++
	return nil
}

// Leave is wire.Visitor's.
func (p *messagePrinter) Leave(byte) error {
	p.depth--
	p.line("};")
	return nil
}

func (p *messagePrinter) line(s string) {
	p.text.WriteString("  " + strings.Repeat("        ", p.depth) + s + "\n")
}
