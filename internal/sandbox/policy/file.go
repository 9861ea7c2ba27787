package policy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Read adds the flags in r, one in a line, as on a command line but without quoting. Empty lines, and
// those that begin with "#", mean nothing. An error names the line.
func (p *Policy) Read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := p.AddFlag(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

// Format returns the flags as Read reads them.
func (p *Policy) Format() []byte {
	var b bytes.Buffer
	for _, flag := range p.flags {
		fmt.Fprintln(&b, flag)
	}
	return b.Bytes()
}
