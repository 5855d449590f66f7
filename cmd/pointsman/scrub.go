package main

import (
	"bytes"
	"regexp"
)

// A bundle leaves the house. Its parts are made of what holds no secret; but
// words of others (reasons that people type, errors of libraries, texts of TXT
// records) may, so that what looks like one is masked wherever it stands.

const masked = "[masked]"

// secretShapes are what secrets look like. Each keeps what its first group
// holds and loses the rest. None of them matches a quote, so that JSON stays
// JSON.
var secretShapes = []*regexp.Regexp{
	// The path and query of a URL that has a user, a query, or a part that is
	// long enough to be a token: webhooks of chat systems are secrets as a whole.
	regexp.MustCompile(`(\bhttps?://)[^\s"'<>\\/@]+@[^\s"'<>\\]*`),
	regexp.MustCompile(`(\bhttps?://[^\s"'<>\\/?#]+)/?[^\s"'<>\\?#]*\?[^\s"'<>\\]*`),
	regexp.MustCompile(`(\bhttps?://[^\s"'<>\\/?#]+)/[^\s"'<>\\]*[A-Za-z0-9_-]{20,}[^\s"'<>\\]*`),
	// Keys of Alibaba Cloud, and what stands after words that announce a secret.
	regexp.MustCompile(`()\bLTAI[A-Za-z0-9]{12,30}\b`),
	regexp.MustCompile(`(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}`),
	regexp.MustCompile(`(?i)(\b(?:access_?token|token|secret|password|passwd|pwd|api_?key|access_?key(?:_?secret)?)\s*[=:]\s*)[^\s"'<>,;&\\]{4,}`),
	regexp.MustCompile(`(-----BEGIN [A-Z ]*PRIVATE KEY-----)[A-Za-z0-9+/=\s\\]*`),
}

// scrub masks what looks like a secret.
func scrub(text []byte) []byte {
	for _, shape := range secretShapes {
		if !shape.Match(text) {
			continue
		}
		text = shape.ReplaceAllFunc(text, func(found []byte) []byte {
			keep := shape.FindSubmatch(found)[1]
			return append(bytes.Clone(keep), masked...)
		})
	}
	return text
}
