package config

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. The parser of the library recurses once for each key of a
// mapping and once for each level, so keys and levels are bounded before it
// runs: a stack overflow ends the process and cannot be recovered from.
const (
	maxFile   = 16 << 20  // bytes
	maxLine   = 8 << 10   // bytes; a line can open one level for every two of them
	maxSigns  = 1_000_000 // characters that can each become a token
	maxKeys   = 25_000    // keys of one mapping
	maxLevels = 100       // brackets inside one another
)

// source is the text of one file.
type source struct {
	name   string
	lines  []string // without line ends
	masked []string // the same, secrets masked; nil until something is to be shown
	hidden []string // what was masked
}

func newSource(name string, data []byte) *source {
	s := &source{name: name}
	if len(data) > maxFile {
		return s // refused by its size, nothing of it is shown
	}
	s.lines = strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	return s
}

// byteOrderMark is what some editors put in front of UTF-8.
const byteOrderMark = "\ufeff"

// maxExcerpt bounds what is shown of a line, in characters.
const maxExcerpt = 120

// excerpt is one line, secrets masked, without characters that would move the
// cursor of a terminal; of a long line the part around a column. It returns
// the column within the excerpt too.
func (s *source) excerpt(at pos) (string, int) {
	s.mask()
	if at.line < 1 || at.line > len(s.masked) {
		return "", 0
	}
	line := []rune(strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s.masked[at.line-1]))
	before, after, col := "", "", at.col
	if from := at.col - maxExcerpt*2/3; from > 0 && len(line) > maxExcerpt {
		from = min(from, len(line))
		line, before, col = line[from:], "…", at.col-from+1
	}
	if len(line) > maxExcerpt {
		line, after = line[:maxExcerpt], "…"
	}
	return before + string(line) + after, col
}

// hide takes every masked value out of a message.
func (s *source) hide(message string) string {
	s.mask()
	for _, h := range s.hidden {
		message = strings.ReplaceAll(message, h, "***")
	}
	return message
}

// secretKey finds a key whose value is a secret. A key that ends in _file
// holds a path; `key:` alone may open a mapping.
var secretKey = regexp.MustCompile(`(?i)(?:^|[\s{,"'-])([\w.-]*(?:secret|passw|token|credential|private|authorization|cookie|key|url_file)[\w.-]*)["']?\s*:(?:\s|$)`)

// mask hides what stands behind a key that names a secret, to the end of the
// line and on the deeper lines below it: too much rather than too little.
func (s *source) mask() {
	if s.masked != nil {
		return
	}
	s.masked = make([]string, len(s.lines))
	depth := -1 // indentation of the secret key whose value may go on below
	for i, line := range s.lines {
		s.masked[i] = line
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if depth >= 0 && strings.TrimSpace(line) != "" {
			if indent > depth {
				s.masked[i] = line[:indent] + s.stars(line[indent:])
				continue
			}
			depth = -1
		}
		if !mayBeSecret(line) {
			continue
		}
		for _, m := range secretKey.FindAllStringSubmatchIndex(line, -1) {
			key, from := strings.ToLower(line[m[2]:m[3]]), m[1]
			rest := strings.TrimSpace(line[from:])
			if strings.HasSuffix(key, "_file") && !looksLikeSecret(rest) {
				continue
			}
			if rest == "" && s.opensMapping(i, indent) || strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "#") {
				continue
			}
			from += strings.Index(line[from:], rest)
			s.masked[i] = line[:from] + s.stars(line[from:])
			depth = indent
			break
		}
		if m := userInfo.FindStringSubmatchIndex(s.masked[i]); m != nil {
			l := s.masked[i]
			s.masked[i] = l[:m[2]] + s.stars(l[m[2]:m[3]]) + l[m[3]:]
		}
	}
}

// userInfo is the user and password of a URL.
var userInfo = regexp.MustCompile(`//([^/\s"']*:[^/\s"']*)@`)

// mayBeSecret is a fast look before the slow one.
func mayBeSecret(line string) bool {
	if !strings.Contains(line, ":") {
		return false
	}
	line = strings.ToLower(line)
	for _, w := range []string{"//", "key", "secret", "passw", "token", "credential", "private", "authorization", "cookie"} {
		if strings.Contains(line, w) {
			return true
		}
	}
	return false
}

