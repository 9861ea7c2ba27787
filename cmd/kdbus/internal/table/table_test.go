package table

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
)

// marks shows where a style would be.
type marks struct{}

func (marks) Heading(s string) string { return "<" + s + ">" }
func (marks) Bold(s string) string    { return "*" + s + "*" }
func (marks) Grey(s string) string    { return "_" + s + "_" }

func TestTable(t *testing.T) {
	table := &Table{Columns: []Column{{Title: "NAME"}, {Title: "SENT BYTES", Right: true}, {Title: "LIMIT", Data: true}, {Title: "LAST"}},
		Rows:   [][]Cell{{{Text: "é", Bold: true, JSON: "é"}, {Text: "7", JSON: 7}, {JSON: 9}, {}}, {Text(""), Text("x"), {}, Text("y\n\x1b[m\xff")}},
		Hidden: [][]Cell{{Text("wider than"), {}, {}, {}}}}
	const want = `<NAME>       <SENT BYTES> <LAST>
*é*                   7 _-_
_-_                   x y\n\033[m\377
`
	if diff := cmp.Diff(want, string(table.Append(nil, true, marks{}))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff("*é*          7 _-_\n_-_          x y\\n\\033[m\\377\n", string(table.Append(nil, false, marks{}))); diff != "" {
		t.Errorf("without a legend, -want +got\n%s", diff)
	}
	const json = `[{"name":"é","sent_bytes":7,"limit":9,"last":null},{"name":null,"sent_bytes":"x","limit":null,"last":"y\n\u001b[m�"}]` + "\n"
	if diff := cmp.Diff(json, string(jsontext.Append(nil, table.JSON(), jsontext.Short))); diff != "" {
		t.Errorf("JSON, -want +got\n%s", diff)
	}
}
