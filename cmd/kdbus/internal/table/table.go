// Package table prints rows in columns, as systemd's tools do, and as JSON. A column is as wide as
// its widest cell; nothing is cut off, however narrow a terminal is.
package table

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/values"
)

// Column is one column.
type Column struct {
	Title string // as the legend has it; in lower case the key in JSON
	Right bool   // aligned to the right
	Data  bool   // in JSON only; there is another column behind it
}

// Cell is what is in one column of one row.
type Cell struct {
	Text string // as it is printed; empty prints "-"
	JSON any    // in JSON; nil is null
	Bold bool
}

// Text is a cell of text, which may be empty: there is none.
func Text(s string) Cell {
	if s == "" {
		return Cell{}
	}
	return Cell{Text: s, JSON: s}
}

// Table is a table to be filled and printed.
type Table struct {
	Columns []Column
	Rows    [][]Cell
	// Hidden rows are not printed, and make columns as wide as if they were.
	Hidden [][]Cell
}

// Style is how parts of a table stand out on a terminal.
type Style interface {
	Heading(string) string
	Bold(string) string
	Grey(string) string
}

// Append appends the rows, under a legend if there is to be one.
func (t *Table) Append(dst []byte, legend bool, style Style) []byte {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		if legend {
			widths[i] = len(c.Title)
		}
		for _, row := range slices.Concat(t.Rows, t.Hidden) {
			widths[i] = max(widths[i], utf8.RuneCountInString(shown(row[i])))
		}
	}
	if legend {
		for i, c := range t.Columns {
			dst = t.cell(dst, i, widths[i], c.Title, style.Heading)
		}
		dst = endRow(dst)
	}
	for _, row := range t.Rows {
		for i, cell := range row {
			paint := func(s string) string { return s }
			if cell.Bold {
				paint = style.Bold
			} else if cell.Text == "" {
				paint = style.Grey
			}
			dst = t.cell(dst, i, widths[i], shown(cell), paint)
		}
		dst = endRow(dst)
	}
	return dst
}

// endRow puts the end of a row in place of what would separate its last cell from the next.
func endRow(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] == ' ' {
		dst[n-1] = '\n'
	}
	return dst
}

// shown returns what is printed of a cell. Peers choose some of it, and might choose what a terminal
// obeys.
func shown(c Cell) string {
	if c.Text == "" {
		return "-"
	}
	return string(values.AppendPrintable(nil, c.Text))
}

// cell appends one cell, and what separates it from the next.
func (t *Table) cell(dst []byte, column, width int, text string, paint func(string) string) []byte {
	if t.Columns[column].Data {
		return dst
	}
	padding := strings.Repeat(" ", width-utf8.RuneCountInString(text))
	last := column == len(t.Columns)-1
	if t.Columns[column].Right {
		dst = append(dst, padding...)
	}
	dst = append(dst, paint(text)...)
	if !t.Columns[column].Right && !last {
		dst = append(dst, padding...)
	}
	return append(dst, ' ')
}

// jsonKey makes a key of a title in lower case.
var jsonKey = strings.NewReplacer(" ", "_", "/", "_")

// JSON returns the rows as a list of objects.
func (t *Table) JSON() []any {
	list := make([]any, len(t.Rows))
	for i, row := range t.Rows {
		o := make(jsontext.Object, len(row))
		for j, cell := range row {
			o[j] = jsontext.Member{Key: jsonKey.Replace(strings.ToLower(t.Columns[j].Title)), Value: cell.JSON}
		}
		list[i] = o
	}
	return list
}
