package dnsctl

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestMarkThatCouldNotBeReadBackIsRefused(t *testing.T) {
	if err := checkMark(mark(7, 12)); err != nil {
		t.Errorf("a good mark: %v", err)
	}
	good := mark(7, 12)
	for what, m := range map[string]string{
		"empty":                 "",
		"somebody's text":       "v=spf1 -all",
		"quote":                 good + `"`,
		"backslash":             good + `\`,
		"control character":     good + "\n",
		"letters outside ASCII": strings.Replace(good, "ctl-1", "ctl-ü", 1),
		"two spaces":            strings.Replace(good, " ", "  ", 1),
		"leading zero":          strings.Replace(good, "term=7", "term=07", 1),
		"no controller":         strings.Replace(good, "by=ctl-1", "by=", 1),
		"longer than a string":  strings.Replace(good, "ctl-1", strings.Repeat("c", 256), 1),
	} {
		if checkMark(m) == nil {
			t.Errorf("%s: %q was taken", what, m)
		}
	}
}

// FuzzMark: any text that stands in a TXT record can be expected there again:
// through our form, the library's form and the wire it stays the same.
func FuzzMark(f *testing.F) {
	for _, s := range []string{mark(1, 2), "", `"`, `\`, `\065`, "\x00\xff", strings.Repeat("x", 255), strings.Repeat("y", 256), strings.Repeat("\\", 600), "ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkMark(s) == nil && len(markStrings(s)) != 1 {
			t.Errorf("%q takes more than one string", s)
		}
		if len(s) > 2000 {
			return
		}
		if got := markText(markStrings(s)); got != s {
			t.Fatalf("%q became %q", s, got)
		}
		m := new(dns.Msg)
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: markStrings(s)}}
		p, err := m.Pack()
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		r, err := unpack(p)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got := markText(r.Answer[0].(*dns.TXT).Txt); got != s {
			t.Errorf("over the wire %q became %q", s, got)
		}
		unescapeText(s) // of any text at all: no panic
	})
}
