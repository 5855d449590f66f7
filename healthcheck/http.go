package healthcheck

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"pointsman/internal/failover"
)

const (
	maxBody   = 64 << 10 // of a body that is looked at
	maxHeader = 32 << 10 // of status line and headers together
	maxEarly  = 8        // of interim (1xx) answers

	// goodbye is how long the cluster may take to close the connection after
	// its answer, as Connection: close asks it to. Who closes first keeps the
	// TIME_WAIT.
	goodbye = 20 * time.Millisecond
)

// exchange is one request and what its answer must be. The request is the
// same each time, so its bytes are made once. It is written and read right on
// the connection rather than through http.Transport: nothing is pooled,
// redirected, proxied or retried behind our back, and each phase is seen.
type exchange struct {
	dial    *dialer
	shake   *shaker       // nil for plain http
	request *http.Request // what the parser of the answer has to know of it
	wire    []byte
	want    expectation
}

func httpProbe(d *dialer, t Target, c ProbeConfig) (Probe, error) {
	like, err := newLikeness(t.Check)
	if err != nil {
		return nil, err
	}
	x := &exchange{dial: d, request: requestOf(t.Check), want: expectation{like, t.Identity}}
	if t.Check.isTLS() {
		x.shake = newShaker(t)
	}
	if x.wire, err = wireOf(t, c.Vantage); err != nil {
		return nil, err
	}
	return x.probe, nil
}

func requestOf(c Check) *http.Request { return &http.Request{Method: c.Method} }

// wireOf makes the bytes of the request. The check has its defaults.
func wireOf(t Target, v failover.VantageName) ([]byte, error) {
	scheme := "http"
	if t.Check.isTLS() {
		scheme = "https"
	}
	host := t.hostHeader()
	req, err := http.NewRequest(t.Check.Method, scheme+"://"+host+t.Check.Path, nil)
	if err != nil {
		return nil, fmt.Errorf("check.path: %w", err)
	}
	req.Host = host
	req.Close = true
	req.Header.Set("User-Agent", "pointsman-probe ("+clean(string(v), 64)+")")
	req.Header.Set("Accept", "*/*")
	for name, value := range t.Check.Headers {
		req.Header.Set(name, value)
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, fmt.Errorf("check: write request: %w", err)
	}
	return bytes.Clone(wire.Bytes()), nil
}

func (x *exchange) probe(ctx context.Context) error {
	return x.meet(ctx, traceOf(ctx), x.want.judge)
}

// meet makes the exchange; judge says what the answer means.
func (x *exchange) meet(ctx context.Context, tr *Trace, judge func(*http.Response, answerBody, *Trace) error) (err error) {
	tcp, err := x.dial.connect(ctx, tr)
	if err != nil {
		return err
	}
	defer bind(ctx, tcp)()
	var conn net.Conn = tcp
	defer func() { hangUp(tcp, conn, err) }()
	if x.shake != nil {
		tc, err := x.shake.shake(ctx, tcp, tr)
		if err != nil {
			return err
		}
		conn = tc
	}
	start := time.Now()
	resp, body, err := x.talk(ctx, conn, tr)
	tr.Answer = time.Since(start)
	if err != nil {
		return err
	}
	if err := judge(resp, body, tr); err != nil {
		return err
	}
	tr.Phase = PhaseDone
	return nil
}

// answerBody is what was read of a body; whole says that it was all.
type answerBody struct {
	bytes []byte
	whole bool
}

func (x *exchange) talk(ctx context.Context, conn net.Conn, tr *Trace) (*http.Response, answerBody, error) {
	start := time.Now()
	tr.Phase = PhaseWrite
	if _, err := conn.Write(x.wire); err != nil {
		return nil, answerBody{}, fmt.Errorf("write request: %w", plain(err, limitOf(ctx, start)))
	}
	return readAnswer(conn, x.request, tr, limitOf(ctx, start))
}

// readAnswer reads an answer, as far as it is looked at; within is the time
// that it had, for messages.
func readAnswer(r io.Reader, req *http.Request, tr *Trace, within time.Duration) (*http.Response, answerBody, error) {
	tr.Phase = PhaseRead
	limit := &io.LimitedReader{R: r, N: maxHeader}
	br := bufio.NewReader(limit)
	resp, err := readHeader(br, req)
	if err != nil {
		if limit.N <= 0 {
			err = fmt.Errorf("headers are larger than %d KiB", maxHeader>>10)
		} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("connection closed before an answer")
		}
		return nil, answerBody{}, fmt.Errorf("read answer: %w", plain(err, within))
	}
	limit.N = 2 * maxBody // chunk framing comes on top of the body
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	body := answerBody{b[:min(len(b), maxBody)], len(b) <= maxBody}
	if err != nil && body.whole {
		tr.Phase = PhaseBody
		if limit.N <= 0 {
			err = errors.New("framing is larger than the body")
		}
		return nil, answerBody{}, fmt.Errorf("read body: %w", plain(err, within))
	}
	return resp, body, nil
}

// readHeader reads the final answer past interim ones (RFC 9110 section 15.2).
func readHeader(br *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range maxEarly {
		resp, err := http.ReadResponse(br, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
	return nil, fmt.Errorf("more than %d interim answers", maxEarly)
}

// hangUp lets the cluster close first after a full answer, so that neither
// side is left with a reset or our side with a TIME_WAIT; else it resets.
func hangUp(tcp *net.TCPConn, conn net.Conn, err error) {
	if err == nil {
		tcp.SetReadDeadline(time.Now().Add(goodbye))
		var one [1]byte
		if _, err := conn.Read(one[:]); err == io.EOF && conn == net.Conn(tcp) {
			tcp.Close()
			return
		}
	}
	drop(tcp)
}
