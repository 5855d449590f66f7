//go:build libdns_rfc2136 && libdns_powerdns

package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

func moduleProvider(t testing.TB, module, settings string) (*LibDNS, error) {
	t.Helper()
	return NewLibDNS(LibDNSConfig{
		Module: module, Zone: zone, Settings: libSettings(t, settings), Timeout: 5 * time.Second, RequestsPerSecond: 1000,
		Settle: time.Millisecond, Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	})
}

// TestLibDNSModulesRefuseSettings: what a module would do harm with, or would
// fail of later, is refused at the start, and shows no secret.
func TestLibDNSModulesRefuseSettings(t *testing.T) {
	good := `{"server_url":"https://dns.example.com","api_token":"` + libToken + `"}`
	if p, err := moduleProvider(t, "powerdns", good); err != nil || p.Capabilities().Atomic {
		t.Error(err)
	}
	key := `"key":"` + secretText + `"`
	if p, err := moduleProvider(t, "rfc2136", `{"server":"127.0.0.1:53","key_name":"ctl.","key_alg":"hmac-sha256",`+key+`}`); err != nil || !p.Capabilities().Atomic {
		t.Error(err)
	}
	for _, c := range []struct{ module, settings, says string }{
		{"powerdns", `{"server_url":"https://dns.example.com"}`, "api_token: is missing"},
		{"powerdns", strings.Replace(good, "https", "http", 1), "use https"},
		{"powerdns", strings.Replace(good, "https://", "https://user:pass-of-user@", 1), "server_url: write it like"},
		{"powerdns", strings.Replace(good, "https://dns.example.com", "dns.example.com", 1), "server_url: write it like"},
		{"powerdns", strings.Replace(good, "https", "ftp", 1), "use https"},
		{"powerdns", strings.Replace(good, "{", `{"debug":"stderr",`, 1), "the module would print its key"},
		{"powerdns", strings.Replace(good, "{", `{"server_id":"a/../b",`, 1), "server_id"},
		{"powerdns", strings.Replace(good, "{", `{"servr_id":"localhost",`, 1), `the module has no "servr_id"`},
		{"powerdns", `{"server_url":"https://dns.example.com","api_token":["` + libToken + `"]}`, `"api_token" is not what the module takes: it wants string`},
		{"rfc2136", `{"server":"127.0.0.1","key_name":"ctl.","key_alg":"hmac-sha256",` + key + `}`, "server: "},
		{"rfc2136", `{"server":"127.0.0.1:53","key_name":"ctl.","key_alg":"hmac-md5",` + key + `}`, "key.algorithm"},
		{"rfc2136", `{"server":"127.0.0.1:53","key_name":"ctl.","key_alg":"hmac-sha256","key":"` + libToken + `!"}`, "not base64"},
	} {
		_, err := moduleProvider(t, c.module, c.settings)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.settings, err, c.says)
		}
		if err != nil && (strings.Contains(err.Error(), libToken) || strings.Contains(err.Error(), secretText)) {
			t.Errorf("a secret in %v", err)
		}
	}
}