// opensMapping says that the next line with text is a deeper `key:` line, so
// that the key above holds no text of its own.
func (s *source) opensMapping(i, indent int) bool {
	for _, next := range s.lines[i+1:] {
		t := strings.TrimSpace(next)
		if t == "" || strings.HasPrefix(t, "#") {
			continue
		}
		deeper := len(next)-len(strings.TrimLeft(next, " ")) > indent
		return !deeper || mappingLine.MatchString(t)
	}
	return true
}

var mappingLine = regexp.MustCompile(`^(- +)?[\w.-]+:(\s|$)`)

// base64Text is what `tsig-keygen` and `openssl rand -base64` print.
var base64Text = regexp.MustCompile(`^["']?[A-Za-z0-9+/]{16,}={0,2}["']?(\s|,|}|$)`)

// urlText is a URL in a text, in quotes or not.
var urlText = regexp.MustCompile(`^["']?[a-zA-Z][a-zA-Z0-9+.-]*://`)

// looksLikeSecret says that a value where a path belongs is rather the secret
// itself: a URL, base64 with its final '=', or long and without any '/' or '.'.
func looksLikeSecret(v string) bool {
	if urlText.MatchString(v) {
		return true // with a token in it, where the path of its file belongs
	}
	if !base64Text.MatchString(v) {
		return false
	}
	return strings.Contains(v, "=") || !strings.ContainsAny(v, "/.") && len(v) >= 32
}

func (s *source) stars(v string) string {
	if h := strings.Trim(strings.TrimSpace(v), `"'{},`); len(h) >= 4 {
		s.hidden = append(s.hidden, h)
	}
	return strings.Repeat("*", utf8.RuneCountInString(v))
}

// check notes everything for which the text must not reach the parser, and
// says whether it may.
func (s *source) check(n *notes, data []byte) bool {
	switch {
	case len(data) > maxFile:
		n.fault(pos{1, 1}, "split it, or look whether it is a config at all", "the file is larger than %d MiB", maxFile>>20)
		return false
	case bytes.HasPrefix(data, []byte(byteOrderMark)):
		n.fault(pos{1, 1}, "save the file as UTF-8 without BOM: sed -i '1s/^\\xEF\\xBB\\xBF//' FILE", "the text begins with a byte order mark (BOM)")
		return false
	case !utf8.Valid(data):
		n.fault(s.firstInvalid(), "save the file as UTF-8", "the text is not UTF-8")
		return false
	}
	for i, line := range s.lines {
		if len(line) > maxLine {
			n.fault(pos{i + 1, 1}, "break it", "the line is longer than %d KiB", maxLine>>10)
			return false
		}
		if printable(line) {
			continue
		}
		for j, r := range []rune(line) {
			if r != '\t' && unicode.IsControl(r) {
				n.fault(pos{i + 1, j + 1}, "remove it", "the control character %U does not belong here", r)
				return false
			}
		}
	}
	signs := 0
	for _, c := range []byte(":-,?[]{}&*!%@`\"'") {
		signs += bytes.Count(data, []byte{c})
	}
	if signs > maxSigns {
		n.fault(pos{1, 1}, "split it, or look whether it is a config at all", "the file holds more than %d values", maxSigns)
		return false
	}
	return true
}

// printable says that a line holds nothing but printable ASCII.
func printable(line string) bool {
	for i := range len(line) {
		if line[i] < ' ' || line[i] > '~' {
			return false
		}
	}
	return true
}

// tokenize takes a text that was checked apart. False: the parser must not see
// it, and why was noted. Where it is some lines of the file, lines says which.
func (s *source) tokenize(n *notes, text string, lines []int) (token.Tokens, bool) {
	tokens := joinAddresses(lexer.Tokenize(text))
	if lines != nil {
		for _, t := range tokens {
			at := *t.Position
			at.Line = lines[min(max(at.Line, 1), len(lines))-1]
			t.Position = &at
		}
	}
	return tokens, checkTokens(n, tokens)
}

func (s *source) firstInvalid() pos {
	for i, line := range s.lines {
		for j, r := range []rune(line) {
			if r == utf8.RuneError {
				return pos{i + 1, j + 1}
			}
		}
	}
	return pos{1, 1}
}
