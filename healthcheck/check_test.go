package healthcheck

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// Each mistake alone, with its exact words.
func TestEachMistakeInATargetIsNamedWithItsKey(t *testing.T) {
	for says, change := range map[string]func(tg *Target){
		"instance: is missing":                                     func(tg *Target) { tg.Instance = "" },
		"cluster: is missing":                                      func(tg *Target) { tg.Cluster = "" },
		"address: is missing":                                      func(tg *Target) { tg.Address = "" },
		`address: "a b:80" is no host:port`:                        func(tg *Target) { tg.Address = "a b:80" },
		`address: "192.0.2.1:99999" has no port within 1 to 65535`: func(tg *Target) { tg.Address = "192.0.2.1:99999" },
		"address: 0.0.0.0 is no address of a single host":          func(tg *Target) { tg.Address = "0.0.0.0:80" },
		`check.type: "htp" is none of [tcp tls http https grpc grpcs dns icmp exec tablestore]`:                                      func(tg *Target) { tg.Check.Type = "htp" },
		"check.port: 70000 is outside 1 to 65535\naddress: \"192.0.2.1:80\" has no port within 1 to 65535":                           func(tg *Target) { tg.Check.Port = 70000 },
		`check.path: "healthz" is no path such as /healthz?full=1`:                                                                   func(tg *Target) { tg.Check.Path = "healthz" },
		`check.path: "//evil/x" is no path such as /healthz?full=1`:                                                                  func(tg *Target) { tg.Check.Path = "//evil/x" },
		`check.method: "POST" is none of GET, HEAD, OPTIONS (a probe must not change anything: RFC 9110 section 9.2.1)`:              func(tg *Target) { tg.Check.Method = "POST" },
		"check.method: HEAD brings no body to look at (use GET)":                                                                     func(tg *Target) { tg.Check.Method, tg.Check.Body.Contains = "HEAD", "x" },
		"check.status[1]: status 299-200 is no rising range within 100 to 599":                                                       func(tg *Target) { tg.Check.Status = []StatusRange{{200, 200}, {299, 200}} },
		`check.host: "a b" is no host`:                                                                                               func(tg *Target) { tg.Check.Host = "a b" },
		"check.headers.Host: is set by the probe itself (for Host use the key host)":                                                 func(tg *Target) { tg.Check.Headers = map[string]string{"Host": "x"} },
		"check.headers.X-A: is no valid header":                                                                                      func(tg *Target) { tg.Check.Headers = map[string]string{"X-A": "a\r\nX-B: b"} },
		"check.expect_headers.X A: is no valid header name":                                                                          func(tg *Target) { tg.Check.ExpectHeaders = map[string]string{"X A": ""} },
		"check.body.matches: error parsing regexp: missing closing ): `(` (the syntax is RE2, see https://pkg.go.dev/regexp/syntax)": func(tg *Target) { tg.Check.Body.Matches = "(" },
		"check.json.path: is missing beside json.value":                                                                              func(tg *Target) { tg.Check.JSON.Value = "x" },
		"check.json.path: leads to more than one value; only names and indexes are allowed":                                          func(tg *Target) { tg.Check.JSON.Path = "$..a" },
		"check.identity: header, json_path and body exclude one another": func(tg *Target) {
			tg.Check.Identity, tg.Identity = IdentityCheck{Header: "X-Cluster", Body: "x"}, "a"
		},
		"identity: is missing: the check asks who answers, but not who should (usually the name of the cluster)": func(tg *Target) {
			tg.Check.Identity.Header = "X-Cluster"
		},
		"check.ca: means nothing to a http check (use type tls, https, grpcs or tablestore)": func(tg *Target) { tg.Check.CA = "x" },
		"check.ca: holds no PEM certificate":                                                 func(tg *Target) { tg.Check.Type, tg.Check.CA = HTTPS, "x" },
		"check.path: means nothing to a tcp check (use type http or https)":                  func(tg *Target) { tg.Check.Type, tg.Check.Path = TCP, "/" },
		"check.slow: -1ns is negative":                                                       func(tg *Target) { tg.Check.Slow = -1 },

		"round: must be above 0\ntimeout: 5s must be above 0 and below round 0s\nburst: 100ms must be above 0 and at most round 0s": func(tg *Target) { tg.Round = 0 },

		"timeout: 10s must be above 0 and below round 10s":                     func(tg *Target) { tg.Timeout = tg.Round },
		"burst: 0s must be above 0 and at most round 10s":                      func(tg *Target) { tg.Burst = 0 },
		"ride_out: -1s is negative":                                            func(tg *Target) { tg.RideOut = -time.Second },
		"fall: 0 must be at least 1\nrise: 0 must be at least 1":               func(tg *Target) { tg.Count = failover.CountPolicy{} },
		"window: 65 is outside 0 to 64\nratio: 0 is outside 0 (excluded) to 1": func(tg *Target) { tg.Count.Window = 65 },
	} {
		tg := target(HTTP, "192.0.2.1:80")
		change(&tg)
		var got []string
		for _, f := range tg.Validate() {
			got = append(got, f.Error())
		}
		if strings.Join(got, "\n") != says {
			t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), says)
		}
		if _, err := NewProbe(tg, ProbeConfig{}); err == nil {
			t.Errorf("a probe was built in spite of %s", says)
		}
	}
	if f := target(HTTP, "192.0.2.1:80").Validate(); len(f) != 0 {
		t.Errorf("a good target has faults: %v", f)
	}
}

