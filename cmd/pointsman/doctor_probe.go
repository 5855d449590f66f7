package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"pointsman/healthcheck"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
)

// probeChecks look at every cluster as the controller's own vantage does.
func (p *patient) probeChecks() []doctor.Check {
	var out []doctor.Check
	for _, i := range p.cfg.Instances {
		for _, t := range i.Targets {
			about := fmt.Sprintf("%s/%s", t.Instance, t.Cluster)
			if names, ok := t.OwnTables(); ok && p.readOnly {
				out = append(out, doctor.Check{IDs: []string{"cluster.probe"}, About: about, Look: func(context.Context) []doctor.Finding {
					return []doctor.Finding{doctor.Skip("cluster.probe", about, "it would write a row into %s: leave --read-only out; cluster.move writes none", names.Canary)}
				}})
				continue
			}
			out = append(out, doctor.Check{
				IDs: []string{"cluster.probe"}, About: about, Time: t.Timeout + 5*time.Second,
				Look: func(ctx context.Context) []doctor.Finding {
					return []doctor.Finding{doctor.JudgeProbe(probeFrom(ctx, p.cfg, t))}
				},
			})
		}
	}
	return out
}

// probeFrom makes one probe from this host, by the code and under the names
// that vantages use: it is what a client would meet that comes there.
func probeFrom(ctx context.Context, cfg *config.Config, t healthcheck.Target) doctor.ProbeFacts {
	f := doctor.ProbeFacts{
		Instance: string(t.Instance), Cluster: string(t.Cluster), Client: strings.TrimSuffix(t.Name, "."),
		Address: t.Address, Kind: kindOf(t), Identity: t.Identity, At: time.Now(),
	}
	probe, err := healthcheck.NewProbe(t, healthcheck.ProbeConfig{Vantage: "doctor", Allow: cfg.Self.Allow, ReadKey: config.ReadSecretFile})
	if err != nil {
		f.Err, f.Own = err.Error(), true
		return f
	}
	var tr healthcheck.Trace
	limited, cancel := context.WithTimeout(healthcheck.WithTrace(ctx, &tr), t.Timeout)
	defer cancel()
	began := time.Now()
	err = probe(limited)
	f.Took, f.Proved, f.Warnings, f.CertEnds = time.Since(began), tr.Identity, tr.Warnings, tr.CertificateEnds
	if err == nil {
		return f
	}
	f.Err = err.Error()
	_, f.Name = errors.AsType[x509.HostnameError](err)
	_, untrusted := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	f.Trust = untrusted || invalid
	f.Wrong = errors.Is(err, healthcheck.ErrWrongCluster)
	f.Own, f.Fault = errors.Is(err, healthcheck.ErrOwn), healthcheck.FaultOf(err)
	return f
}

func kindOf(t healthcheck.Target) string {
	if len(t.Checks) == 0 {
		return string(t.Check.Type)
	}
	var kinds []string
	for _, c := range t.Checks {
		kinds = append(kinds, string(c.Type))
	}
	return strings.Join(kinds, "+")
}

// clockChecks read the clocks of clusters and DNS servers.
func (p *patient) clockChecks() []doctor.Check {
	var out []doctor.Check
	asked := map[string]bool{}
	for _, i := range p.cfg.Instances {
		for _, t := range i.Targets {
			if asked[t.Address] {
				continue
			}
			asked[t.Address] = true
			out = append(out, doctor.Check{IDs: []string{"clock.clusters"}, About: t.Address, Look: func(ctx context.Context) []doctor.Finding {
				return []doctor.Finding{doctor.JudgeClock("clock.clusters", clusterClock(ctx, p.cfg, t))}
			}})
		}
	}
	for _, pr := range p.cfg.Providers {
		if pr.Cloud() != nil {
			out = append(out, doctor.Check{IDs: []string{"clock.dns"}, About: pr.Name, Look: func(ctx context.Context) []doctor.Finding {
				return []doctor.Finding{doctor.JudgeClock("clock.dns", cloudClock(ctx, pr))}
			}})
			continue
		}
		out = append(out, doctor.Check{IDs: []string{"clock.dns"}, About: pr.Name, Look: func(ctx context.Context) []doctor.Finding {
			return []doctor.Finding{doctor.JudgeClock("clock.dns", dnsClock(ctx, pr))}
		}})
	}
	return out
}

// webCheck is the first check of a target that speaks HTTP/1. What a Tablestore
// answers to GET / without a key tells its time, too.
func webCheck(t healthcheck.Target) (healthcheck.Check, bool) {
	for _, c := range append([]healthcheck.Check{t.Check}, t.Checks...) {
		switch {
		case c.Type == healthcheck.HTTP, c.Type == healthcheck.HTTPS:
			return c, true
		case c.Type == healthcheck.Tablestore && c.Tablestore.Scheme == healthcheck.SchemeHTTP:
			return healthcheck.Check{Type: healthcheck.HTTP, Port: c.Port, Host: c.Host}, true
		case c.Type == healthcheck.Tablestore:
			return healthcheck.Check{Type: healthcheck.HTTPS, Port: c.Port, Host: c.Host, ServerName: c.ServerName, CA: c.CA}, true
		}
	}
	return healthcheck.Check{}, false
}

// otsClockLimit is how far the clock of who signs a request may be from that of
// the service, by the vendor's page of error codes.
const otsClockLimit = 15 * time.Minute

