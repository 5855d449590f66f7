package dnsctl

import (
	"errors"
	"fmt"
	"strings"

	"pointsman/internal/failover"
)

// txtString is the longest character string in a TXT record (RFC 1035
// section 3.3). A longer text is stored as several.
const txtString = 255

// maxMark bounds the marks that are written, not those that are read.
const maxMark = txtString

// checkMark refuses a mark that could not be read back as what it was.
func checkMark(text string) error {
	if len(text) > maxMark {
		return fmt.Errorf("mark is longer than %d octets", maxMark)
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf("mark has the character %q: only printable ASCII without quote and backslash", c)
		}
	}
	m, err := failover.ParseMark(text)
	if err != nil {
		return err
	}
	if m.String() != text {
		return errors.New("mark is not in its canonical form: " + m.String())
	}
	return nil
}

// markStrings turns the text of a mark into the strings of a TXT record, in
// the escaped form that the DNS library wants.
func markStrings(text string) []string {
	if text == "" {
		return []string{""}
	}
	var out []string
	for len(text) > 0 {
		n := min(len(text), txtString)
		out = append(out, escapeText(text[:n]))
		text = text[n:]
	}
	return out
}

// markText is the inverse: the strings of a TXT record as one text.
func markText(parts []string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(unescapeText(p))
	}
	return b.String()
}

func escapeText(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\%03d", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescapeText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i+3 < len(s) && digits(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')*100 + (s[i+2]-'0')*10 + (s[i+3] - '0'))
			i += 3
			continue
		}
		if i+1 < len(s) {
			i++
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
