// Package tty is what is different when a command writes to a terminal and not to a pipe
// or a file: colours, its width, a pager. It leaves to others what is written.
package tty

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// Is reports whether stream is a terminal.
func Is(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// Size returns how many columns and lines the terminal has; 80 and 24 if it does not say.
func Size(stream any) (columns, lines int) {
	if file, ok := stream.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
			return int(size.Col), int(size.Row)
		}
	}
	return 80, 24
}

// Style colours text, if it is on.
type Style bool

// StyleOf returns the style for what is written to stream: colours on a terminal that knows any, unless
// NO_COLOR (no-color.org) says that they are not wanted. SYSTEMD_COLORS says it for systemd's tools and
// these, either way.
func StyleOf(stream any) Style {
	switch os.Getenv("SYSTEMD_COLORS") {
	case "0", "no", "false", "off", "n", "f":
		return false
	case "1", "yes", "true", "on", "y", "t", "16", "256", "24bit":
		return true
	}
	return Style(HasCursor(stream) && os.Getenv("NO_COLOR") == "")
}

// HasCursor reports whether stream is a terminal that can write where it has written before.
func HasCursor(stream any) bool {
	term := os.Getenv("TERM")
	return term != "" && term != "dumb" && Is(stream)
}

// Sequences of ECMA-48, "SELECT GRAPHIC RENDITION".
const (
	reset     = "\x1b[0m"
	bold      = "\x1b[1m"
	underline = "\x1b[4m"
	grey      = "\x1b[38;5;245m"
)

// Bold returns s in bold.
func (on Style) Bold(s string) string { return on.wrap(bold, s) }

// Heading returns s as the head of a table is.
func (on Style) Heading(s string) string { return on.wrap(underline, s) }

// Grey returns s as what matters less.
func (on Style) Grey(s string) string { return on.wrap(grey, s) }

func (on Style) wrap(sequence, s string) string {
	if !on || s == "" {
		return s
	}
	return sequence + s + reset
}

// Sequences for a screen that is written again and again.
const (
	EnterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	LeaveScreen = "\x1b[?25h\x1b[?1049l"
	Home        = "\x1b[H"
	ClearLine   = "\x1b[K"
	ClearBelow  = "\x1b[J"
)

// Cut returns the part of a line that fits into so many columns, with all of its sequences, which
// take none.
func Cut(line string, columns int) string {
	var b strings.Builder
	inSequence := false
	for _, r := range line {
		switch {
		case r == '\x1b':
			inSequence = true
		case inSequence:
			inSequence = r == '[' || r < '@' || r > '~'
		case columns == 0:
			continue
		default:
			columns--
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Page returns where to write what may be long, and a function that ends it and waits until it
// has been read. On a terminal that is a pager: $KDBUS_PAGER, $SYSTEMD_PAGER, $PAGER or less;
// none if the first of them that is set is empty or "cat". In any other case it is stdout.
func Page(stdout *os.File, wanted bool) (out *os.File, end func() error) {
	none := func() error { return nil }
	if !wanted || !Is(stdout) {
		return stdout, none
	}
	argv := pager()
	if len(argv) == 0 {
		return stdout, none
	}
	r, w, err := os.Pipe()
	if err != nil {
		return stdout, none
	}
	defer r.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, stdout, os.Stderr
	cmd.Env = append(os.Environ(), "LESS=FRSXMK")
	if cmd.Start() != nil {
		w.Close()
		return stdout, none
	}
	// Ctrl-C is for the pager, which leaves the terminal in order; to end before it would not.
	signal.Ignore(os.Interrupt)
	return w, func() error {
		w.Close()
		defer signal.Reset(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("the pager %s: %w", argv[0], err)
		}
		return nil
	}
}

func pager() []string {
	for _, variable := range [...]string{"KDBUS_PAGER", "SYSTEMD_PAGER", "PAGER"} {
		if value, ok := os.LookupEnv(variable); ok {
			if argv := strings.Fields(value); len(argv) > 0 && argv[0] != "cat" {
				return argv
			}
			return nil
		}
	}
	return []string{"less"}
}

// UTF8 reports whether the locale lets lines be drawn: it is of UTF-8, or nothing is set.
func UTF8() bool {
	for _, variable := range [...]string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := os.Getenv(variable); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return true
}
