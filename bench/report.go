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
	Policies int           `json:"policies,omitempty"` // policy files that buses were started with
	// Buses are the names of the columns, ours first if it is there.
	Buses []Bus `json:"buses"`
	Rows  []Row `json:"rows"`
	// Missing says what was left out for want of a program that is not installed.
	Missing []string `json:"missing,omitempty"`
	// Failures says which measurements could not be made, and why.
	Failures []string `json:"failures,omitempty"`
}

// Bus is a bus that was measured.
type Bus struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Address string `json:"address,omitempty"` // of a bus that was not started for this
	Native  bool   `json:"native,omitempty"`  // it speaks the native protocol, as far as is known
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
// that of another bus, or to its own in another row, or, when Bus is ours and Row empty,
// on the median itself. Without a bound there is only something to compare with.
type Target struct {
	Bus     string  `json:"bus"`
	Row     string  `json:"row,omitempty"` // id
	AtMost  float64 `json:"at_most,omitempty"`
	AtLeast float64 `json:"at_least,omitempty"`
	// Ratio is that to the median in Row; 0 when there is none, or not both were measured.
	Ratio float64 `json:"ratio,omitempty"`
	// Met is nil when it cannot be told, as the bus was not measured or there is no bound.
	Met *bool `json:"met,omitempty"`
}

func (t *Target) String() string {
	bound := ""
	switch {
	case t.AtMost != 0:
		bound = fmt.Sprintf("<= %g", t.AtMost)
	case t.AtLeast != 0:
		bound = fmt.Sprintf(">= %g", t.AtLeast)
	}
	verdict := ""
	if t.Met != nil && *t.Met {
		verdict = "met"
	} else if t.Met != nil {
		verdict = "MISSED"
	}
	text := fmt.Sprintf("%-7s %-6s", bound, verdict)
	if t.Row != "" {
		text += " (to " + t.Row + ")"
	}
	return text
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

// conclude computes the ratios and judges the targets.
func (r *Report) conclude() {
	for i := range r.Rows {
		r.Rows[i].compare()
		r.Rows[i].judge(r.Rows)
	}
}

// compare computes the ratios to other buses.
func (r *Row) compare() {
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
}

// judge judges the target, which may be about another one of all rows.
func (r *Row) judge(all []Row) {
	ours, t := r.Values[Kdbus], r.Target
	if ours == nil || t == nil {
		return
	}
	value, ok := r.Ratios[t.Bus]
	switch {
	case t.Row != "":
		i := slices.IndexFunc(all, func(other Row) bool { return other.ID == t.Row })
		if i < 0 || all[i].Values[Kdbus] == nil || all[i].Values[Kdbus].Median == 0 {
			return
		}
		t.Ratio = ours.Median / all[i].Values[Kdbus].Median
		value, ok = t.Ratio, true
	case t.Bus == Kdbus:
		value, ok = ours.Median, true
	}
	if ok && t.AtMost+t.AtLeast > 0 {
		met := value >= t.AtLeast && (t.AtMost == 0 || value <= t.AtMost)
		t.Met = &met
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
	c := r.columns()
	t := tabwriter.NewWriter(&table, 0, 0, cellGap, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, strings.Join(r.header(c), "\t")+"\t")
	for _, row := range r.Rows {
		fmt.Fprintln(t, strings.Join(r.line(&row, c), "\t")+"\t")
	}
	t.Flush()
	policies := ""
	if r.Policies > 0 {
		policies = fmt.Sprintf(" With the policy of system buses and %d policy files, dbus-broker excepted.", r.Policies)
	}
	fmt.Fprintf(&out, "%s\nMedians of %d rounds of %v.%s%s\n\n", r.Machine, r.Rounds, r.Duration, policies, r.versions())
	for line := range strings.Lines(table.String()) {
		// The first column needs no gap before it, nor the last one blanks behind it.
		fmt.Fprintln(&out, strings.TrimRight(line[cellGap:], " \n"))
	}
	for _, m := range r.Missing {
		fmt.Fprintf(&out, "\nleft out: %s\n", m)
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

func (r *Report) header(c columns) []string {
	cells := append([]string{pad("", c.title), "unit"}, c.buses...)
	for _, bus := range c.ratios {
		cells = append(cells, "to "+bus)
	}
	if c.rowRatio {
		cells = append(cells, "to row")
	}
	if c.target > 0 {
		cells = append(cells, pad("target", c.target))
	}
	return cells
}

func (r *Report) line(row *Row, c columns) []string {
	cells := []string{pad(row.Title, c.title), string(row.Unit)}
	for _, bus := range c.buses {
		cell := "-"
		if v := row.Values[bus]; v != nil {
			cell = formatNumber(v.Median)
		}
		cells = append(cells, cell)
	}
	for _, bus := range c.ratios {
		cells = append(cells, formatRatio(row.Ratios[bus]))
	}
	target := row.Target
	if c.rowRatio {
		ratio := 0.0
		if target != nil {
			ratio = target.Ratio
		}
		cells = append(cells, formatRatio(ratio))
	}
	if c.target > 0 && target != nil {
		cells = append(cells, pad(target.String(), c.target))
	}
	return cells
}

// columns are those of the table, and the widths of cells that are aligned to the left,
// unlike all others.
type columns struct {
	buses    []string // with the floor
	ratios   []string // buses to compare ours with
	rowRatio bool     // whether some row is compared with another one
	title    int      // width
	target   int      // width; 0 if there is no such column
}

func (r *Report) columns() columns {
	var c columns
	ours := false
	for _, b := range r.Buses {
		c.buses = append(c.buses, b.Name)
		ours = ours || b.Name == Kdbus
	}
	if ours {
		c.ratios = slices.DeleteFunc(slices.Clone(c.buses), func(bus string) bool { return bus == Kdbus })
	}
	c.buses = append(c.buses, Floor)
	for i := range r.Rows {
		row := &r.Rows[i]
		c.title = max(c.title, utf8.RuneCountInString(row.Title))
		if ours && row.Target != nil {
			c.rowRatio = c.rowRatio || row.Target.Row != ""
			c.target = max(c.target, utf8.RuneCountInString(row.Target.String()))
		}
	}
	return c
}

// pad makes a cell of the table as wide as it has to be for being aligned to the left.
func pad(text string, width int) string { return fmt.Sprintf("%-*s", width, text) }

// formatRatio shows a ratio, which is 0 when there is none.
func formatRatio(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
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
