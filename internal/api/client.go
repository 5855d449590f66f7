package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Errors of the client; every other answer of the server is a *Problem.
var (
	// ErrUnreachable: nobody answers where the controller should.
	ErrUnreachable = errors.New("no running pointsman answers")
	// ErrNotOurs: something answers that is no pointsman.
	ErrNotOurs = errors.New("the answer is not pointsman's")
)

// ClientConfig says where the controller is: exactly one of Socket and Server.
type ClientConfig struct {
	Socket string
	Server string // http://host:port, or https
	Token  []byte // needed with Server; with Socket the one of a principal, or none
}

// Client speaks to one controller. Safe for concurrent use.
type Client struct {
	base  string
	where string
	token string
	http  *http.Client

	patience time.Duration // of one call
}

// NewClient checks the configuration; nothing is dialled yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	t := &http.Transport{
		Proxy: nil, // a proxy of the environment must never see the token
		DialContext: (&net.Dialer{
			Timeout: 3 * time.Second,
		}).DialContext,
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
	}
	c := &Client{patience: callTimeout, http: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	switch {
	case cfg.Server == "" && cfg.Socket == "":
		return nil, errors.New("neither a socket nor a server is named")
	case cfg.Server == "":
		c.base, c.where = "http://pointsman", cfg.Socket
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "unix", cfg.Socket)
		}
		c.token = string(cfg.Token)
	default:
		u, err := url.Parse(cfg.Server)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("server %.80q is no http://host:port", cfg.Server)
		}
		c.base, c.where = u.Scheme+"://"+u.Host, cfg.Server
		c.token = string(cfg.Token)
	}
	return c, nil
}

// Where names the socket or the server, for messages.
func (c *Client) Where() string { return c.where }

// Views returns every instance, which it reads page by page. A reload in
// between makes it begin anew.
func (c *Client) Views(ctx context.Context) ([]failover.View, error) {
	var all []failover.View
	q := ListQuery{}
	for {
		vs, next, err := c.page(ctx, q)
		if p, ok := errors.AsType[*Problem](err); ok && p.Status == http.StatusGone {
			all, q.After = nil, ""
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, vs...)
		if next == "" {
			return all, nil
		}
		q.After = next
	}
}

// List returns the instances that q asks for, at most MaxViews.
func (c *Client) List(ctx context.Context, q ListQuery) ([]failover.View, error) {
	vs, _, err := c.page(ctx, q)
	return vs, err
}

func (c *Client) page(ctx context.Context, q ListQuery) (vs []failover.View, next failover.InstanceName, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/v1/instances"+q.encode(), nil)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	return vs, failover.InstanceName(resp.Header.Get(nextHeader)), c.decode(resp, &vs)
}

// Summary says what all instances together are doing.
func (c *Client) Summary(ctx context.Context) (Summary, error) {
	var s Summary
	return s, c.get(ctx, "/v1/summary", &s)
}

// View returns one instance.
func (c *Client) View(ctx context.Context, name failover.InstanceName) (failover.View, error) {
	var v failover.View
	return v, c.get(ctx, instancePath(name, ""), &v)
}

// Explain says in words why the controller did, did not, or would act.
func (c *Client) Explain(ctx context.Context, name failover.InstanceName) (failover.Explanation, error) {
	var e failover.Explanation
	return e, c.get(ctx, instancePath(name, "/explain"), &e)
}

// Plan says what a failover or switchover would do.
func (c *Client) Plan(ctx context.Context, name failover.InstanceName, r CommandRequest) (failover.Plan, error) {
	var p failover.Plan
	return p, c.call(ctx, http.MethodPost, instancePath(name, "/plan"), r, &p)
}

// Do submits a command. A refusal is a Reply, not an error.
func (c *Client) Do(ctx context.Context, name failover.InstanceName, r CommandRequest) (Reply, error) {
	var rep Reply
	return rep, c.call(ctx, http.MethodPost, instancePath(name, "/commands"), r, &rep)
}

// Apply carries a saved plan out, or is told that the world has moved.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (Reply, error) {
	var rep Reply
	return rep, c.call(ctx, http.MethodPost, instancePath(r.Plan.Instance, "/apply"), r, &rep)
}