func TestProberConfigNamesEveryFault(t *testing.T) {
	bad := target(TCP, "")
	_, err := NewProber(Config{Workers: -1, Targets: []Target{target(TCP, "192.0.2.1:1"), target(TCP, "192.0.2.1:1"), bad}, Controls: []Control{{"x"}}})
	want := strings.Join([]string{
		"vantage: is missing or no printable name", "workers: -1 is negative",
		"targets[1].cluster: a of orders is there twice",
		"targets[2].address: is missing", "targets[2].cluster: a of orders is there twice",
		`controls[0]: control "tcp://x" is no tcp://host:port`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, err := NewProber(Config{Vantage: "v"}); err == nil || err.Error() != "targets: at least one is needed" {
		t.Errorf("got %v", err)
	}
}

func TestStatusRanges(t *testing.T) {
	for text, want := range map[string]StatusRange{"200": {200, 200}, "200-299": {200, 299}, "404 - 410": {404, 410}} {
		if got, err := ParseStatusRange(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-", "2xx", "99", "600", "299-200", "200-", "-200", "200-299-300", "99999999999999999999"} {
		if got, err := ParseStatusRange(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestControls(t *testing.T) {
	for _, text := range []string{"tcp://192.0.2.1:22", "tcp://gw.lab.test:443", "tcp://[2001:db8::1]:53"} {
		if c, err := ParseControl(text); err != nil || c.String() != text {
			t.Errorf("%s: %v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "192.0.2.1:22", "icmp://192.0.2.1", "tcp://192.0.2.1", "tcp://:22", "tcp://a:0", "tcp://a:65536", "tcp://a b:1"} {
		if c, err := ParseControl(text); err == nil {
			t.Errorf("%q was taken as %v", text, c)
		}
	}
}

func TestGenerationFollowsWhatIsProbed(t *testing.T) {
	both := func() []Target {
		a, b := target(HTTP, "192.0.2.1:8080"), target(HTTP, "192.0.2.2:8080")
		b.Cluster = "b"
		return []Target{a, b}
	}
	base := Generation(both())
	for name, change := range map[string]func(ts []Target){
		"the order":            func(ts []Target) { ts[0], ts[1] = ts[1], ts[0] },
		"defaults written out": func(ts []Target) { ts[0].Check.Path, ts[0].Check.Status = "/", []StatusRange{{200, 299}} },
		"the final dot":        func(ts []Target) { ts[0].Name = "orders.lab.test" },
		"where the port is":    func(ts []Target) { ts[0].Address, ts[0].Check.Port = "192.0.2.1", 8080 },
	} {
		ts := both()
		change(ts)
		if Generation(ts) != base {
			t.Errorf("%s changed the generation", name)
		}
	}
	seen := map[string]string{base: "nothing"}
	for name, change := range map[string]func(ts []Target){
		"instance": func(ts []Target) { ts[0].Instance = "x" }, "cluster": func(ts []Target) { ts[0].Cluster = "c" },
		"address": func(ts []Target) { ts[0].Address = "192.0.2.9:8080" }, "port": func(ts []Target) { ts[0].Check.Port = 81 },
		"name": func(ts []Target) { ts[0].Name = "x." }, "type": func(ts []Target) { ts[0].Check.Type = TCP },
		"path": func(ts []Target) { ts[0].Check.Path = "/x" }, "status": func(ts []Target) { ts[0].Check.Status = []StatusRange{{200, 200}} },
		"identity": func(ts []Target) { ts[0].Identity = "a" }, "identity check": func(ts []Target) { ts[0].Check.Identity.Header = "X" },
		"fall": func(ts []Target) { ts[0].Count.Fall = 9 }, "round": func(ts []Target) { ts[0].Round++ },
		"ride_out": func(ts []Target) { ts[0].RideOut++ }, "one less": func(ts []Target) { ts[1] = ts[0] },
		"ca": func(ts []Target) { ts[0].Check.CA = "x" },
	} {
		ts := both()
		change(ts)
		g := Generation(ts)
		if other, twice := seen[g]; twice {
			t.Errorf("%s makes the same generation as %s", name, other)
		}
		seen[g] = name
	}
	if len(base) != 16 {
		t.Errorf("generation is %q", base)
	}
}

func TestHostAndServerNameAreThoseOfClients(t *testing.T) {
	for _, tc := range []struct {
		kind                             CheckType
		address, name, wantHost, wantSNI string
	}{
		{HTTP, "192.0.2.1:80", "orders.lab.test.", "orders.lab.test", "orders.lab.test"},
		{HTTP, "192.0.2.1:8080", "orders.lab.test.", "orders.lab.test:8080", "orders.lab.test"},
		{HTTPS, "192.0.2.1", "orders.lab.test", "orders.lab.test", "orders.lab.test"},
		{HTTPS, "[2001:db8::1]:8443", "", "[2001:db8::1]:8443", "2001:db8::1"},
		{HTTP, "2001:db8::1", "", "[2001:db8::1]", "2001:db8::1"},
		{HTTP, "a.lab.test", "", "a.lab.test", "a.lab.test"},
	} {
		tg := target(tc.kind, tc.address)
		tg.Name = tc.name
		if got := fmt.Sprint(tg.hostHeader(), " ", tg.serverName()); got != tc.wantHost+" "+tc.wantSNI {
			t.Errorf("%+v: got %s", tc, got)
		}
		if f := tg.Validate(); len(f) > 0 {
			t.Errorf("%+v: %v", tc, f)
		}
	}
	tg := target(HTTPS, "192.0.2.1:443")
	tg.Check.Host, tg.Check.ServerName = "other.lab.test", "third.lab.test"
	if tg.hostHeader() != "other.lab.test" || tg.serverName() != "third.lab.test" {
		t.Errorf("got %s and %s", tg.hostHeader(), tg.serverName())
	}
}