// clusterClock reads the Date of an answer (RFC 9110 section 6.6.1), which has
// whole seconds, or the finer x-ots-date of a Tablestore.
func clusterClock(ctx context.Context, cfg *config.Config, t healthcheck.Target) doctor.ClockFacts {
	name := fmt.Sprintf("%s (%s)", t.Cluster, t.Address)
	f := doctor.ClockFacts{With: name}
	check, ok := webCheck(t)
	if !ok {
		f.Absent = "its check is not http, https or tablestore, so it tells no time"
		return f
	}
	req, client, err := dateRequest(ctx, cfg, t, check)
	if err != nil {
		f.Err = err.Error()
		return f
	}
	defer client.CloseIdleConnections()
	sent := time.Now()
	resp, err := client.Do(req)
	got := time.Now()
	if err != nil {
		f.Err = cause(err).Error()
		return f
	}
	resp.Body.Close()
	if theirs, err := time.Parse(time.RFC3339Nano, resp.Header.Get("X-Ots-Date")); err == nil {
		f = doctor.Compared(name, "the x-ots-date of its answer", sent, got, theirs, time.Millisecond)
		f.Limit, f.LimitOf = otsClockLimit, "Tablestore refuses requests beyond 15 min"
		return f
	}
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		f.Absent = "its answer has no Date that can be read"
		return f
	}
	return doctor.Compared(name, "the Date of its answer", sent, got, theirs, time.Second)
}

// dateRequest asks for what the check asks for, at the address of the cluster
// under the clients' name.
func dateRequest(ctx context.Context, cfg *config.Config, t healthcheck.Target, check healthcheck.Check) (*http.Request, *http.Client, error) {
	scheme, port := "http", "80"
	if check.Type == healthcheck.HTTPS {
		scheme, port = "https", "443"
	}
	host, given, err := net.SplitHostPort(t.Address)
	if err != nil {
		host, given = t.Address, ""
	}
	port = orElse(given, port)
	if check.Port != 0 {
		port = fmt.Sprint(check.Port)
	}
	name := orElse(check.Host, orElse(strings.TrimSuffix(t.Name, "."), host))
	req, err := http.NewRequestWithContext(ctx, orElse(check.Method, http.MethodGet), scheme+"://"+net.JoinHostPort(host, port)+orElse(check.Path, "/"), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("request: %w", err)
	}
	req.Host = name
	var roots *x509.CertPool
	if check.CA != "" {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(check.CA))
	}
	dialer := net.Dialer{Timeout: 3 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return healthcheck.Forbidden(at.Addr(), cfg.Self.Allow)
	}}
	return req, &http.Client{
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 32 << 10,
			TLSClientConfig: &tls.Config{ServerName: orElse(check.ServerName, strings.TrimSuffix(t.Name, ".")), RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
	}, nil
}

// cause drops the method and URL that net/http puts before an error.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// dnsClock asks the primary of a provider a signed question: the signature of
// the answer bears its time, or, where the clocks are too far apart, the error
// does (RFC 8945 sections 4.2 and 5.2.3).
func dnsClock(ctx context.Context, pr config.Provider) doctor.ClockFacts {
	f := doctor.ClockFacts{With: fmt.Sprintf("%s (%s)", pr.Name, pr.Server().Server)}
	secret, err := config.ReadSecretFile(pr.SecretFile)
	if err != nil {
		text, _ := splitHint(err)
		f.Absent = "it takes a signed question, and its key cannot be read: " + text
		return f
	}
	return signedClock(ctx, pr, secret, f)
}

// signedClock asks with the key.
func signedClock(ctx context.Context, pr config.Provider, secret []byte, f doctor.ClockFacts) doctor.ClockFacts {
	key := dns.CanonicalName(pr.Server().Key.Name)
	m := new(dns.Msg).SetQuestion(dns.Fqdn(pr.Server().Zone), dns.TypeSOA)
	m.RecursionDesired = false
	sent := time.Now()
	m.SetTsig(key, dns.CanonicalName(pr.Server().Key.Algorithm), 300, sent.Unix())
	c := dns.Client{Net: "tcp", Timeout: 5 * time.Second, TsigSecret: map[string]string{key: string(secret)}}
	r, _, err := c.ExchangeContext(ctx, m, pr.Server().Server)
	got := time.Now()
	if r == nil || r.IsTsig() == nil {
		if err == nil {
			err = errors.New("the answer is not signed: is the key known there?")
		}
		f.Err = cause(err).Error()
		return f
	}
	theirs, ok := signedAt(r.IsTsig())
	if err != nil && !ok {
		f.Err = err.Error()
		return f
	}
	return doctor.Compared(f.With, "the time of its signature", sent, got, theirs, time.Second)
}

// signedAt is the server's time in a signature; ok says that it stands in the
// error of clocks that are too far apart.
func signedAt(t *dns.TSIG) (at time.Time, ok bool) {
	if t.Error != dns.RcodeBadTime || len(t.OtherData) != 12 { // six octets in hex
		return time.Unix(int64(t.TimeSigned), 0), false
	}
	var secs int64
	if _, err := fmt.Sscanf(t.OtherData, "%x", &secs); err != nil {
		return time.Time{}, false
	}
	return time.Unix(secs, 0), true
}
