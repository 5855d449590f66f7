package notify

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer is the most of an answer that is read, in bytes.
	maxAnswer = 64 << 10
	// maxAddresses is how many addresses of a name are tried.
	maxAddresses = 4
)

var (
	// ErrRedirect: a receiver answered with a redirect, which is never followed.
	ErrRedirect = errors.New("the receiver redirects, which is not followed")
	// ErrLarge: the answer of a receiver is larger than anybody needs.
	ErrLarge = errors.New("the answer is larger than 64 KiB")
)

// dialer connects to where a channel may send, and to nothing else.
type dialer struct {
	allow  []netip.Prefix
	lookup func(context.Context, string) ([]netip.Addr, error)           // nil: the system's resolver
	dial   func(context.Context, string, string) (c net.Conn, err error) // nil: a [net.Dialer]
}

// connect resolves the host and dials the first address that answers. The
// address that was checked is the one that is dialled, so that a name which
// changes in between gains nothing.
func (d *dialer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("connect: port %.20q is none", port)
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var first error
	for i, a := range addrs {
		c, err := d.one(ctx, network, netip.AddrPortFrom(a, uint16(n)), len(addrs)-i)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func (d *dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	lookup := d.lookup
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	addrs, err := lookup(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		if e := (*net.DNSError)(nil); errors.As(err, &e) {
			err = errors.New(e.Err) // the host stands before it
		}
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	return addrs[:min(len(addrs), maxAddresses)], nil
}

// one dials one address, of those that are left, with its share of the time.
func (d *dialer) one(ctx context.Context, network string, to netip.AddrPort, left int) (net.Conn, error) {
	if err := CheckAddress(to.Addr(), d.allow); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if end, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	dial := d.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	c, err := dial(ctx, network, to.String())
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("connect %s: %w", to, err)
	}
	return c, nil
}

// guarded is an HTTP transport that dials by the rules, follows no proxy of the
// environment, gives every exchange a deadline of its own, refuses redirects
// and caps answers. The libraries that are given it cannot undo any of that.
type guarded struct {
	base    *http.Transport
	timeout time.Duration
	seen    func(*http.Response) // every answer before it is read; may be nil
}

func newGuarded(d *dialer, roots *tls.Config, timeout time.Duration) *guarded {
	return &guarded{timeout: timeout, base: &http.Transport{
		Proxy: nil, DialContext: d.connect, TLSClientConfig: roots, ForceAttemptHTTP2: true,
		// A message is rare: an idle connection would be closed by the other
		// side when it is needed.
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer, TLSHandshakeTimeout: timeout,
	}}
}

// RoundTrip is one exchange (http.RoundTripper).
func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), g.timeout)
	resp, err := g.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	if g.seen != nil {
		g.seen(resp)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("%w (status %d)", ErrRedirect, resp.StatusCode)
	}
	resp.Body = &capped{resp.Body, maxAnswer, cancel}
	return resp, nil
}

// capped is the body of an answer: the deadline ends with it, and it fails
// when more comes than anybody needs.
type capped struct {
	io.ReadCloser
	left int
	done context.CancelFunc
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		// One byte more tells an answer of exactly that size from a larger one.
		if n, err := c.ReadCloser.Read(make([]byte, 1)); n == 0 {
			return 0, err
		}
		return 0, ErrLarge
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *capped) Close() error {
	defer c.done()
	return c.ReadCloser.Close()
}

// exchange sends a request by the rules and returns status, headers and body
// of the answer. Errors bear no URL: it may be a secret.
func exchange(ctx context.Context, g *guarded, r *http.Request) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	// A client of net/http does so, its transport does not.
	if u := r.URL.User; u != nil && r.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		r.SetBasicAuth(u.Username(), password)
	}
	resp, err := g.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, nil, withoutURL(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, nil, fmt.Errorf("read the answer: %w", withoutURL(err))
	}
	return resp, body, nil
}

// withoutURL takes the URL out of an error of net/http.
func withoutURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errNoAnswer
	}
	return err
}

var errNoAnswer = errors.New("no answer in time")

// scrub replaces every secret in a text. Secrets may stand in it as they are,
// as in a URL, or in quotes of Go.
func scrub(text string, secrets []string) string {
	for _, s := range secrets {
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), strings.Trim(strconv.Quote(s), `"`)} {
			if len(form) >= minHidden {
				text = strings.ReplaceAll(text, form, "***")
			}
		}
	}
	return text
}

// maxSaid is how much of an error people see, in characters.
const maxSaid = 400

// minHidden is the length from which a part of a URL may be a secret: shorter
// ones are words such as "api" or "v2".
const minHidden = 5

// secretsOf lists the parts of a URL that may be secrets: all but the scheme.
// The longest come first, so that no part of one is left over.
func secretsOf(raw string) []string {
	_, rest, ok := strings.Cut(raw, "://")
	if !ok {
		rest = raw
	}
	out := []string{raw, rest}
	if u, err := url.Parse(raw); err == nil && u.User != nil {
		password, _ := u.User.Password()
		out = append(out, loginForms(u.User.Username(), password)...)
	}
	for _, p := range strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune("/?&=@:,+#", r) }) {
		if len(p) >= minHidden {
			out = append(out, p)
			if u, err := url.QueryUnescape(p); err == nil && u != p {
				out = append(out, u)
			}
		}
	}
	return out
}

// loginForms are the forms in which a login goes over the wire: as it is, and in
// Base64 as HTTP (RFC 7617) and SMTP (RFC 4616, and each part alone) send it. The
// longest come first.
func loginForms(user, password string) []string {
	var out []string
	for _, s := range []string{user + "\x00" + user + "\x00" + password, "\x00" + user + "\x00" + password, user + ":" + password, password} {
		coded := base64.StdEncoding.EncodeToString([]byte(s))
		out = append(out, coded, strings.TrimRight(coded, "="))
	}
	return append(out, password)
}

// hidden is an error in whose words nothing secret stands. What it wraps can
// still be told apart, and is never printed.
type hidden struct {
	err  error
	text string
}

// hide cuts an error for people. What is secret goes after the line was made,
// which may join the pieces of a secret, and before it is cut, which may leave a
// piece of one.
func hide(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	return &hidden{err, clip(scrub(oneLine(said, len(said)), secrets), maxSaid)}
}

func (h *hidden) Error() string        { return h.text }
func (h *hidden) Is(target error) bool { return errors.Is(h.err, target) }
func (h *hidden) As(target any) bool   { return errors.As(h.err, target) }
