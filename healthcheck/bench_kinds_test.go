package healthcheck

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/dns"
)

// BenchmarkProbeKinds shows what one probe of each kind costs, kernel and the
// server in this process included (of exec not the command itself): compare
// within one run. For HTTP alone see
// BenchmarkHTTPProbe.
func BenchmarkProbeKinds(b *testing.B) {
	web := serve(b, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cluster", "a") })
	ca := newCA(b)
	cert := ca.issue(b, "orders.lab.test", 1<<50)
	secure, names := serveTLS(b, cert, func(http.ResponseWriter, *http.Request) {})
	stop := make(chan struct{})
	defer close(stop)
	go func() { // nobody else looks at the names
		for {
			select {
			case <-names:
			case <-stop:
				return
			}
		}
	}()
	command := filepath.Join(b.TempDir(), "true")
	if err := os.WriteFile(command, []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		b.Fatal(err)
	}
	tcp := target(TCP, web)
	run := target(Exec, "127.0.0.1:1")
	run.Check.Exec.Command = []string{command}
	over := func(kind CheckType, address string) Target {
		tg := target(kind, address)
		tg.Check.CA = ca.pem
		return tg
	}
	for _, k := range []struct {
		name   string
		target Target
	}{
		{"tcp", tcp},
		{"http", target(HTTP, web)},
		{"tls", over(TLS, secure)},
		{"https", over(HTTPS, secure)},
		{"grpc", target(GRPC, grpcServer(b, nil, health(map[string]uint64{"": 1})))},
		{"grpcs", over(GRPCS, grpcServer(b, &cert, health(map[string]uint64{"": 1})))},
		{"dns", target(DNS, nameServer(b, dns.HandlerFunc(zone)))},
		{"icmp", target(ICMP, "127.0.0.1")},
		{"exec", run},
		{"tcp and http", several(All, web, Check{Type: TCP}, Check{Type: HTTP})},
	} {
		p, err := NewProbe(k.target, ProbeConfig{Vantage: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(k.name, func(b *testing.B) { benchProbe(b, p) })
	}
}
