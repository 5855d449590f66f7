package dnsctl

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
)

// maxBody is the longest answer that is read, in octets.
const maxBody = 1 << 20

// caller makes single requests to one API. The vendor's library takes no
// context, follows redirects, asks the environment for proxies, panics on some
// answers, and shows the signed URL in its errors. So each request has a client
// of the library of its own, whose transport is a [wire], and only what the
// wire says is ever passed on.
type caller struct {
	at       endpoint
	http     http.RoundTripper
	keys     *keyring
	pace     *pace
	timeout  time.Duration // of one request
	readOnly bool
}

// newTransport builds the connections that wires share. It keeps no proxy of
// the environment, and its certificates are those of the system or of the file.
func newTransport(c CloudConfig) (*http.Transport, error) {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: c.Timeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    c.Timeout,
		MaxIdleConnsPerHost:    4, // kept warm for a failover
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil {
			return nil, errors.New("proxy: is no URL")
		}
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "http" { // this machine, or its metadata
				return nil, nil
			}
			return u, nil
		}
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", c.CAFile)
		}
	}
	return t, nil
}

// do makes one request and fills the answer. need are the keys that a good
// answer must have: without them it says nothing, and nothing must not pass for
// "there is none". Errors wrap ErrNotSent, ErrNoAnswer, ErrMalformed,
// ErrReadOnly, or what the API's error means (see cloudDenial).
func (c *caller) do(ctx context.Context, l lane, req requests.AcsRequest, answer responses.AcsResponse, need ...string) error {
	if err := c.pace.wait(ctx, l); err != nil {
		return fmt.Errorf("wait for a turn: %w (%w)", ErrNotSent, err)
	}
	key, err := c.keys.get(ctx, l)
	if err != nil {
		return fmt.Errorf("credentials: %w (%w)", ErrNotSent, err)
	}
	err = c.once(ctx, key, req, answer, need)
	switch {
	case errors.Is(err, ErrThrottled):
		c.pace.throttled()
	case errors.Is(err, ErrKey), errors.Is(err, ErrSecret):
		c.keys.doubt(key)
	}
	return err
}

func (c *caller) once(ctx context.Context, key accessKey, req requests.AcsRequest, answer responses.AcsResponse, need []string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	w := &wire{ctx: ctx, base: c.http, at: c.at, readOnly: c.readOnly, need: need, secrets: key.secrets}
	defer func() {
		if recover() != nil { // the library on an answer of a kind that it does not expect
			err = fmt.Errorf("%w: the library cannot read it", ErrMalformed)
		}
	}()
	cfg := sdk.NewConfig().WithScheme(strings.ToUpper(c.at.scheme)).WithAutoRetry(false).WithMaxRetryTime(0).WithTimeout(c.timeout)
	cfg.Transport = w
	client, err := sdk.NewClientWithOptions(cloudRegion, cfg, key.provider())
	if err != nil {
		return fmt.Errorf("%w: the library takes no key of this form", ErrNotSent)
	}
	client.Domain = c.at.host
	client.SetCloseTrace(true)
	// Given any value, the library leaves the variables of the environment
	// alone, of which one that it cannot parse fails every request.
	client.SetHttpProxy("http://127.0.0.1:9")
	client.SetHttpsProxy("http://127.0.0.1:9")
	client.SetNoProxy("localhost")
	err = client.DoAction(req, answer)
	switch {
	case w.err != nil:
		return w.err
	case err == nil && w.answered:
		return nil
	case !w.answered:
		return fmt.Errorf("%w: the library did not make a request of it", ErrNotSent)
	default: // its text may hold the answer, and the answer an echo of the key
		return fmt.Errorf("%w: the library cannot read it", ErrMalformed)
	}
}

// cloudRegion is signed into requests; both APIs are central.
const cloudRegion = "cn-hangzhou"

// staticKey is one key as the library wants it.
type staticKey struct{ k accessKey }

func (s staticKey) GetCredentials() (*credentials.Credentials, error) {
	p := s.k.parts()
	return &credentials.Credentials{AccessKeyId: p.id, AccessKeySecret: p.secret, SecurityToken: p.token, ProviderName: "static"}, nil
}
func (s staticKey) GetProviderName() string { return "static" }

// wire carries one request: under a context, with what may be sent judged
// before, and what came back judged whole before the library sees it.
type wire struct {
	ctx      context.Context
	base     http.RoundTripper
	at       endpoint
	readOnly bool
	need     []string
	secrets  func() []string // a function, because formatting prints what is in fields

	err      error // what to say of it; the library's own words show the URL
	answered bool
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.carry(r)
	if err != nil {
		w.err = err
		return nil, errors.New("see the wire")
	}
	w.answered = true
	return resp, nil
}

func (w *wire) carry(r *http.Request) (*http.Response, error) {
	if err := w.judge(r); err != nil {
		return nil, err
	}
	// The library's client gives a context of its own with its time-out; ours
	// ends with either of the two.
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	defer context.AfterFunc(r.Context(), cancel)()
	status, head, body, err := exchange(ctx, w.base, r)
	if err != nil {
		return nil, w.clean(err)
	}
	if err := w.read(status, head, body); err != nil {
		return nil, w.clean(err)
	}
	body = w.blank(body)
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Request: r,
	}, nil
}

