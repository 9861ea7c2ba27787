package manpage

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestPage(t *testing.T) {
	root := &cobra.Command{Use: "tool", Short: "Be a tool", Run: func(*cobra.Command, []string) {}}
	sub := &cobra.Command{
		Use: "do-it [flags] [WHAT...]", Short: "Do it", Run: func(*cobra.Command, []string) {},
		Long:    "Does it:\n'quoted' at the beginning of a line,\n.and a dot, a \\backslash.\n\n  kept  as it is\nand on",
		Example: "  tool do-it 'x' | cat -",
	}
	flags := sub.Flags()
	flags.StringP("file", "f", "", "a `FILE`\nto read")
	flags.Bool("all", false, "all of it")
	flags.Int("count", 3, "how many")
	flags.Bool("secret", false, "not shown")
	_ = flags.MarkHidden("secret")
	hidden := &cobra.Command{Use: "hidden", Hidden: true, Run: func(*cobra.Command, []string) {}}
	root.AddCommand(sub, hidden)
	pages := Pages(root, "tool", func(*cobra.Command) string { return "  0  good\n" })
	if len(pages) != 2 || pages[0].FileName() != "tool.1" || pages[1].FileName() != "tool-do-it.1" {
		t.Fatalf("pages %v", pages)
	}
	const want = `.TH "TOOL\-DO\-IT" 1 "" "tool" "User Commands"
.SH NAME
tool\-do\-it \- do it
.SH SYNOPSIS
.B tool do\-it [flags] [WHAT...]
.SH DESCRIPTION
.PP
Does it:
\(aqquoted\(aq at the beginning of a line,
\&.and a dot, a \ebackslash.
.PP
.PP
.nf
  kept  as it is
.fi
and on
.SH OPTIONS
.TP
.B \-\-all
all of it
.TP
.B \-\-count=int
how many (default: 3)
.TP
.B \-f, \-\-file=FILE
a FILE to read
.SH EXIT STATUS
.PP
.nf
  0  good
.fi
.SH EXAMPLES
.PP
.nf
  tool do\-it \(aqx\(aq | cat \-
.fi
.SH SEE ALSO
.BR tool (1),
.BR busctl (1),
.BR dbus\-daemon (1)
`
	if diff := cmp.Diff(want, string(pages[1].Text)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if text := string(pages[0].Text); !strings.Contains(text, ".BR tool\\-do\\-it (1)\nDo it.\n") || strings.Contains(text, "hidden") {
		t.Errorf("the page of the tool\n%s", text)
	}
}
