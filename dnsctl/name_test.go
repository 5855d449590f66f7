package dnsctl

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

func TestParseNameMakesOneFormOfAllSpellings(t *testing.T) {
	for _, s := range []string{"orders.lab.test.", "orders.lab.test", "Orders.LAB.Test", "ORDERS.lab.test."} {
		if got, err := ParseName(s); got != orders || err != nil {
			t.Errorf("%q: %q %v", s, got, err)
		}
	}
	if got := MarkName(orders); got != "_pointsman.orders.lab.test." {
		t.Error(got)
	}
}

func TestParseRefusesWhatCouldNotBeManaged(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 49)+".", 5)
	for s, says := range map[string]string{
		"":                              "is empty",
		".":                             "only one label",
		"orders":                        "only one label",
		"a..test":                       "empty label",
		".a.test":                       "empty label",
		"*.lab.test":                    "wildcard",
		"-a.test":                       "hyphen",
		"a-.test":                       "hyphen",
		"bücher.test":                   "ASCII form",
		"a b.test":                      `' '`,
		"a\\.b.test":                    `'\\'`,
		"a.test.\n":                     `'\n'`,
		strings.Repeat("a", 64) + ".de": "longer than 63",
		strings.Repeat("a.", 200):       "longer than 255",
		long:                            "its mark",
	} {
		if got, err := ParseName(s); err == nil {
			t.Errorf("name %q became %q", s, got)
		} else {
			wantText(t, err.Error(), says)
		}
		if s == long {
			if _, err := ParseTarget(s); err != nil {
				t.Errorf("a long target is fine: %v", err)
			}
			continue
		}
		if got, err := ParseTarget(s); err == nil {
			t.Errorf("target %q became %q", s, got)
		}
	}
	for _, s := range []string{"192.0.2.1", "192.0.2.1.", "2001:db8::1"} {
		if _, err := ParseTarget(s); err == nil {
			t.Errorf("target %q was taken", s)
		} else {
			wantText(t, err.Error(), "is an address")
		}
	}
}

func TestBelowIsDecidedByLabels(t *testing.T) {
	for n, want := range map[failover.RecordName]bool{
		"orders.lab.test.": true, "a.b.lab.test.": true,
		"lab.test.": false, "xlab.test.": false, "orders.xlab.test.": false, "test.": false, "": false,
	} {
		if got := below(n, "lab.test."); got != want {
			t.Errorf("%s: %v", n, got)
		}
	}
}

// FuzzName: whatever is accepted is canonical, fits into a message together
// with its mark's name, and is read again as itself.
func FuzzName(f *testing.F) {
	for _, s := range []string{"orders.lab.test.", "Orders.LAB", "", ".", "*.a.b", "a\\.b.c", "a\\", "-a.b", "ü.test", strings.Repeat("a.", 127), "192.0.2.1", "_x._tcp.a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c := canonical(s); c != canonical(c) {
			t.Errorf("canonical(%q) = %q is not stable", s, c)
		}
		n, err := ParseName(s)
		if err == nil {
			again, err := ParseName(string(n))
			if err != nil || again != n {
				t.Errorf("%q → %q → %q %v", s, n, again, err)
			}
			for _, x := range []failover.RecordName{n, MarkName(n)} {
				buf := make([]byte, 512)
				off, err := dns.PackDomainName(string(x), buf, 0, nil, false)
				if err != nil || off > 255 {
					t.Errorf("%q does not pack: %d %v", x, off, err)
				}
			}
		}
		if to, err := ParseTarget(s); err == nil {
			if again, err := ParseTarget(string(to)); err != nil || again != to {
				t.Errorf("%q → %q → %q %v", s, to, again, err)
			}
		}
	})
}