// judge refuses what must never leave: a change in a dry run, and a key in
// plain text to anywhere but this machine.
func (w *wire) judge(r *http.Request) error {
	action := r.URL.Query().Get("Action")
	if w.readOnly {
		named := []string{action}
		for k, v := range r.Header { // the library does not write it in the canonical form
			if strings.EqualFold(k, "x-acs-action") {
				named = append(named, v...)
			}
		}
		for _, a := range named {
			if !strings.HasPrefix(a, "Describe") {
				return fmt.Errorf("%w: %w: %s", ErrNotSent, ErrReadOnly, short(a))
			}
		}
		if r.Body != nil && r.ContentLength != 0 {
			return fmt.Errorf("%w: %w: a request with a body", ErrNotSent, ErrReadOnly)
		}
	}
	// A process that stood still since it read the name may have been overtaken,
	// and its timers need not have run yet. The monotonic clock stands still
	// while a machine sleeps, the wall's does not.
	if end, ok := w.ctx.Deadline(); ok && (!time.Now().Before(end) || !time.Now().Round(0).Before(end.Round(0))) {
		return fmt.Errorf("%w: its time is over", ErrNotSent)
	}
	if r.URL.Host != w.at.host || r.URL.Scheme != w.at.scheme {
		return fmt.Errorf("%w: it would go to another host than the configured one", ErrNotSent)
	}
	if r.URL.Scheme != "https" && !w.at.loopback() {
		return fmt.Errorf("%w: the key would be signed into plain text", ErrNotSent)
	}
	return nil
}

// exchange sends a request and reads the answer whole, at most maxBody.
func exchange(ctx context.Context, base http.RoundTripper, r *http.Request) (int, http.Header, []byte, error) {
	var left atomic.Bool // a connection was there, so something may have left
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { left.Store(true) }})
	host := r.URL.Host
	resp, err := base.RoundTrip(r.Clone(ctx))
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // not the library's words, which show the URL
		}
		if !left.Load() {
			return 0, nil, nil, fmt.Errorf("connect to %s: %w (%w)", host, ErrNotSent, plain(err))
		}
		return 0, nil, nil, fmt.Errorf("answer of %s: %w (%w)", host, ErrNoAnswer, plain(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return 0, nil, nil, fmt.Errorf("answer of %s: %w (%w)", host, ErrNoAnswer, plain(err))
	case len(body) > maxBody:
		return 0, nil, nil, fmt.Errorf("answer of %s: %w: it is longer than 1 MiB", host, ErrMalformed)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// read judges an answer. What passes is a JSON object with the keys that are
// needed; everything else is an error that says what it was.
func (w *wire) read(status int, head http.Header, body []byte) error {
	host := w.at.host
	if status >= 300 && status < 400 {
		return fmt.Errorf("answer of %s: %w: it redirects, which is not followed: is something in between?", host, ErrMalformed)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil || top == nil {
		what := "it is no JSON"
		if t := bytes.TrimSpace(body); len(t) == 0 {
			what = "it is empty"
		} else if strings.Contains(head.Get("Content-Type"), "html") || t[0] == '<' {
			what = "it is a web page: a proxy or a log-in stands in between"
		}
		sentinel := ErrMalformed
		if status >= 500 {
			sentinel = ErrServer
		}
		return fmt.Errorf("answer of %s: %w: HTTP %d, %s", host, sentinel, status, what)
	}
	text := func(key string) string {
		var s string
		_ = json.Unmarshal(top[key], &s) // what is no text is none
		return redact(s, w.secrets())    // before it is cut to a length
	}
	if status < 200 || status > 299 {
		return fmt.Errorf("%s answered %w", host, cloudDenial(status, text("Code"), text("Message"), text("RequestId")))
	}
	for _, k := range append([]string{"RequestId"}, w.need...) {
		if v, ok := top[k]; !ok || string(v) == "null" {
			return fmt.Errorf("answer of %s: %w: it lacks %s", host, ErrMalformed, k)
		}
	}
	return nil
}

// blank takes an echo of the key out of an answer, so that no field of it can
// carry one on. It returns the answer itself where there is none.
func (w *wire) blank(body []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return body
	}
	secrets, found := w.secrets(), false
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			clean := redact(v, secrets)
			found = found || clean != v
			return clean
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	v = walk(v)
	if !found {
		return body
	}
	clean, err := json.Marshal(v)
	if err != nil {
		return []byte("{}")
	}
	return clean
}

// clean takes secrets out of the words of an error and keeps what it is.
func (w *wire) clean(err error) error {
	text := redact(err.Error(), w.secrets())
	if text == err.Error() {
		return err
	}
	return cleaned{text, err}
}

// cleaned is an error with other words. It does not unwrap to the words that
// it hides, so that nothing prints them; errors.Is still knows it.
type cleaned struct {
	text string
	err  error
}

func (e cleaned) Error() string        { return e.text }
func (e cleaned) Is(target error) bool { return errors.Is(e.err, target) }
