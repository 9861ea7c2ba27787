package introspection

import (
	"slices"
	"strings"
)

// Lines are what trees are drawn with.
type Lines struct{ Branch, Last, Through, Space string }

// The lines of trees, in UTF-8 and in ASCII.
var (
	UTF8Lines  = Lines{Branch: "├─", Last: "└─", Through: "│ ", Space: "  "}
	ASCIILines = Lines{Branch: "|-", Last: "`-", Through: "| ", Space: "  "}
)

// Complete returns the paths, sorted, with all paths above them but "/".
func Complete(paths []string) []string {
	known := make(map[string]bool)
	for _, p := range paths {
		for p != "/" && p != "" && !known[p] {
			known[p] = true
			p = p[:strings.LastIndexByte(p, '/')]
		}
	}
	all := make([]string, 0, len(known))
	for p := range known {
		all = append(all, p)
	}
	slices.SortFunc(all, compare)
	return all
}

// compare orders paths so that what is below a path follows it.
func compare(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// AppendTree draws paths, as Complete returns them, as a tree.
func AppendTree(dst []byte, paths []string, lines Lines, grey func(string) string) []byte {
	children := make(map[string][]string)
	for _, p := range paths {
		parent := p[:strings.LastIndexByte(p, '/')]
		children[parent] = append(children[parent], p)
	}
	var draw func(parent, prefix string)
	draw = func(parent, prefix string) {
		list := children[parent]
		for i, p := range list {
			branch, below := lines.Branch, lines.Through
			if i == len(list)-1 {
				branch, below = lines.Last, lines.Space
			}
			dst = append(append(append(dst, grey(prefix+branch)...), p...), '\n')
			draw(p, prefix+below)
		}
	}
	draw("", "")
	return dst
}
