//go:build libdns_powerdns

package dnsctl

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/libdns/powerdns"
	"github.com/mittwald/go-powerdns/pdnshttp"
)

func init() {
	libdnsBuilt["powerdns"] = libdnsModule{
		// Each RRset is a request of its own.
		shown: []string{"server_url", "server_id"}, open: openPowerDNS, denial: powerDNSDenial,
	}
	// The module's client is http.DefaultClient, which it never closes a body
	// of, and which follows redirects with its key in hand. What it does for a
	// guarded call goes over connections of ours; nothing else is touched.
	http.DefaultClient.Transport = guardedHTTP{
		ours: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    5 * time.Second,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		others: http.DefaultClient.Transport,
	}
}

type guardKey struct{}

// guardedHTTP carries the requests of guarded calls: no proxy of the
// environment, no redirect, nothing but GET where nothing may be written, and
// no more than a call may take.
type guardedHTTP struct {
	ours   *http.Transport
	others http.RoundTripper // nil: the default
}

func (h guardedHTTP) RoundTrip(q *http.Request) (*http.Response, error) {
	g, ok := q.Context().Value(guardKey{}).(*libdnsGuard)
	if !ok {
		if h.others == nil {
			return http.DefaultTransport.RoundTrip(q)
		}
		return h.others.RoundTrip(q)
	}
	if q.Method != http.MethodGet {
		if err := g.begin(); err != nil {
			return nil, err
		}
	}
	a, err := h.ours.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	if a.StatusCode >= 300 && a.StatusCode < 400 {
		return nil, fmt.Errorf("%s: redirects are not followed", a.Status)
	}
	var body bytes.Buffer
	if _, err := io.Copy(&body, guardedReader{a.Body, g}); err != nil {
		return nil, err
	}
	a.Body = io.NopCloser(&body)
	return a, nil
}

type powerDNSClient struct{ p *powerdns.Provider }

func openPowerDNS(settings []byte) (libdnsClient, error) {
	p := &powerdns.Provider{}
	if err := decodeSettings(settings, p); err != nil {
		return nil, err
	}
	if p.Debug != "" {
		return nil, errors.New("debug: leave it out: the module would print its key")
	}
	if p.APIToken == "" {
		return nil, errors.New("api_token: is missing: it is the server's api-key")
	}
	u, err := url.Parse(p.ServerURL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("server_url: write it like https://dns.example.com:8443")
	}
	switch a, err := netip.ParseAddr(u.Hostname()); {
	case u.Scheme == "https":
	case u.Scheme == "http" && err == nil && a.Unmap().IsLoopback():
	default:
		return nil, errors.New("server_url: use https: the key would cross the network in plain text; http is for a loopback address only")
	}
	if strings.Contains(p.ServerID, "/") {
		return nil, errors.New("server_id: is the name of a server, usually localhost")
	}
	return powerDNSClient{p}, nil
}

func (c powerDNSClient) get(ctx context.Context, g *libdnsGuard, zone string) ([]libdns.Record, error) {
	return c.p.GetRecords(context.WithValue(ctx, guardKey{}, g), zone)
}

func (c powerDNSClient) set(ctx context.Context, g *libdnsGuard, zone string, recs []libdns.Record) error {
	_, err := c.p.SetRecords(context.WithValue(ctx, guardKey{}, g), zone, recs)
	return err
}

// powerDNSDenial reads the status that PowerDNS answered with (its HTTP API,
// "Errors"): 4xx is a request that changed nothing.
func powerDNSDenial(err error) error {
	if errors.As(err, new(pdnshttp.ErrNotFound)) || err.Error() == "zone not found" {
		return ErrZone
	}
	status, ok := errors.AsType[pdnshttp.ErrUnexpectedStatus](err)
	if !ok {
		return nil
	}
	switch status.StatusCode {
	case http.StatusUnauthorized:
		return ErrKey
	case http.StatusForbidden:
		return ErrRights
	case http.StatusUnprocessableEntity, http.StatusBadRequest, http.StatusConflict:
		return ErrParameter
	case http.StatusTooManyRequests:
		return ErrThrottled
	case http.StatusMethodNotAllowed:
		return ErrUnsupported
	}
	return nil
}
