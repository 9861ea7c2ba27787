package busconfig

import (
	"errors"
	"strings"
)

// SplitCommand takes a command line apart as dbus-daemon does with Exec of a .service file, which is what a shell
// does with words and quotes: blanks, tabs and newlines separate words; '...' is literal; in "..." a
// backslash protects $ ` " \ and newline and is literal before others; elsewhere it protects everything,
// except that a newline after it vanishes; # at the beginning of a word begins a comment. Nothing is
// expanded.
//
// Odd cases are as in dbus-daemon: a # within a word begins a comment too, and what follows the comment goes on with
// that word; an unquoted newline ends a word even if there is none, which gives an empty one, and so
// does the end after blanks.
func SplitCommand(line string) ([]string, error) {
	tokens, err := commandTokens(line)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(tokens))
	for i, t := range tokens {
		if words[i], err = unquote(t); err != nil {
			return nil, err
		}
	}
	return words, nil
}

var errQuote = errors.New("a quotation mark is not closed, or the line ends in a backslash")

// commandTokens finds the words, with their quotes.
func commandTokens(line string) ([]string, error) {
	var tokens []string
	var word strings.Builder
	var quote byte       // ' or " inside of them, \ after one, # in a comment
	backslashes := false // an odd number of them came just before
	delimit := func() { tokens = append(tokens, word.String()); word.Reset() }
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\\':
			if c != '\n' {
				word.WriteString(line[i-1 : i+1])
			}
			quote = 0
		case quote == '#':
			if end := strings.IndexByte(line[i:], '\n'); end < 0 {
				i = len(line)
			} else {
				i += end
			}
			quote = 0
		case quote != 0:
			if c == quote && !(c == '"' && backslashes) {
				quote = 0
			}
			word.WriteByte(c)
		case c == '\n':
			delimit()
		case c == ' ' || c == '\t':
			if word.Len() > 0 {
				delimit()
			}
		case c == '#' || c == '\\':
			quote = c
		default:
			if c == '\'' || c == '"' {
				quote = c
			}
			word.WriteByte(c)
		}
		backslashes = c == '\\' && !backslashes
	}
	delimit()
	if quote != 0 {
		return nil, errQuote
	}
	return tokens, nil
}

// unquote removes the quotes of a word.
func unquote(s string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			if i++; i < len(s) && s[i] != '\n' {
				out.WriteByte(s[i])
			}
		case '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return "", errQuote
			}
			out.WriteString(s[i+1 : i+1+end])
			i += 1 + end
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\`$\n", s[i+1]) >= 0 {
					i++
				}
				out.WriteByte(s[i])
			}
			if i == len(s) {
				return "", errQuote
			}
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), nil
}
