package kdbus

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The index, docs/kdbus-conformance.md, is tables of three columns: what a manual page promises; the tests that
// prove it, each in backticks, as "TestName" of this package (whose case has the words of the first column),
// "TestName/case", "package.TestName" or "package.TestName/case"; and what is different in user space.

const (
	module = "../.."
	index  = "docs/kdbus-conformance.md"
)

// row is one line of a table.
type row struct {
	line       int
	section    string // the last heading
	sentence   string
	tests      []string
	difference string
}

// readIndex returns all rows.
func readIndex(t *testing.T) (rows []row) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(module, index))
	if err != nil {
		t.Fatal(err)
	}
	section, number := "", 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if heading := strings.TrimLeft(line, "#"); heading != line {
			section = strings.TrimSpace(heading)
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| what holds |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			t.Fatalf("%s:%d: %d cells", index, number, len(cells))
		}
		r := row{number, section, strings.TrimSpace(cells[0]), nil, strings.TrimSpace(cells[2])}
		for i, part := range strings.Split(cells[1], "`") {
			if i%2 == 1 {
				r.tests = append(r.tests, part)
			}
		}
		if rest := strings.TrimSpace(cells[1]); len(r.tests) == 0 && rest != "" {
			t.Errorf("%s:%d: %q is no test", index, number, rest)
		}
		rows = append(rows, r)
	}
	return rows
}

// tests are the test functions of a package, by name.
type tests map[string]*ast.FuncDecl

// parsed are the packages that were looked at.
var parsed = make(map[string]tests)

// testsOf returns the tests of the package in a directory of the module.
func testsOf(t *testing.T, dir string) tests {
	t.Helper()
	if found := parsed[dir]; found != nil {
		return found
	}
	found := make(tests)
	files, err := filepath.Glob(filepath.Join(module, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				found[f.Name.Name] = f
			}
		}
	}
	parsed[dir] = found
	return found
}

// text returns the value of a string literal.
func text(e ast.Node) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// mentions reports whether a function has a string literal, which is how cases are named.
func mentions(f *ast.FuncDecl, want string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := text(n); ok && s == want {
			found = true
		}
		return !found
	})
	return found
}

// cases returns the cases of a test of this package: each is a call with its name among the first two arguments.
func cases(f *ast.FuncDecl) (names []string) {
	for _, statement := range f.Body.List {
		e, ok := statement.(*ast.ExprStmt)
		if !ok {
			continue
		}
		call, ok := e.X.(*ast.CallExpr)
		if !ok {
			continue
		}
		for _, arg := range call.Args[:min(2, len(call.Args))] {
			if s, ok := text(arg); ok {
				names = append(names, s)
				break
			}
		}
	}
	return names
}

// resolve returns the package, the test and the case that a reference names.
func resolve(ref, sentence string) (dir, test, name string) {
	test, name, _ = strings.Cut(ref, "/")
	if at := strings.LastIndex(test, "."); at >= 0 {
		if dir = strings.ReplaceAll(test[:at], ".", "/"); dir == "kdbus" {
			dir = "." // the library
		}
		return dir, test[at+1:], name
	}
	if name == "" {
		name = sentence
	}
	return "conformance/kdbus", test, name
}

func TestEveryTestOfTheIndexExists(t *testing.T) {
	for _, r := range readIndex(t) {
		for _, ref := range r.tests {
			dir, test, name := resolve(ref, r.sentence)
			f := testsOf(t, dir)[test]
			switch {
			case f == nil:
				t.Errorf("%s:%d: package %s has no %s", index, r.line, dir, test)
			case name != "" && !mentions(f, name):
				t.Errorf("%s:%d: %s has no case %q", index, r.line, test, name)
			}
		}
	}
}

func TestEverySentenceHasAProofOrAReason(t *testing.T) {
	rows := readIndex(t)
	if len(rows) < 100 {
		t.Fatalf("the index has %d rows", len(rows))
	}
	seen := make(map[string]int)
	for _, r := range rows {
		if len(r.tests) == 0 && r.difference == "" {
			t.Errorf("%s:%d: neither a test nor a difference", index, r.line)
		}
		key := r.section + "\n" + r.sentence
		if first := seen[key]; first != 0 {
			t.Errorf("%s:%d: the same as line %d", index, r.line, first)
		}
		seen[key] = r.line
	}
}

func TestEveryCaseIsInTheIndex(t *testing.T) {
	indexed := make(map[string]bool)
	for _, r := range readIndex(t) {
		for _, ref := range r.tests {
			_, test, name := resolve(ref, r.sentence)
			indexed[test+"/"+name] = true
		}
	}
	for test, f := range testsOf(t, "conformance/kdbus") {
		for _, name := range cases(f) {
			if !indexed[test+"/"+name] {
				t.Errorf("%s: no row for %s, %q", index, test, name)
			}
		}
	}
}

// documented are the errors that the manual pages have, by command.
var documented = map[string]string{
	"BUS_MAKE":        "EBADMSG EINVAL EEXIST ESHUTDOWN EMFILE",
	"ENDPOINT_MAKE":   "EINVAL EEXIST EPERM",
	"ENDPOINT_UPDATE": "EINVAL",
	"HELLO":           "EFAULT EINVAL ECONNREFUSED EPERM ESHUTDOWN EMFILE EOPNOTSUPP",
	"BYEBYE":          "EALREADY EBUSY EINVAL",
	"CONN_INFO":       "EINVAL ESRCH ENXIO",
	"UPDATE":          "EINVAL EOPNOTSUPP E2BIG",
	"NAME_ACQUIRE":    "EINVAL EPERM EALREADY EEXIST E2BIG",
	"NAME_RELEASE":    "EINVAL ESRCH EADDRINUSE",
	"LIST":            "EINVAL ENOBUFS",
	"MATCH_ADD":       "EINVAL EDOM EMFILE",
	"MATCH_REMOVE":    "EINVAL EBADSLT",
	"SEND": "EOPNOTSUPP EINVAL ENOTUNIQ E2BIG EMSGSIZE EEXIST EBADF EMEDIUMTYPE EMFILE EBADMSG ETXTBSY ECOMM EFAULT EDOM " +
		"EDESTADDRREQ ESRCH EADDRNOTAVAIL ENXIO ECONNRESET ETIMEDOUT EINTR EPIPE ENOBUFS EREMCHG EXFULL EREMOTEIO ECANCELED",
	"RECV":         "EOPNOTSUPP EINVAL EAGAIN",
	"FREE":         "ENXIO EINVAL",
	"all commands": "ENOTTY EPROTO",
}

func TestEveryDocumentedErrorIsInTheIndex(t *testing.T) {
	listed := make(map[string][]string)
	for _, r := range readIndex(t) {
		if command, ok := strings.CutPrefix(r.section, "Errors of "); ok {
			errno, _, _ := strings.Cut(r.sentence, ":")
			listed[command] = append(listed[command], errno)
		}
	}
	for command, errnos := range documented {
		for errno := range strings.FieldsSeq(errnos) {
			if !slices.Contains(listed[command], errno) {
				t.Errorf("%s: %s of %s is missing", index, errno, command)
			}
		}
	}
	for command := range listed {
		if documented[command] == "" {
			t.Errorf("%s: there is no command %q", index, command)
		}
	}
}
