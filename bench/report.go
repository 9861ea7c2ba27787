package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Unit is what the numbers of a row are.
type Unit string

// The units, and which numbers are the better ones.
const (
	Microseconds Unit = "µs"  // lower
	PerSecond    Unit = "/s"  // higher
	KiB          Unit = "KiB" // lower
)

// scale turns what a worker measures into the unit.
func (u Unit) scale(value float64) float64 {
	switch u {
	case Microseconds:
		return value / float64(time.Microsecond)
	case KiB:
		return value / 1024
	}
	return value
}

// Floor is the name under which rows have the same work done over a bare UNIX socket
// pair, without a bus.
const Floor = "socket pair"

// Report is the outcome of a run; its JSON form is described in the package comment.
type Report struct {
	Machine  Machine       `json:"machine"`
	Rounds   int           `json:"rounds"`
	Duration time.Duration `json:"duration_ns"`
	// Buses are the names of the columns, ours first if it is there.
	Buses []Bus `json:"buses"`
	Rows  []Row `json:"rows"`
	// Failures says which measurements could not be made, and why.
	Failures []string `json:"failures,omitempty"`
}

// Bus is a bus that was measured.
type Bus struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Address string `json:"address,omitempty"` // of a bus that was not started for this
}

// Row is one line of the table.
type Row struct {
	ID     string             `json:"id"`
	Title  string             `json:"title"`
	Unit   Unit               `json:"unit"`
	Values map[string]*Values `json:"values"`           // by bus, and Floor
	Ratios map[string]float64 `json:"ratios,omitempty"` // ours divided by that of another bus
	Target *Target            `json:"target,omitempty"`
}

// Values are what was measured for one bus.
type Values struct {
	Median float64   `json:"median"`
	Rounds []float64 `json:"rounds"` // in the order measured
}

// Target is what is asked of our bus in a row: a bound on the ratio of its median to
// that of another bus or, when Bus is ours, on the median itself.
type Target struct {
	Bus     string  `json:"bus"`
	AtMost  float64 `json:"at_most,omitempty"`
	AtLeast float64 `json:"at_least,omitempty"`
	// Met is nil when it cannot be told, as the bus was not measured.
	Met *bool `json:"met,omitempty"`
}

func (t *Target) String() string {
	bound := fmt.Sprintf("<= %g", t.AtMost)
	if t.AtLeast != 0 {
		bound = fmt.Sprintf(">= %g", t.AtLeast)
	}
	verdict := ""
	if t.Met != nil && *t.Met {
		verdict = "met"
	} else if t.Met != nil {
		verdict = "MISSED"
	}
	return fmt.Sprintf("%-7s %-6s", bound, verdict)
}

// add adds a value of one round.
func (r *Row) add(bus string, value float64) {
	v := r.Values[bus]
	if v == nil {
		v = &Values{}
		r.Values[bus] = v
	}
	v.Rounds = append(v.Rounds, value)
	v.Median = median(v.Rounds)
}

// conclude computes the ratios and judges the target.
func (r *Row) conclude() {
	ours := r.Values[Kdbus]
	if ours == nil {
		return
	}
	for bus, v := range r.Values {
		if bus == Kdbus || bus == Floor || v.Median == 0 {
			continue
		}
		if r.Ratios == nil {
			r.Ratios = map[string]float64{}
		}
		r.Ratios[bus] = ours.Median / v.Median
	}
	if r.Target == nil {
		return
	}
	value, ok := r.Ratios[r.Target.Bus]
	if r.Target.Bus == Kdbus {
		value, ok = ours.Median, true
	}
	if ok {
		met := value >= r.Target.AtLeast && (r.Target.AtMost == 0 || value <= r.Target.AtMost)
		r.Target.Met = &met
	}
}

// WriteJSON writes the report as one indented JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var table, out strings.Builder
	columns, ratios := r.columns()
	t := tabwriter.NewWriter(&table, 0, 0, cellGap, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, strings.Join(r.header(columns, ratios), "\t")+"\t")
	for _, row := range r.Rows {
		fmt.Fprintln(t, strings.Join(r.line(&row, columns, ratios), "\t")+"\t")
	}
	t.Flush()
	fmt.Fprintf(&out, "%s\nMedians of %d rounds of %v.%s\n\n", r.Machine, r.Rounds, r.Duration, r.versions())
	for line := range strings.Lines(table.String()) {
		// The first column needs no gap before it, nor the last one blanks behind it.
		fmt.Fprintln(&out, strings.TrimRight(line[cellGap:], " \n"))
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&out, "\nnot measured: %s\n", f)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// cellGap is the space between columns of the table.
const cellGap = 2

// versions returns a sentence on the versions of the buses, as far as they are known.
func (r *Report) versions() string {
	var known []string
	for _, b := range r.Buses {
		if b.Version != "" {
			known = append(known, b.Name+" "+b.Version)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return " " + strings.Join(known, ", ") + "."
}

func (r *Report) header(columns, ratios []string) []string {
	cells := append([]string{r.titleCell(""), "unit"}, columns...)
	for _, bus := range ratios {
		cells = append(cells, "to "+bus)
	}
	if len(ratios) > 0 {
		cells = append(cells, fmt.Sprintf("%-14s", "target"))
	}
	return cells
}

func (r *Report) line(row *Row, columns, ratios []string) []string {
	cells := []string{r.titleCell(row.Title), string(row.Unit)}
	for _, bus := range columns {
		cell := "-"
		if v := row.Values[bus]; v != nil {
			cell = formatNumber(v.Median)
		}
		cells = append(cells, cell)
	}
	for _, bus := range ratios {
		cell := "-"
		if v, ok := row.Ratios[bus]; ok {
			cell = fmt.Sprintf("%.2f", v)
		}
		cells = append(cells, cell)
	}
	if len(ratios) > 0 && row.Target != nil {
		cells = append(cells, row.Target.String())
	}
	return cells
}

// columns returns the buses to show, and those to compare ours with.
func (r *Report) columns() (columns, ratios []string) {
	ours := false
	for _, b := range r.Buses {
		columns = append(columns, b.Name)
		ours = ours || b.Name == Kdbus
	}
	if ours {
		ratios = slices.DeleteFunc(slices.Clone(columns), func(bus string) bool { return bus == Kdbus })
	}
	return append(columns, Floor), ratios
}

// titleCell pads a title to the length of the longest, as the other columns are aligned
// to the right.
func (r *Report) titleCell(title string) string {
	width := 0
	for _, row := range r.Rows {
		width = max(width, utf8.RuneCountInString(row.Title))
	}
	return fmt.Sprintf("%-*s", width, title)
}

// formatNumber shows what matters of a number: three digits or all before the point.
func formatNumber(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
