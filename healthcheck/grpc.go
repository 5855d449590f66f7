package healthcheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// GRPCCheck asks the standard health service grpc.health.v1.Health, see
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
type GRPCCheck struct {
	Service string `json:"service,omitempty"` // default: the server as a whole
}

func (g GRPCCheck) validate(f *faults) {
	if len(g.Service) > 256 || !utf8.ValidString(g.Service) {
		f.add("grpc.service", "such as orders.v1.Orders", "%q is no name of a service", clean(g.Service, 64))
	}
}

const (
	healthMethod = "/grpc.health.v1.Health/Check"
	maxHealth    = 4 << 10  // of the answer's message: an honest one has 2 bytes
	maxStream    = 64 << 10 // that the server may send before we read it
)

// Codes of https://github.com/grpc/grpc/blob/master/doc/statuscodes.md that
// are explained; names for people.
const (
	grpcNotFound      = 5
	grpcUnimplemented = 12
)

var grpcCodes = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// healthStates are the values of HealthCheckResponse.ServingStatus.
var healthStates = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

// healthCall is one call of Check. It is made over a connection of its own by
// the HTTP/2 of net/http: nothing is pooled, balanced, retried, proxied or
// configured by DNS behind our back.
type healthCall struct {
	dial      *dialer
	shake     *shaker // nil without TLS
	transport *http.Transport
	scheme    string
	authority string
	service   string
	header    http.Header
	body      []byte
	who       string // header or trailer of the identity; empty: nobody asks
	identity  string
}

type dialedKey struct{}

// handOver gives the transport the connection that was dialled for this call.
func handOver(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, ok := ctx.Value(dialedKey{}).(net.Conn)
	if !ok {
		return nil, errors.New("no connection was dialled")
	}
	return conn, nil
}

func grpcProbe(d *dialer, t Target, c ProbeConfig) Probe {
	x := &healthCall{
		dial: d, scheme: "http", authority: t.hostHeader(), service: t.Check.GRPC.Service,
		who: t.Check.Identity.Header, identity: t.Identity,
		header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}},
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	if t.Check.isTLS() {
		x.scheme, x.shake = "https", newShaker(t)
		x.shake.config.NextProtos = []string{"h2"}
		protocols = http.Protocols{}
		protocols.SetHTTP2(true)
	}
	x.transport = &http.Transport{
		DialContext: handOver, DialTLSContext: handOver, Protocols: &protocols,
		DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: maxStream, MaxReceiveBufferPerConnection: maxStream},
	}
	for name, value := range t.Check.Headers {
		x.header.Set(name, value)
	}
	if x.header.Get("User-Agent") == "" {
		x.header.Set("User-Agent", "pointsman-probe ("+clean(string(c.Vantage), 64)+")")
	}
	x.body = healthRequest(x.service)
	return x.probe
}

// healthRequest is the message with the length before it, see
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), service)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func (x *healthCall) probe(ctx context.Context) error {
	tr := traceOf(ctx)
	tcp, err := x.dial.connect(ctx, tr)
	if err != nil {
		return err
	}
	defer drop(tcp)
	defer bind(ctx, tcp)()
	var conn net.Conn = tcp
	if x.shake != nil {
		tc, err := x.shake.shake(ctx, tcp, tr)
		if err != nil {
			return err
		}
		if tc.ConnectionState().NegotiatedProtocol != "h2" {
			return errors.New("tls: the server did not agree to HTTP/2 (ALPN h2), which gRPC needs")
		}
		conn = tc
	}
	start := time.Now()
	err = x.call(ctx, conn, tr)
	tr.Answer = time.Since(start)
	if err == nil {
		tr.Phase = PhaseDone
	}
	return err
}

