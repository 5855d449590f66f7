package authority

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func cookieSecretOf(t testing.TB, text string) (k CookieSecret) {
	t.Helper()
	if n, err := hex.Decode(k[:], []byte(text)); err != nil || n != len(k) {
		t.Fatalf("secret %q: %v", text, err)
	}
	return k
}

// TestServerCookiesAreThoseOfTheVectors: RFC 9018, appendix A.
func TestServerCookiesAreThoseOfTheVectors(t *testing.T) {
	const first, old, rolled = "e5e973e5a6b2a43f48e7dc849e37bfcf", "dd3bdf9344b678b185a6f5cb60fca715", "445536bcd2513298075a5d379663c962"
	for _, tc := range []struct {
		what    string
		secrets []string
		from    string
		now     uint32
		in      string
		is      standing
		out     string
	}{
		{"A.1 learning", []string{first}, "198.51.100.100", 1559731985, "2464c4abcf10c957", cookieClient, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
		{"A.2 renewed after 40 minutes", []string{first}, "198.51.100.100", 1559734385, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookieValid, "2464c4abcf10c957010000005cf7a871d4a564a1442aca77"},
		{"A.3 reserved octets, too old", []string{first}, "203.0.113.203", 1559734700, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", cookieStale, "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"},
		{"A.3 reserved octets, in time", []string{first}, "203.0.113.203", 1559727985 + 60, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", cookieValid, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"},
		{"A.4 the secret rolled over", []string{rolled, old}, "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "22681ab97d52c298010000005cf7c57926556bd0934c72f8", cookieValid, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
		{"the old secret is gone", []string{rolled}, "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "22681ab97d52c298010000005cf7c57926556bd0934c72f8", cookieStale, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
		{"fresh: given back as it is", []string{first}, "198.51.100.100", 1559731985 + cookieRenewal, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookieValid, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
		{"an hour old", []string{first}, "198.51.100.100", 1559731985 + 3600, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookieValid, ""},
		{"older than an hour", []string{first}, "198.51.100.100", 1559731985 + 3601, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookieStale, ""},
		{"five minutes ahead", []string{first}, "198.51.100.100", 1559731985 - 300, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookieValid, ""},
		{"further ahead", []string{first}, "198.51.100.100", 1559731985 - 301, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookieStale, ""},
		{"of another address", []string{first}, "198.51.100.101", 1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookieStale, ""},
		{"of another client cookie", []string{first}, "198.51.100.100", 1559731985, "2464c4abcf10c958010000005cf79f111f8130c3eee29480", cookieStale, ""},
		{"of another version", []string{first}, "198.51.100.100", 1559731985, "2464c4abcf10c957020000005cf79f111f8130c3eee29480", cookieStale, ""},
		{"mapped address", []string{first}, "::ffff:198.51.100.100", 1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", cookieValid, ""},
		{"of another maker", []string{first}, "198.51.100.100", 1559731985, strings.Repeat("ab", 40), cookieStale, ""},
		{"empty", []string{first}, "198.51.100.100", 1, "", cookieMalformed, ""},
		{"too short a client cookie", []string{first}, "198.51.100.100", 1, "2464c4abcf10c9", cookieMalformed, ""},
		{"too short a server cookie", []string{first}, "198.51.100.100", 1, strings.Repeat("ab", 15), cookieMalformed, ""},
		{"too long a server cookie", []string{first}, "198.51.100.100", 1, strings.Repeat("ab", 41), cookieMalformed, ""},
	} {
		var j jar
		for _, s := range tc.secrets {
			j = append(j, cookieSecretOf(t, s))
		}
		in, err := hex.DecodeString(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		var out [cookieLen]byte
		if is := j.judge(in, netip.MustParseAddr(tc.from), tc.now, &out); is != tc.is {
			t.Errorf("%s: %s, want %s", tc.what, is, tc.is)
		}
		if got := hex.EncodeToString(out[:]); tc.out != "" && got != tc.out {
			t.Errorf("%s:\n%s, want\n%s", tc.what, got, tc.out)
		}
	}
}

// withCookie is a query with a cookie in hex.
func withCookie(name, cookie string) *dns.Msg {
	m := question(name, dns.TypeA).SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
	return m
}

func cookieIn(t testing.TB, m *dns.Msg) string {
	t.Helper()
	if o := m.IsEdns0(); o != nil {
		for _, x := range o.Option {
			if c, ok := x.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	t.Fatalf("no cookie in %v", m)
	return ""
}

func TestCookieIsLearntOverBothTransportsAndKnownAgain(t *testing.T) {
	s := newLab(t)
	addr := run(t, s)
	const client = "0102030405060708"
	for _, network := range []string{"udp", "tcp"} {
		got := cookieIn(t, ask(t, network, addr, withCookie("orders.lab.test.", client)))
		if len(got) != 48 || !strings.HasPrefix(got, client+"01000000") {
			t.Fatalf("%s: cookie %s", network, got)
		}
		if again := cookieIn(t, ask(t, network, addr, withCookie("none.lab.test.", got))); again != got {
			t.Errorf("%s: %s became %s", network, got, again)
		}
	}
	alone := withCookie("orders.lab.test.", client)
	alone.Question = nil
	m := ask(t, "udp", addr, alone)
	if m.Rcode != dns.RcodeSuccess || len(cookieIn(t, m)) != 48 {
		t.Errorf("a cookie was asked for without a question: %v", m)
	}
	if m := ask(t, "udp", addr, withCookie("orders.lab.test.", "010203")); m.Rcode != dns.RcodeFormatError {
		t.Errorf("a malformed cookie: %v", m)
	}
	ask(t, "udp", addr, withCookie("orders.lab.test.", strings.Repeat("07", 24)))
	if c := s.Stats().Cookies; c["client"] != 3 || c["valid"] != 2 || c["malformed"] != 1 || c["stale"] != 1 {
		t.Errorf("counted %v", c)
	}
}

// TestSharedSecretsMakeServersOne: a cookie of one is good at the other, also
// while one of them signs with the next secret already, and over a reload.
func TestSharedSecretsMakeServersOne(t *testing.T) {
	a, b := cookieSecretOf(t, "e5e973e5a6b2a43f48e7dc849e37bfcf"), cookieSecretOf(t, "445536bcd2513298075a5d379663c962")
	cfg := labConfig()
	cfg.Cookies.Secrets = []CookieSecret{a, b}
	one, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Cookies.Secrets = []CookieSecret{b, a}
	other, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addrOne, addrOther := run(t, one), run(t, other)
	c := cookieIn(t, ask(t, "udp", addrOne, withCookie("a.lab.test.", "0102030405060708")))
	resigned := cookieIn(t, ask(t, "udp", addrOther, withCookie("a.lab.test.", c)))
	if resigned == c || other.Stats().Cookies["valid"] != 1 {
		t.Errorf("%s became %s, counted %v", c, resigned, other.Stats().Cookies)
	}
	cfg.Cookies.Secrets = []CookieSecret{b}
	mustReload(t, one, cfg)
	if again := cookieIn(t, ask(t, "udp", addrOne, withCookie("a.lab.test.", resigned))); again != resigned {
		t.Errorf("after the reload %s became %s", resigned, again)
	}
	ask(t, "udp", addrOne, withCookie("a.lab.test.", c))
	if got := one.Stats().Cookies; got["valid"] != 1 || got["stale"] != 1 {
		t.Errorf("counted %v", got)
	}
}

func TestSecretsOfCookiesAreReadOneALine(t *testing.T) {
	const a, b = "e5e973e5a6b2a43f48e7dc849e37bfcf", "445536BCD2513298075A5D379663C962"
	got, err := ParseCookieSecrets("\n" + a + "\r\n  " + b + "\n\n")
	if err != nil || len(got) != 2 || got[0] != cookieSecretOf(t, a) || got[1] != cookieSecretOf(t, b) {
		t.Errorf("%x, %v", got, err)
	}
	for what, text := range map[string]string{
		"none": "\n", "short": a[1:], "long": a + "0", "other digits": "x" + a[1:], "five": strings.Repeat(a+"\n", 5), "two on a line": a + " " + b,
	} {
		if got, err := ParseCookieSecrets(text); err == nil {
			t.Errorf("%s: %x", what, got)
		} else if strings.Contains(err.Error(), a[4:20]) {
			t.Errorf("%s: the error holds the secret: %v", what, err)
		}
	}
}
