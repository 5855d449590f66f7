package main

import (
	"bytes"
	"regexp"
	"slices"
)

// A bundle leaves the house. Its parts are made of what holds no secret; but
// words of others (reasons that people type, errors of libraries, texts of TXT
// records) may, so that what looks like one is masked wherever it stands.

const masked = "[masked]"

// shape is what a secret looks like. It keeps what its first group holds and
// loses the rest. None matches a quote, so that JSON stays JSON.
type shape struct {
	// signs stand in each of them, in lower case; a line without is not looked
	// at further: the expressions take two seconds for a full part.
	signs []string
	is    *regexp.Regexp
}

// restOfURL goes on over an ampersand as encoding/json writes it.
const restOfURL = `(?:[^\s"'<>\\]|\\u0026)*`

var inURLs = []string{"://"}

var secretShapes = []shape{
	// The path and query of a URL that has a user, a query, or a part that is
	// long enough to be a token: webhooks of chat systems are secrets as a whole.
	{inURLs, regexp.MustCompile(`(\bhttps?://)[^\s"'<>\\/@]+@` + restOfURL)},
	{inURLs, regexp.MustCompile(`(\bhttps?://[^\s"'<>\\/?#]+)/?[^\s"'<>\\?#]*\?` + restOfURL)},
	{inURLs, regexp.MustCompile(`(\bhttps?://[^\s"'<>\\/?#]+)/[^\s"'<>\\]*[A-Za-z0-9_-]{20,}` + restOfURL)},
	// Padded base64 that is long enough for a key, as tsig-keygen prints it.
	{[]string{"="}, regexp.MustCompile(`()\b[A-Za-z0-9+/]{30,}={1,2}`)},
	// Keys of Alibaba Cloud, and what stands after words that announce a secret.
	{[]string{"ltai"}, regexp.MustCompile(`()\bLTAI[A-Za-z0-9]{12,30}\b`)},
	{[]string{"bearer"}, regexp.MustCompile(`(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}`)},
	{
		[]string{"token", "secret", "passw", "pwd", "key"},
		regexp.MustCompile(`(?i)(\b(?:access_?token|token|secret|password|passwd|pwd|api_?key|access_?key(?:_?secret)?)\s*[=:]\s*)[^\s"'<>,;&\\]{4,}`),
	},
}

var privateKey = regexp.MustCompile(`(-----BEGIN [A-Z ]*PRIVATE KEY-----)[A-Za-z0-9+/=\s\\]*`)

// scrub masks what looks like a secret.
func scrub(text []byte) []byte {
	text = privateKey.ReplaceAll(text, []byte("${1}"+masked))
	out := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		low := bytes.ToLower(line)
		for _, s := range secretShapes {
			if slices.ContainsFunc(s.signs, func(sign string) bool { return bytes.Contains(low, []byte(sign)) }) {
				line = s.is.ReplaceAll(line, []byte("${1}"+masked))
			}
		}
		out = append(out, line...)
	}
	return out
}
