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

// compare orders paths so that what is below a path follows it.
func compare(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

// AppendTree draws paths as a tree: each below the nearest one above it that is among them. The
// root "/" itself is not drawn.
func AppendTree(dst []byte, paths []string, lines Lines, grey func(string) string) []byte {
	known := map[string]bool{"": true}
	for _, p := range paths {
		known[p] = true
	}
	sorted := slices.Clone(paths)
	slices.SortFunc(sorted, compare)
	children := make(map[string][]string)
	for _, p := range sorted {
		if p == "/" {
			continue
		}
		parent := p
		for parent == p || !known[parent] {
			parent = parent[:strings.LastIndexByte(parent, '/')]
		}
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