func (x *healthCall) call(ctx context.Context, conn net.Conn, tr *Trace) error {
	start := time.Now()
	tr.Phase = PhaseWrite
	lost := func(doing string, err error) error {
		return fmt.Errorf("%s: %w", doing, plain(unwrapHTTP2(err), limitOf(ctx, start)))
	}
	cc, err := x.transport.NewClientConn(context.WithValue(ctx, dialedKey{}, conn), x.scheme, x.authority)
	if err != nil {
		return lost("start HTTP/2", err)
	}
	defer cc.Close()
	req := (&http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: x.scheme, Host: x.authority, Path: healthMethod}, Host: x.authority,
		Header: x.header.Clone(), Body: io.NopCloser(bytes.NewReader(x.body)), ContentLength: int64(len(x.body)),
	}).WithContext(ctx)
	if limit := limitOf(ctx, start); limit > 0 {
		req.Header.Set("Grpc-Timeout", strconv.FormatInt(max(limit.Milliseconds(), 1), 10)+"m")
	}
	tr.Phase = PhaseRead
	resp, err := cc.RoundTrip(req)
	if err != nil {
		return lost("call "+healthMethod, err)
	}
	defer resp.Body.Close()
	tr.Phase = PhaseStatus
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d instead of a gRPC answer", resp.StatusCode)
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/grpc") {
		return fmt.Errorf("content type %s instead of application/grpc", quote(kind))
	}
	tr.Phase = PhaseBody
	message, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth+1))
	switch {
	case len(message) > maxHealth:
		return fmt.Errorf("answer is larger than %d KiB, too large for a health message", maxHealth>>10)
	case err != nil:
		return lost("read answer", err)
	}
	if err := x.judge(resp, message); err != nil {
		return err
	}
	return x.whoAnswered(resp, tr)
}

// unwrapHTTP2 finds what is telling in an error of the HTTP/2 client.
func unwrapHTTP2(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("connection closed before an answer")
	}
	if _, ok := errors.AsType[*tls.RecordHeaderError](err); ok {
		return errors.New("the server does not speak TLS")
	}
	// The client of net/http exports no types for what follows.
	text := err.Error()
	switch {
	case strings.Contains(text, "looked like an HTTP/1"):
		return errors.New("the server answers with HTTP/1, gRPC needs HTTP/2")
	case strings.Contains(text, "could not be established"):
		return errors.New("connection closed before HTTP/2 began")
	case strings.Contains(text, "header list too large"), strings.Contains(text, "COMPRESSION_ERROR"):
		return fmt.Errorf("headers or trailers are malformed or larger than %d KiB", maxHeader>>10)
	}
	return err
}

// judge takes the status from the trailers (or, without a message, from the
// headers) and then the state from the message.
func (x *healthCall) judge(resp *http.Response, message []byte) error {
	text, note := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if text == "" {
		text, note = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	code, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("the answer has no gRPC status (%s)", quote(text))
	}
	if code != 0 {
		return x.refused(code, note)
	}
	state, err := healthState(message)
	if err != nil {
		return err
	}
	if state != 1 {
		name := fmt.Sprintf("state %d", state)
		if state < uint64(len(healthStates)) {
			name = healthStates[state]
		}
		return fmt.Errorf("health of %s is %s, want SERVING", x.subject(), name)
	}
	return nil
}

func (x *healthCall) subject() string {
	if x.service == "" {
		return "the server"
	}
	return x.service
}

func (x *healthCall) refused(code uint64, note string) error {
	name := fmt.Sprintf("code %d", code)
	if code < uint64(len(grpcCodes)) {
		name = grpcCodes[code]
	}
	switch code {
	case grpcUnimplemented:
		return fmt.Errorf("grpc %s: the server has no health service (register grpc.health.v1.Health there, or use another check)", name)
	case grpcNotFound:
		return fmt.Errorf("grpc %s: the health service knows nothing of %s", name, x.subject())
	}
	if plain, err := url.PathUnescape(note); err == nil {
		note = plain
	}
	if note == "" {
		return fmt.Errorf("grpc %s", name)
	}
	return fmt.Errorf("grpc %s: %s", name, clean(note, 128))
}

var errMessage = errors.New("the answer holds no health message")

// healthState reads the status of a HealthCheckResponse.
func healthState(b []byte) (uint64, error) {
	switch {
	case len(b) < 5 || uint64(binary.BigEndian.Uint32(b[1:])) != uint64(len(b)-5):
		return 0, errMessage
	case b[0] != 0:
		return 0, fmt.Errorf("%w: it is compressed, and nobody asked for that", errMessage)
	}
	state := uint64(0) // an enum that is 0 is left out
	for b = b[5:]; len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, errMessage
		}
		b = b[n:]
		if number == 1 && kind == protowire.VarintType {
			state, n = protowire.ConsumeVarint(b)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return 0, errMessage
		}
		b = b[n:]
	}
	return state, nil
}

func (x *healthCall) whoAnswered(resp *http.Response, tr *Trace) error {
	if x.who == "" {
		return nil
	}
	tr.Phase = PhaseIdentity
	values := append(resp.Header.Values(x.who), resp.Trailer.Values(x.who)...)
	if err := sameCluster(values, x.who, x.identity); err != nil {
		return err
	}
	tr.Identity = true
	return nil
}
