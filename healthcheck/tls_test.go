package healthcheck

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// authority is a certificate authority for tests.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newCA(t testing.TB) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue makes a certificate that ends after life, which may be negative.
func (ca *testCA) issue(t testing.TB, name string, life time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-240 * time.Hour), NotAfter: time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS returns the address of an HTTPS server and the server names that
// its clients asked for.
func serveTLS(t testing.TB, cert tls.Certificate, h http.HandlerFunc) (string, <-chan string) {
	t.Helper()
	names := make(chan string, 16)
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- hello.ServerName
		return &cert, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), names
}

func TestTLSDialsTheClusterUnderTheClientsName(t *testing.T) {
	ca := newCA(t)
	addr, names := serveTLS(t, ca.issue(t, "orders.lab.test", 90*24*time.Hour), nil)
	tg := target(TLS, addr)
	tg.Check.CA = ca.pem
	tr, err := probe(t, tg)
	if err != nil || tr.Phase != PhaseDone || tr.TLS <= 0 {
		t.Fatalf("got %v in phase %s", err, tr.Phase)
	}
	if len(tr.Warnings) != 0 {
		t.Errorf("warnings %q for a good certificate", tr.Warnings)
	}
	if got := <-names; got != "orders.lab.test" {
		t.Errorf("server name sent is %q", got)
	}
}

func TestTLSRefusesWhatClientsWouldRefuse(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	for name, tc := range map[string]struct {
		cert tls.Certificate
		says string
	}{
		"made out for another name": {ca.issue(t, "billing.lab.test", time.Hour*9999), "certificate is valid for billing.lab.test, not orders.lab.test"},
		"from a stranger":           {other.issue(t, "orders.lab.test", time.Hour*9999), "certificate signed by unknown authority"},
		"expired":                   {ca.issue(t, "orders.lab.test", -time.Hour), "certificate has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := serveTLS(t, tc.cert, nil)
			tg := target(TLS, addr)
			tg.Check.CA = ca.pem
			tr, err := probe(t, tg)
			if err == nil || errors.Is(err, ErrOwn) || tr.Phase != PhaseTLS || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v in phase %s, want %q", err, tr.Phase, tc.says)
			}
		})
	}
}

func TestTLSWarnsOfACertificateThatEndsSoon(t *testing.T) {
	ca := newCA(t)
	addr, _ := serveTLS(t, ca.issue(t, "orders.lab.test", 5*24*time.Hour+time.Hour), nil)
	tg := target(TLS, addr)
	tg.Check.CA = ca.pem
	tr, err := probe(t, tg)
	if err != nil {
		t.Fatalf("a warning became a miss: %v", err)
	}
	if len(tr.Warnings) != 1 || tr.Warnings[0] != "certificate ends in 5 days ("+time.Now().Add(5*24*time.Hour+time.Hour).UTC().Format(time.DateOnly)+")" {
		t.Errorf("warnings are %q", tr.Warnings)
	}
}

func TestTLSStalledHandshakeIsAMissAfterTheTimeout(t *testing.T) {
	l := listen(t) // the kernel accepts, nobody shakes hands
	tg := target(TLS, l.Addr().String())
	tg.Timeout = 150 * time.Millisecond
	tr, err := probe(t, tg)
	if err == nil || errors.Is(err, ErrOwn) || tr.Phase != PhaseTLS || !strings.Contains(err.Error(), "no answer within") {
		t.Fatalf("got %v in phase %s", err, tr.Phase)
	}
}

func TestHTTPSAsksUnderServerNameAndHost(t *testing.T) {
	ca := newCA(t)
	hosts := make(chan string, 1)
	addr, names := serveTLS(t, ca.issue(t, "orders.lab.test", 90*24*time.Hour), func(w http.ResponseWriter, r *http.Request) {
		hosts <- r.Host
		w.Header().Set("X-Cluster", "a")
	})
	tg := target(HTTPS, addr)
	tg.Check.CA, tg.Check.Identity.Header, tg.Identity = ca.pem, "X-Cluster", "a"
	tr, err := probe(t, tg)
	if err != nil || !tr.Identity {
		t.Fatalf("got %v, identity proved %v", err, tr.Identity)
	}
	_, port, _ := strings.Cut(addr, ":")
	if host, name := <-hosts, <-names; host != "orders.lab.test:"+port || name != "orders.lab.test" {
		t.Errorf("asked for Host %q and server name %q", host, name)
	}
}

// Votes carry the end of the certificate, so that an alert need not wait for
// the warning.
func TestVoteTellsWhenTheCertificateEnds(t *testing.T) {
	ca := newCA(t)
	addr, _ := serveTLS(t, ca.issue(t, "orders.lab.test", 90*24*time.Hour), nil)
	tg := target(TLS, addr)
	tg.Check.CA, tg.Round, tg.Timeout, tg.Burst = ca.pem, 200*time.Millisecond, 190*time.Millisecond, 10*time.Millisecond
	got := make(chan InstanceReport, 64)
	p, err := NewProber(Config{Vantage: "van-1", Targets: []Target{tg}, OnReport: func(r InstanceReport) {
		select {
		case got <- r:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	eventually(t, "a vote with the end of the certificate", func() bool {
		select {
		case r := <-got:
			in := r.Clusters[0].CertificateEndsIn
			return in != nil && *in > 89*24*time.Hour && *in <= 90*24*time.Hour
		default:
			return false
		}
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
