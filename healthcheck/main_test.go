package healthcheck

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/failover"
)

// starved is set where the test of a stopped process runs.
var starved func()

func TestMain(m *testing.M) {
	if os.Getenv(benchServer) != "" {
		serveBenchmark()
		return
	}
	if starved != nil && os.Getenv("HEALTHCHECK_STARVE_PROBER") != "" {
		starved()
	}
	if os.Getenv(scaleServer) != "" {
		serveScale()
	}
	goleak.VerifyTestMain(m)
}

// target is a sane target of the given kind at an address.
func target(kind CheckType, address string) Target {
	return Target{
		Instance: "orders", Cluster: "a", Address: address, Name: "orders.lab.test.",
		Check: Check{Type: kind},
		Count: failover.CountPolicy{Fall: 3, Rise: 2},
		Round: 10 * time.Second, Timeout: 5 * time.Second, Burst: 100 * time.Millisecond,
	}
}

// listen opens a listener on a free loopback port.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serve runs a handler on a free loopback port and returns its address.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// probe runs the probe of a target once, under its timeout.
func probe(t testing.TB, tg Target) (Trace, error) {
	t.Helper()
	return probeWith(t, tg, ProbeConfig{Vantage: "van-1"})
}

func probeWith(t testing.TB, tg Target, c ProbeConfig) (Trace, error) {
	t.Helper()
	p, err := NewProbe(tg, c)
	if err != nil {
		t.Fatalf("new probe: %v", err)
	}
	var tr Trace
	ctx, cancel := context.WithTimeout(WithTrace(t.Context(), &tr), tg.Timeout)
	defer cancel()
	err = p(ctx)
	return tr, err
}

// eventually polls until ok or a minute has passed: who waits in vain is in no
// hurry, and the machine may be busy.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}