// Audit lists audit entries, oldest first.
func (c *Client) Audit(ctx context.Context, q Query) ([]AuditLine, error) {
	var ls []AuditLine
	return ls, c.get(ctx, "/v1/audit"+q.encode(), &ls)
}

// VerifyAudit checks the chain of the audit.
func (c *Client) VerifyAudit(ctx context.Context) (Condition, error) {
	var cond Condition
	return cond, c.get(ctx, "/v1/audit/verify", &cond)
}

// History lists measured samples, oldest first.
func (c *Client) History(ctx context.Context, q Query) ([]Sample, error) {
	var ls []Sample
	return ls, c.get(ctx, "/v1/history"+q.encode(), &ls)
}

// Probes lists what the controller's own vantage measured, oldest first.
func (c *Client) Probes(ctx context.Context, q Query) ([]ProbeLine, error) {
	var ls []ProbeLine
	return ls, c.get(ctx, "/v1/probes"+q.encode(), &ls)
}

// Version says what runs there.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var v Version
	return v, c.get(ctx, "/v1/version", &v)
}

// Watch calls f with the views at once and after every change, of one
// instance or, with an empty name, of all; where there are more than MaxViews,
// only of those that need a look. It ends with ctx, with the error
// of f, or when the controller ends.
func (c *Client) Watch(ctx context.Context, name failover.InstanceName, f func([]failover.View) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.send(ctx, http.MethodGet, "/v1/watch"+Query{Instance: name}.encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.decode(resp, nil)
	}
	// The server beats; silence means that it is gone without a word.
	dead := time.AfterFunc(4*watchBeat, func() { cancel(ErrUnreachable) })
	defer dead.Stop()
	err = readEvents(resp.Body, func(vs []failover.View) error {
		dead.Reset(4 * watchBeat)
		return f(vs)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w at %s any more", ErrUnreachable, c.where)
	}
	return err
}

func (q Query) encode() string {
	v := url.Values{}
	if q.Instance != "" {
		v.Set("instance", string(q.Instance))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Below != 0 {
		v.Set("below", strconv.FormatInt(q.Below, 10))
	}
	if q.Kind != "" {
		v.Set("kind", q.Kind)
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

func instancePath(name failover.InstanceName, rest string) string {
	return "/v1/instances/" + url.PathEscape(string(name)) + rest
}

// callTimeout bounds one call; it is longer than the server's own patience.
const callTimeout = askTimeout + 5*time.Second

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, nil, into)
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	return c.callAsLong(ctx, method, path, body, into)
}

// callLong is a call that may take long: for as long as ctx lasts. It asks for
// the version first, so that a controller that takes the connection and answers
// nothing is found out as soon as by any other call.
func (c *Client) callLong(ctx context.Context, method, path string, body, into any) error {
	if _, err := c.Version(ctx); err != nil {
		return err
	}
	return c.callAsLong(ctx, method, path, body, into)
}

// callAsLong is call for as long as ctx lasts.
func (c *Client) callAsLong(ctx context.Context, method, path string, body, into any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return c.decode(resp, into)
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("marshal request: %w", err)
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // the URL of a socket says nothing
		}
		if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
			err = op.Err // the place is named already
		}
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil, context.Cause(ctx)
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("%w at %s: something takes the connection there and does not answer: %w", ErrUnreachable, c.where, context.DeadlineExceeded)
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.where, err)
	}
	return resp, nil
}

// decode reads an answer: what was asked for, a Reply with any status that
// replyStatus gives, or a Problem.
func (c *Client) decode(resp *http.Response, into any) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", c.where, err)
	}
	if resp.StatusCode != http.StatusOK {
		if rep, ok := into.(*Reply); ok && json.Unmarshal(data, rep) == nil && rep.Code != "" {
			return nil
		}
		p := &Problem{}
		if json.Unmarshal(data, p) == nil && p.Message != "" {
			p.Status = resp.StatusCode
			return p
		}
		return fmt.Errorf("%s answered %s: %w", c.where, resp.Status, ErrNotOurs)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w: %w", c.where, ErrNotOurs, err)
	}
	return nil
}
