package dnsctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

func TestConfigNamesEveryFaultByItsKeyPath(t *testing.T) {
	c := RFC2136Config{
		Server: "nowhere", Zone: "", Timeout: -1, WritesPerSecond: -1,
		Key:         Key{Name: "", Algorithm: "hmac-md5"},
		Authorities: []netip.AddrPort{{}},
		Allowed: map[failover.RecordName][]failover.Target{
			"orders": {targetA}, "x.lab.test.": {}, "y.lab.test.": {"y.lab.test", "192.0.2.1"},
		},
	}
	var text []string
	for _, err := range c.Validate() {
		text = append(text, err.Error())
	}
	all := strings.Join(text, "\n")
	wantText(t, all,
		`server: "nowhere" is not host:port`,
		`zone: zone "": is empty`,
		"key.name:", "key.algorithm: \"hmac-md5\" is none of hmac-sha256, hmac-sha384, hmac-sha512", "key.secret: is missing",
		"timeout: -1ns must not be negative", "writes_per_second",
		"authorities[0]:",
		`allowed: name "orders": has only one label`,
		"allowed.x.lab.test.: has no target",
		"allowed.y.lab.test.: y.lab.test. would make it point at itself",
		`allowed.y.lab.test.: target "192.0.2.1": is an address`,
	)
	if _, err := NewRFC2136(c); err == nil {
		t.Error("a provider was built of it")
	}

	c = testConfig(t, "127.0.0.1:53")
	c.Allowed = map[failover.RecordName][]failover.Target{"lab.test.": {targetA}, "orders.example.com.": {targetA}}
	text = nil
	for _, err := range c.Validate() {
		text = append(text, err.Error())
	}
	wantText(t, strings.Join(text, "\n"),
		"lab.test. is the apex of its zone, where SOA and NS live: a CNAME may not stand there (RFC 1034 section 3.6.2); use a name below it",
		"orders.example.com. does not lie in the zone lab.test.")
}

func TestConfigServerMustBeHostAndPort(t *testing.T) {
	for s, ok := range map[string]bool{
		"127.0.0.1:53": true, "[::1]:5300": true, "ns1.example.com:53": true, "localhost:53": true,
		"": false, ":53": false, "127.0.0.1": false, "127.0.0.1:0": false, "127.0.0.1:65536": false, "ns 1:53": false, "ns1:dns": false,
	} {
		c := testConfig(t, s)
		if errs := c.Validate(); (len(errs) == 0) != ok {
			t.Errorf("%q: %v", s, errs)
		}
	}
}

func TestLoopbackMeansNothingOutsideThisMachine(t *testing.T) {
	for s, want := range map[string]bool{
		"127.0.0.1:53": true, "127.8.9.1:53": true, "[::1]:53": true, "localhost:53": true, "[::ffff:127.0.0.1]:53": true,
		"192.0.2.1:53": false, "[2001:db8::1]:53": false, "0.0.0.0:53": false, "ns1.example.com:53": false, "localhost.example.com:53": false, "": false,
	} {
		if got := (RFC2136Config{Server: s}).Loopback(); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
	c := RFC2136Config{Server: "127.0.0.1:53", Authorities: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}}
	if c.Loopback() {
		t.Error("an authority outside was overlooked")
	}
}

func TestSecretNeverPrints(t *testing.T) {
	c := testConfig(t, "127.0.0.1:1")
	p := mustProvider(t, c)
	hidden := struct {
		c RFC2136Config
		k *Key
		s []Secret
		m map[string]any
	}{c, &c.Key, []Secret{c.Key.Secret}, map[string]any{"key": c.Key, "p": p}}
	raw := string(c.Key.Secret.raw())
	needles := []string{secretText, raw, fmt.Sprintf("%x", raw), fmt.Sprintf("%X", raw), fmt.Sprint([]byte(raw)), fmt.Sprintf("%q", raw)}
	var text []string
	for _, v := range []any{c, &c, c.Key, &c.Key, c.Key.Secret, &c.Key.Secret, p, *p, hidden, &hidden, p.t, p.t.signer, *p.t.signer} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			text = append(text, fmt.Sprintf(verb, v))
		}
	}
	type shown struct {
		Key     Key
		Secret  Secret
		Pointer *Secret
	}
	j, err := json.Marshal(shown{c.Key, c.Key.Secret, &c.Key.Secret})
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, string(j))
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", c.Key, "secret", c.Key.Secret)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", c.Key, "config", fmt.Sprintf("%+v", c), "provider", p)
	text = append(text, log.String())
	for _, bad := range []string{secretText[:20], "*" + secretText, secretText[:8]} {
		if _, err := ParseSecret(bad); err == nil {
			t.Errorf("%q was taken", bad)
		} else if strings.Contains(err.Error(), bad) {
			t.Errorf("the error shows it: %v", err)
		}
	}
	for _, s := range text {
		for _, n := range needles {
			if strings.Contains(s, n) {
				t.Errorf("%q shows the secret as %q", s, n)
			}
		}
	}
	if got := fmt.Sprintf("%v", c.Key); !strings.Contains(got, "[redacted]") {
		t.Errorf("a set secret looks unset: %s", got)
	}
}

func TestReadOnlyKeepsNoKey(t *testing.T) {
	c := testConfig(t, "127.0.0.1:1")
	c.ReadOnly = true
	if p := mustProvider(t, c); p.t.signer != nil {
		t.Error("the key was kept")
	}
	c.Key = Key{}
	if _, err := NewRFC2136(c); err != nil {
		t.Errorf("without a key: %v", err)
	}
	c.ReadOnly = false
	if _, err := NewRFC2136(c); err == nil || errors.Is(err, ErrReadOnly) {
		t.Errorf("writing without a key: %v", err)
	}
}
