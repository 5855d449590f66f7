package ots

import (
	"context"
	"crypto/md5" // the protocol's digest of a body
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/common"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// maxAnswer bounds an answer. The service's own bound is about 4 MB of rows.
const maxAnswer = 12 << 20

// line is one client of the SDK, which knows no context, with what the call in
// hand needs. Making one costs more than many calls do (it seeds a generator),
// so that lines are kept; a line serves one call at a time.
type line struct {
	c   *Client
	sdk *tablestore.TableStoreClient

	ctx  context.Context
	key  Credentials
	sent time.Time // the last request; zero if none was
	said serverTime
	// request is the ID that the vendor finds the last call by.
	request string
}

func newLine(c *Client) *line {
	l := &line{c: c}
	// With RetryTimes 0 the first failure is final (v1.9.3, getNextPause), and
	// without a timeout of its own the SDK starts nothing.
	l.sdk = tablestore.NewClientWithCredentialsProvider(c.endpoint, c.cfg.Instance, l, &tablestore.TableStoreConfig{Transport: l})
	return l
}

// GetCredentials implements the SDK's provider.
func (l *line) GetCredentials() common.Credentials {
	return &common.DefaultCredentials{AccessKeyID: l.key.ID, AccessKeySecret: l.key.secret, SecurityToken: l.key.token}
}

// call runs one operation of the SDK. Its decoder panics on an answer that
// lacks what it needs: that is the word of whoever answered.
func (c *Client) call(ctx context.Context, do func(*line) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	key, err := c.cfg.Credentials()
	if err != nil {
		return fmt.Errorf("read access key: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	l := c.lines.Get().(*line)
	l.ctx, l.key, l.sent, l.said = within, key, time.Time{}, serverTime{}
	defer func() {
		if r := recover(); r != nil {
			if l.sent.IsZero() {
				err = fmt.Errorf("%w: %s", ErrRequest, clean(fmt.Sprint(r), key))
			} else {
				err = fmt.Errorf("%w: %s", ErrAnswer, clean(fmt.Sprint(r), key))
			}
		}
		l.ctx, l.key = nil, Credentials{}
		c.lines.Put(l)
		if err != nil {
			err = c.fault(ctx, err, key)
		}
	}()
	return do(l)
}

// fault makes an error of this package of what the SDK gave.
func (c *Client) fault(ctx context.Context, err error, key Credentials) error {
	if e, ok := errors.AsType[*tablestore.OtsError](err); ok {
		if e.Code == tablestore.OTS_CLIENT_UNKNOWN {
			return fmt.Errorf("%w: status %d", ErrAnswer, e.HttpStatusCode)
		}
		return &Error{clean(e.Code, key), clean(e.Message, key), clean(e.RequestId, key), e.HttpStatusCode}
	}
	if errors.Is(err, ErrAnswer) || errors.Is(err, ErrRequest) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok { // it repeats method and URL
		err = u.Err
	}
	if errors.Is(err, ErrLine) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w within %v", ErrLine, c.cfg.Timeout)
	}
	return fmt.Errorf("%w: %s", ErrAnswer, clean(err.Error(), key))
}

// RoundTrip implements http.RoundTripper for the SDK.
func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	l.sent = time.Now()
	resp, err := l.c.over.RoundTrip(req.WithContext(l.ctx))
	if err != nil {
		return nil, plainLine("send", l.ctx, err)
	}
	if resp.StatusCode/100 == 3 {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: status %d, a redirect, which is not followed", ErrAnswer, resp.StatusCode)
	}
	l.request = clean(resp.Header.Get("x-ots-requestid"), l.key)
	if said, ok := parseServerTime(resp.Header); ok {
		l.said = said
		l.c.clock.add(said, l.sent, time.Now())
	}
	b := &body{from: resp.Body, ctx: l.ctx, left: maxAnswer}
	switch want := resp.Header.Get("x-ots-contentmd5"); {
	case want != "":
		b.want, b.sum = want, md5.New()
	case resp.StatusCode/100 == 2:
		// The service always sends it, and its clients for other languages demand
		// it. An empty answer would read as the end of a shard, for ever.
		resp.Body.Close()
		return nil, fmt.Errorf("%w: it has no digest", ErrAnswer)
	}
	resp.Body = b
	return resp, nil
}

func plainLine(what string, ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return lineFault(what, err)
}

// body is an answer on its way: bounded, and compared with its digest.
type body struct {
	from io.ReadCloser
	ctx  context.Context
	left int64
	want string
	sum  hash.Hash
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: it is larger than %d MiB", ErrAnswer, maxAnswer>>20)
	}
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	switch {
	case err == nil:
	case err != io.EOF: // io.ErrUnexpectedEOF, too: half an answer
		err = plainLine("receive", b.ctx, err)
	case b.sum != nil && base64.StdEncoding.EncodeToString(b.sum.Sum(nil)) != b.want:
		err = fmt.Errorf("%w: it was changed on its way (its digest does not fit)", ErrAnswer)
	}
	return n, err
}

func (b *body) Close() error { return b.from.Close() }
