// Package manpage makes manual pages, man(7), of the commands of a program: from the very texts that
// their help prints, so that both say the same.
package manpage

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Page is a manual page.
type Page struct {
	Name string // such as kdbus-list, without the section
	Text []byte // roff
}

// FileName returns what the page's file is called.
func (p Page) FileName() string { return p.Name + ".1" }

// Pages returns the pages of a command and of all commands below it that can be used and are not
// hidden. Exit returns the exit codes of a command as text; version is that of the program.
func Pages(root *cobra.Command, version string, exit func(*cobra.Command) string) []Page {
	pages := []Page{page(root, version, exit)}
	for _, c := range root.Commands() {
		if shown(c) {
			pages = append(pages, Pages(c, version, exit)...)
		}
	}
	return pages
}

func shown(c *cobra.Command) bool { return c.IsAvailableCommand() }

// Name returns the name of the page of a command.
func Name(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func page(c *cobra.Command, version string, exit func(*cobra.Command) string) Page {
	var r roff
	name := Name(c)
	fmt.Fprintf(&r, ".TH %s 1 \"\" %s \"User Commands\"\n", quote(strings.ToUpper(name)), quote(version))
	r.section("NAME")
	r.line(name + " - " + strings.ToLower(c.Short[:1]) + c.Short[1:])
	r.section("SYNOPSIS")
	synopsis := c.UseLine()
	if c.HasAvailableSubCommands() {
		synopsis = c.CommandPath() + " COMMAND [ARGUMENT...]"
	}
	r.WriteString(".B ")
	r.line(synopsis)
	r.section("DESCRIPTION")
	r.text(c.Long)
	if c.HasAvailableSubCommands() {
		r.section("COMMANDS")
		for _, sub := range c.Commands() {
			if shown(sub) {
				fmt.Fprintf(&r, ".TP\n.BR %s (1)\n", escape(Name(sub)))
				r.line(sub.Short + ".")
			}
		}
	}
	if c.HasAvailableLocalFlags() {
		r.section("OPTIONS")
		c.LocalFlags().VisitAll(r.flag)
	}
	r.section("EXIT STATUS")
	r.literal(exit(c))
	if c.Example != "" {
		r.section("EXAMPLES")
		r.literal(c.Example)
	}
	r.section("SEE ALSO")
	r.seeAlso(c)
	return Page{Name: name, Text: []byte(r.String())}
}

// roff is a page being written.
type roff struct{ strings.Builder }

func (r *roff) section(title string) { fmt.Fprintf(r, ".SH %s\n", title) }

// line writes a line of text, which may be filled into a paragraph.
func (r *roff) line(s string) {
	s = escape(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	r.WriteString(s + "\n")
}

// text writes paragraphs. Lines that are indented stay as they are.
func (r *roff) text(s string) {
	for paragraph := range strings.SplitSeq(strings.TrimSpace(s), "\n\n") {
		r.WriteString(".PP\n")
		var kept []string
		for line := range strings.SplitSeq(paragraph, "\n") {
			if strings.HasPrefix(line, "  ") {
				kept = append(kept, line)
				continue
			}
			if len(kept) > 0 {
				r.literal(strings.Join(kept, "\n"))
				kept = nil
			}
			r.line(line)
		}
		if len(kept) > 0 {
			r.literal(strings.Join(kept, "\n"))
		}
	}
}

// literal writes lines that stay as they are.
func (r *roff) literal(s string) {
	r.WriteString(".PP\n.nf\n")
	for line := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
		r.line(line)
	}
	r.WriteString(".fi\n")
}

func (r *roff) flag(f *pflag.Flag) {
	if f.Hidden {
		return
	}
	value, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" && f.ShorthandDeprecated == "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if value != "" && f.NoOptDefVal == "" {
		name += "=" + value
	} else if value != "" && f.Value.Type() != "bool" {
		name += "[=" + value + "]"
	}
	r.WriteString(".TP\n.B ")
	r.line(name)
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
		usage += " (default: " + f.DefValue + ")"
	}
	r.line(strings.ReplaceAll(usage, "\n", " "))
}

// seeAlso names the pages above, below and beside that of c.
func (r *roff) seeAlso(c *cobra.Command) {
	var names []string
	if c.HasParent() {
		names = append(names, Name(c.Parent()))
		for _, other := range c.Parent().Commands() {
			if other != c && shown(other) {
				names = append(names, Name(other))
			}
		}
	}
	names = append(names, "busctl", "dbus-daemon")
	for i, name := range names {
		end := ","
		if i == len(names)-1 {
			end = ""
		}
		fmt.Fprintf(r, ".BR %s (1)%s\n", escape(name), end)
	}
}

// escape returns s so that it is printed as it is.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\(ga", "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// quote returns s as an argument of a macro.
func quote(s string) string { return `"` + strings.ReplaceAll(escape(s), `"`, `\(dq`) + `"` }