// TestLibDNSZonesAreBounded: a zone that does not end is not read to its end.
func TestLibDNSZonesAreBounded(t *testing.T) {
	t.Run("powerdns", func(t *testing.T) {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "/zones") {
				fmt.Fprint(w, `[{"id":"lab.test.","name":"lab.test."}]`)
				return
			}
			fmt.Fprint(w, `{"id":"lab.test.","rrsets":[`)
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, `{"name":"x%d.lab.test.","type":"A","records":[{"content":"192.0.2.1"}]},`, i); err != nil {
					return
				}
			}
		}))
		defer api.Close()
		p, err := moduleProvider(t, "powerdns", `{"server_url":"`+api.URL+`","api_token":"`+libToken+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "larger than") {
			t.Error(err)
		}
	})
	t.Run("rfc2136", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		up, ended := make(chan struct{}), make(chan struct{})
		server := &dns.Server{
			Listener: l, TsigSecret: map[string]string{"ctl.": secretText}, NotifyStartedFunc: func() { close(up) },
			Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
				defer close(ended)
				parts := make(chan *dns.Envelope)
				gone := make(chan struct{})
				go func() {
					defer close(parts)
					part := []dns.RR{rr(t, "lab.test. 30 IN SOA ns1.lab.test. h.lab.test. 1 300 60 604800 30")}
					for range 300 { // of 52 kB
						select {
						case parts <- &dns.Envelope{RR: part}:
						case <-gone:
							return
						}
						part = nil
						for i := range 200 {
							part = append(part, rr(t, fmt.Sprintf(`x%d.lab.test. 30 IN TXT "%s"`, i, strings.Repeat("x", 250))))
						}
					}
				}()
				if err := new(dns.Transfer).Out(w, q, parts); err == nil {
					t.Error("all of it was taken")
				}
				close(gone)
			}),
		}
		go server.ActivateAndServe()
		<-up
		defer server.Shutdown()
		p, err := moduleProvider(t, "rfc2136", `{"server":"`+l.Addr().String()+`","key_name":"ctl.","key_alg":"hmac-sha256","key":"`+secretText+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "larger than") {
			t.Error(err)
		}
		<-ended
	})
}

// TestLibDNSTransferThatTrickles: the module forgets its context in a transfer,
// and takes what comes for as long as something does; the door ends it.
func TestLibDNSTransferThatTrickles(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up, under, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	server := &dns.Server{
		Listener: l, TsigSecret: map[string]string{"ctl.": secretText}, NotifyStartedFunc: func() { close(up) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			defer close(ended)
			parts, gone := make(chan *dns.Envelope), make(chan struct{})
			go func() {
				defer close(parts)
				part := rr(t, "lab.test. 30 IN SOA ns1.lab.test. h.lab.test. 1 300 60 604800 30")
				for i := 0; ; i++ {
					select {
					case parts <- &dns.Envelope{RR: []dns.RR{part}}:
					case <-gone:
						return
					case <-t.Context().Done():
						return
					}
					if i == 1 {
						close(under)
					}
					part = rr(t, fmt.Sprintf("x%d.lab.test. 30 IN A 192.0.2.1", i))
					time.Sleep(20 * time.Millisecond) // a slow server is what this is about
				}
			}()
			_ = new(dns.Transfer).Out(w, q, parts) // it ends when the other side does
			close(gone)
		}),
	}
	go server.ActivateAndServe()
	<-up
	t.Cleanup(func() { _ = server.Shutdown() })
	p, err := moduleProvider(t, "rfc2136", `{"server":"`+l.Addr().String()+`","key_name":"ctl.","key_alg":"hmac-sha256","key":"`+secretText+`"}`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-under; cancel() }()
	if _, err := p.Read(ctx, orders); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the transfer goes on although nobody waits for it")
	}
}

// TestLibDNSOverHTTP: redirects do not get the key, the status is understood,
// and what is not a guarded call goes where it always went.
func TestLibDNSOverHTTP(t *testing.T) {
	var elsewhere atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer thief.Close()
	status := http.StatusOK
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if status == http.StatusFound {
			http.Redirect(w, q, thief.URL, status)
			return
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":"you sent %s"}`, q.Header.Get("X-API-Key"))
	}))
	defer api.Close()
	for code, want := range map[int]error{
		http.StatusFound: ErrNoAnswer, http.StatusUnauthorized: ErrKey, http.StatusForbidden: ErrRights, http.StatusNotFound: ErrZone,
		http.StatusUnprocessableEntity: ErrParameter, http.StatusTooManyRequests: ErrThrottled, http.StatusInternalServerError: ErrNoAnswer,
	} {
		status = code
		p, err := moduleProvider(t, "powerdns", `{"server_url":"`+api.URL+`","api_token":"`+libToken+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Read(t.Context(), orders)
		if !errors.Is(err, want) || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), libToken) {
			t.Errorf("%d: %v, want %v", code, err, want)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed with the key in hand")
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, thief.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil || elsewhere.Load() != 1 {
		t.Fatalf("the default client is spoilt for others: %v", err)
	}
	a.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}
