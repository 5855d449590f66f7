package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"pointsman/internal/failover"
)

// External is where the lag of somebody else's replication is read: either a
// URL or a command, which answer with one JSON object as
// {"lag_ms": 1200, "rows": 30, "at": "2026-11-29T12:00:00Z"}. Rows may be left
// out, and at, which is then the moment of the question.
type External struct {
	URL string
	// Command is the absolute path of a program and its arguments; no shell reads
	// them. It finds the instance and the direction in POINTSMAN_INSTANCE,
	// POINTSMAN_FROM and POINTSMAN_TO.
	Command []string
	Every   time.Duration // 10 s if 0
	Timeout time.Duration // of one question: 5 s if 0

	// Forbidden refuses an address that must not be dialled, after a name was
	// resolved to it.
	Forbidden func(netip.Addr) error
	// Program refuses a file that must not be run: somebody else could change it.
	Program func(path string) error
}

// newExternalMeter asks about one direction.
func newExternalMeter(x External, instance failover.InstanceName, from, to failover.ClusterName) (*pollMeter, error) {
	switch {
	case (x.URL != "") == (len(x.Command) > 0):
		return nil, errors.New("external replication: wants either a URL or a command")
	case x.URL != "" && x.Forbidden == nil, x.URL == "" && x.Program == nil:
		return nil, errors.New("external replication: nothing says which addresses and programs are refused")
	}
	m := &pollMeter{every: x.Every, timeout: x.Timeout}
	if m.every <= 0 {
		m.every = 10 * time.Second
	}
	if m.timeout <= 0 {
		m.timeout = 5 * time.Second
	}
	m.ask = func(ctx context.Context) (ExposureNow, error) {
		sent := time.Now()
		var text []byte
		var err error
		if x.URL != "" {
			text, err = x.fetch(ctx)
		} else {
			text, err = x.run(ctx, []string{
				"POINTSMAN_INSTANCE=" + string(instance), "POINTSMAN_FROM=" + string(from), "POINTSMAN_TO=" + string(to),
			})
		}
		var e ExposureNow
		if err == nil {
			e, err = parseAnswer(text, sent)
		}
		if err != nil {
			return ExposureNow{}, fmt.Errorf("external replication: %w", err)
		}
		e.Why = "external replication"
		return e, nil
	}
	return m, nil
}

// fetch gets the URL. Every connection is made anew, to an address that was
// looked at after the name was resolved; no redirect is followed and no proxy
// of the environment used. The URL is not repeated in errors: it may hold what
// is nobody's business.
func (x *External) fetch(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.URL, nil)
	if err != nil {
		return nil, errors.New("the URL is none")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "pointsman")
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return x.Forbidden(to.Addr())
	}}
	c := &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d, want 200 (a redirect is not followed)", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)) // a longer one is refused by its length
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", withoutURL(err))
	}
	return text, nil
}

func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
