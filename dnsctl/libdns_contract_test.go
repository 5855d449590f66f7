//go:build libdns_rfc2136 && libdns_powerdns

package dnsctl_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/dnsctl"
	"pointsman/dnsctl/contract"
	"pointsman/internal/failover"
)

const (
	apiKey  = "api-key-of-the-lab-0123456789"
	lookKey = "look-key-of-the-lab-012345678"
	badKey  = "none-of-its-keys-0123456789ab"
)

func settings(t testing.TB, of map[string]string) dnsctl.Secret {
	t.Helper()
	text, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dnsctl.ParseLibDNSSettings(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// libdnsWorld is a world whose provider is a module: how its settings look for
// an address and a kind is all that differs.
func libdnsWorld(w contract.World, module, at string, of func(at string, k contract.Kind) map[string]string) contract.World {
	w.Provider = func(t testing.TB, k contract.Kind) dnsctl.Provider {
		t.Helper()
		where := at
		if k == contract.Unreachable {
			where = nobody(t)
		}
		c := dnsctl.LibDNSConfig{
			Module: module, Zone: labZone, Timeout: 10 * time.Second, Settle: time.Millisecond, RequestsPerSecond: 10000,
			Settings: settings(t, of(where, k)),
			Allowed:  map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
		}
		if k == contract.ReadOnly {
			c.ReadOnly, c.ReadSettings, c.Settings = true, c.Settings, dnsctl.Secret{}
		}
		p, err := dnsctl.NewLibDNS(c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	return w
}

// TestBINDByLibDNSKeepsTheContract: the module rfc2136 against a real BIND, with
// a key for a dry run that may transfer the zone and nothing else.
func TestBINDByLibDNSKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World {
		s := startTransferringBIND(t)
		px := startProxy(t, s.addr)
		w := rfc2136World(t, s)
		w.Disturb, w.Requests = px.disturb, px.requests
		return libdnsWorld(w, "rfc2136", px.addr.String(), func(at string, k contract.Kind) map[string]string {
			out := map[string]string{"server": at, "key_name": "ctl.", "key_alg": "hmac-sha256", "key": dnsctl.SecretText}
			switch k {
			case contract.ReadOnly:
				out["key_name"] = "look."
			case contract.Denied:
				out["key"] = dnsctl.OtherText
			}
			return out
		})
	})
}

func startTransferringBIND(t testing.TB) primary {
	t.Helper()
	n := dnsctl.RunNamed(t, func(port int, dir string) string {
		dnsctl.WriteFile(t, filepath.Join(dir, "lab.test.zone"), contractZone())
		return fmt.Sprintf(`
key "ctl." { algorithm hmac-sha256; secret "%[1]s"; };
key "look." { algorithm hmac-sha256; secret "%[1]s"; };
key "hand." { algorithm hmac-sha256; secret "%[2]s"; };
options {
	directory "%[3]s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %[4]d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; notify no; dnssec-validation no; tcp-clients 300; transfers-out 100;
};
controls {};
zone "lab.test." { type primary; file "lab.test.zone"; allow-transfer { key ctl.; key look.; }; update-policy {
	grant ctl. name orders.lab.test. CNAME; grant ctl. name _pointsman.orders.lab.test. TXT;
	grant hand. zonesub ANY; }; };
`, dnsctl.SecretText, dnsctl.OtherText, dir, port)
	}, labZone)
	return primary{"BIND", n.Addr(), labZone, n.Dir(), 0}
}

// TestPowerDNSByLibDNSKeepsTheContract: the module powerdns against the HTTP
// API of a real PowerDNS, behind a proxy that has a key which may only look, as
// the API itself has none.
func TestPowerDNSByLibDNSKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World {
		s, api := startPowerDNSAPI(t)
		px := startAPIProxy(t, api)
		w := rfc2136World(t, s)
		w.Disturb, w.Requests, w.Secrets = px.disturb, px.requests, []string{apiKey, lookKey, badKey}
		return libdnsWorld(w, "powerdns", px.addr(), func(at string, k contract.Kind) map[string]string {
			out := map[string]string{"server_url": "http://" + at, "api_token": apiKey}
			switch k {
			case contract.ReadOnly:
				out["api_token"] = lookKey
			case contract.Denied:
				out["api_token"] = badKey
			}
			return out
		})
	})
}

func startPowerDNSAPI(t testing.TB) (primary, netip.AddrPort) {
	t.Helper()
	s := startPowerDNS(t, "cache-ttl=0", "query-cache-ttl=0", "negquery-cache-ttl=0",
		"api=yes", "api-key="+apiKey, "webserver=yes", "webserver-address=127.0.0.1", "webserver-port=$WEB",
		"webserver-allow-from=127.0.0.0/8")
	return s, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.web)
}

// apiProxy stands before the API, counts, loses replies to what changes
// something, and lets a key through that may only look.
type apiProxy struct {
	server    *httptest.Server
	all, sent atomic.Int64

	mu   sync.Mutex
	next *fault
}

func startAPIProxy(t testing.TB, to netip.AddrPort) *apiProxy {
	t.Helper()
	p := &apiProxy{}
	up := &http.Transport{}
	back := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to.String()})
	back.Transport = up
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		p.all.Add(1)
		if q.Header.Get("X-API-Key") == lookKey && q.Method == http.MethodGet {
			q.Header.Set("X-API-Key", apiKey)
		}
		if q.Method == http.MethodGet {
			back.ServeHTTP(w, q)
			return
		}
		p.sent.Add(1)
		f := p.take()
		if f == nil {
			back.ServeHTTP(w, q)
			return
		}
		back.ServeHTTP(httptest.NewRecorder(), q)
		close(f.carried)
		if f.kind == contract.Hang {
			<-q.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}))
	p.server.Start()
	t.Cleanup(func() {
		p.server.CloseClientConnections()
		p.server.Close()
		up.CloseIdleConnections()
	})
	return p
}

func (p *apiProxy) addr() string { return p.server.Listener.Addr().String() }

func (p *apiProxy) take() *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.next
	p.next = nil
	return f
}

func (p *apiProxy) disturb(_ testing.TB, kind contract.Fault) <-chan struct{} {
	f := &fault{kind, make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = f
	return f.carried
}

func (p *apiProxy) requests() (all, writes int64) { return p.all.Load(), p.sent.Load() }
