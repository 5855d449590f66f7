package healthcheck

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// tlsProbe is healthy when the cluster shows a chain that we trust, made out
// for the clients' name.
func tlsProbe(d *dialer, t Target) Probe {
	sh := newShaker(t)
	return func(ctx context.Context) error {
		tr := traceOf(ctx)
		conn, err := d.connect(ctx, tr)
		if err != nil {
			return err
		}
		defer drop(conn)
		defer bind(ctx, conn)()
		if _, err := sh.shake(ctx, conn, tr); err != nil {
			return err
		}
		tr.Phase = PhaseDone
		return nil
	}
}

// shaker does the TLS handshake under the clients' name.
type shaker struct {
	config *tls.Config
	warn   time.Duration
}

func newShaker(t Target) *shaker {
	roots, _ := t.Check.roots() // Validate has seen it
	return &shaker{
		// No session cache: each probe shakes hands in full and so sees the
		// certificate of the day. Verification is the standard one: chain,
		// name, time.
		config: &tls.Config{ServerName: t.serverName(), RootCAs: roots, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true},
		warn:   t.Check.CertWarn,
	}
}

func (s *shaker) shake(ctx context.Context, conn net.Conn, tr *Trace) (*tls.Conn, error) {
	tr.Phase = PhaseTLS
	start := time.Now()
	tc := tls.Client(conn, s.config)
	err := tc.HandshakeContext(ctx)
	tr.TLS = time.Since(start)
	if err != nil {
		return nil, fmt.Errorf("tls as %s: %w", s.config.ServerName, plain(err, limitOf(ctx, start)))
	}
	s.expiry(tc.ConnectionState(), tr)
	return tc, nil
}

// expiry warns of the certificate that ends first. An expired one fails the
// handshake, as it does for clients.
func (s *shaker) expiry(state tls.ConnectionState, tr *Trace) {
	if len(state.VerifiedChains) == 0 {
		return
	}
	var first time.Time
	for _, cert := range state.VerifiedChains[0] {
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	tr.CertificateEnds = first
	if left := time.Until(first); left < s.warn {
		tr.warn("certificate ends in %s (%s)", daysLeft(left), first.UTC().Format(time.DateOnly))
	}
}

// daysLeft counts whole days, and hours on the last one.
func daysLeft(left time.Duration) string {
	const day = 24 * time.Hour
	n, unit := int(left/day), "day"
	if left < day {
		n, unit = int(left/time.Hour), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
