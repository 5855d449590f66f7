package healthcheck

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// grpcServer serves HTTP/2 on loopback, without TLS or with it.
func grpcServer(t testing.TB, cert *tls.Certificate, h http.HandlerFunc) string {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: h, Protocols: &http.Protocols{}, ErrorLog: log.New(io.Discard, "", 0)}
	s.Protocols.SetUnencryptedHTTP2(true)
	s.Protocols.SetHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if cert == nil {
			s.Serve(l)
			return
		}
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

// say answers with a message and a status, as a gRPC server does.
func say(w http.ResponseWriter, message []byte, status, note string) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	w.WriteHeader(http.StatusOK)
	w.Write(message)
	w.Header().Set("Grpc-Status", status)
	w.Header().Set("Grpc-Message", note)
}

// framed is a message with its length.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func state(n uint64) []byte {
	return framed(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), n))
}

// health is a server of the health service: SERVING as a whole, and a state
// for each service that it knows.
func health(services map[string]uint64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		service := ""
		if len(body) > 5 {
			_, _, n := protowire.ConsumeTag(body[5:])
			service, _ = protowire.ConsumeString(body[5+n:])
		}
		known, ok := services[service]
		switch {
		case r.URL.Path != "/grpc.health.v1.Health/Check" || r.Method != http.MethodPost || r.Header.Get("Te") != "trailers":
			say(w, nil, "12", "unknown method")
		case !ok:
			say(w, nil, "5", "unknown service")
		default:
			w.Header().Set("X-Cluster", "a")
			say(w, state(known), "0", "")
		}
	}
}

func TestGRPCHealthStates(t *testing.T) {
	addr := grpcServer(t, nil, health(map[string]uint64{"": 1, "orders.v1.Orders": 1, "sick": 2, "unclear": 0, "gone": 3, "odd": 77}))
	for service, says := range map[string]string{
		"": "", "orders.v1.Orders": "",
		"sick":    "health of sick is NOT_SERVING, want SERVING",
		"unclear": "health of unclear is UNKNOWN, want SERVING",
		"gone":    "health of gone is SERVICE_UNKNOWN, want SERVING",
		"odd":     "health of odd is state 77, want SERVING",
		"nobody":  "grpc NOT_FOUND: the health service knows nothing of nobody",
	} {
		tg := target(GRPC, addr)
		tg.Check.GRPC.Service = service
		tr, err := probe(t, tg)
		if says == "" && (err != nil || tr.Phase != PhaseDone) || says != "" && (err == nil || isOwn(err) || err.Error() != says) {
			t.Errorf("%q: got %v in phase %s, want %q", service, err, tr.Phase, says)
		}
	}
}

func TestGRPCAnswersThatAreNone(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(w http.ResponseWriter)
		says   string
	}{
		"no health service": {func(w http.ResponseWriter) { say(w, nil, "12", "unknown service grpc.health.v1.Health") }, "grpc UNIMPLEMENTED: the server has no health service (register grpc.health.v1.Health there, or use another check)"},
		"status in the headers": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "14")
			w.Header().Set("Grpc-Message", "no%20leader")
		}, "grpc UNAVAILABLE: no leader"},
		"odd status":     {func(w http.ResponseWriter) { say(w, nil, "99", "") }, "grpc code 99"},
		"no status":      {func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/grpc+proto") }, `the answer has no gRPC status ("")`},
		"a web page":     {func(w http.ResponseWriter) { io.WriteString(w, "<html>") }, `content type "text/html; charset=utf-8" instead of application/grpc`},
		"a proxy's 503":  {func(w http.ResponseWriter) { w.WriteHeader(503) }, "status 503 instead of a gRPC answer"},
		"no message":     {func(w http.ResponseWriter) { say(w, nil, "0", "") }, "the answer holds no health message"},
		"half a message": {func(w http.ResponseWriter) { say(w, state(1)[:6], "0", "") }, "the answer holds no health message"},
		"compressed":     {func(w http.ResponseWriter) { say(w, []byte{1, 0, 0, 0, 0}, "0", "") }, "the answer holds no health message: it is compressed, and nobody asked for that"},
		"too large":      {func(w http.ResponseWriter) { say(w, framed(make([]byte, 5<<10)), "0", "") }, "answer is larger than 4 KiB, too large for a health message"},
		"without end":    {func(w http.ResponseWriter) { endless(w) }, "answer is larger than 4 KiB, too large for a health message"},
		"headers of any size": {func(w http.ResponseWriter) {
			w.Header().Set("X-Big", strings.Repeat("x", 64<<10))
			say(w, state(1), "0", "")
		}, "32 KiB"},
		"trailers of any size": {func(w http.ResponseWriter) { say(w, state(1), "0", strings.Repeat("x", 64<<10)) }, "32 KiB"},
		"interim answers without end": {func(w http.ResponseWriter) {
			w.Header().Set("X-Pad", strings.Repeat("x", 1000)) // and never touched again: the server still reads it
			for range 1000 {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}, "32 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := grpcServer(t, nil, func(w http.ResponseWriter, _ *http.Request) { tc.answer(w) })
			_, err := probe(t, target(GRPC, addr))
			if err == nil || isOwn(err) || !strings.HasSuffix(err.Error(), tc.says) {
				t.Fatalf("got %v, want %q", err, tc.says)
			}
		})
	}
}

func endless(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/grpc")
	page := make([]byte, 64<<10)
	for {
		if _, err := w.Write(page); err != nil {
			return
		}
	}
}

func TestGRPCAsksUnderTheClientsName(t *testing.T) {
	ca := newCA(t)
	cert := ca.issue(t, "orders.lab.test", 5*24*time.Hour+time.Hour)
	type asked struct{ host, agent, timeout, extra, sni string }
	got := make(chan asked, 1)
	addr := grpcServer(t, &cert, func(w http.ResponseWriter, r *http.Request) {
		got <- asked{r.Host, r.UserAgent(), r.Header.Get("Grpc-Timeout"), r.Header.Get("X-Extra"), r.TLS.ServerName}
		health(map[string]uint64{"": 1})(w, r)
	})
	tg := target(GRPCS, addr)
	tg.Check.CA, tg.Check.Headers = ca.pem, map[string]string{"X-Extra": "1"}
	tg.Check.Identity.Header, tg.Identity = "X-Cluster", "a"
	tr, err := probe(t, tg)
	if err != nil || !tr.Identity || tr.TLS <= 0 {
		t.Fatalf("got %v, identity proved %v", err, tr.Identity)
	}
	_, port, _ := net.SplitHostPort(addr)
	a := <-got
	if a.host != "orders.lab.test:"+port || a.sni != "orders.lab.test" || a.agent != "pointsman-probe (van-1)" || a.extra != "1" || !strings.HasSuffix(a.timeout, "m") {
		t.Errorf("asked with %+v", a)
	}
	if len(tr.Warnings) != 1 || !strings.HasPrefix(tr.Warnings[0], "certificate ends in 5 days (") || tr.CertificateEnds.IsZero() {
		t.Errorf("warnings %q, certificate ends %s", tr.Warnings, tr.CertificateEnds)
	}
	tg.Identity = "b"
	if _, err := probe(t, tg); !errors.Is(err, ErrWrongCluster) || err.Error() != "wrong cluster: says a, want b" {
		t.Errorf("got %v", err)
	}
	<-got
}

func TestGRPCIdentityMayStandInATrailer(t *testing.T) {
	addr := grpcServer(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		say(w, state(1), "0", "")
		w.Header().Set(http.TrailerPrefix+"X-Cluster", "a")
	})
	tg := target(GRPC, addr)
	tg.Check.Identity.Header, tg.Identity = "X-Cluster", "a"
	if tr, err := probe(t, tg); err != nil || !tr.Identity {
		t.Errorf("got %v, identity proved %v", err, tr.Identity)
	}
}

func TestGRPCServersOfAnotherKindAreNamed(t *testing.T) {
	ca := newCA(t)
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	web, _ := serveTLS(t, ca.issue(t, "orders.lab.test", 90*24*time.Hour), nil)
	for name, tc := range map[string]struct {
		kind CheckType
		addr string
		says string
	}{
		"HTTP/1":           {GRPC, plain, "HTTP/"},
		"TLS without h2":   {GRPCS, web, "no application protocol"},
		"TLS without ALPN": {GRPCS, rawTLS(t, ca.issue(t, "orders.lab.test", 90*24*time.Hour)), "did not agree to HTTP/2 (ALPN h2)"},
		"accept and close": {GRPC, hangUpper(t), ""},
		"the same, TLS":    {GRPCS, hangUpper(t), ""},
	} {
		tg := target(tc.kind, tc.addr)
		if tc.kind == GRPCS {
			tg.Check.CA = ca.pem
		}
		_, err := probe(t, tg)
		// A server that answers and hangs up with our bytes unread resets the
		// connection, and that may come before its words.
		hungUp := tc.says == "" || tc.kind == GRPC
		if err == nil || isOwn(err) || !(tc.says != "" && strings.Contains(err.Error(), tc.says)) && !(hungUp && closedEarly(err)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.says)
		}
	}
}

// rawTLS shakes hands, without ALPN, and says nothing more.
func rawTLS(t *testing.T, cert tls.Certificate) string {
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}})
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1))
			c.Close()
		}
	}()
	return l.Addr().String()
}

func TestGRPCStallIsAMissAfterTheTimeout(t *testing.T) {
	release := make(chan struct{})
	silent := grpcServer(t, nil, func(_ http.ResponseWriter, r *http.Request) { stall(r, release) })
	half := grpcServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.(http.Flusher).Flush()
		stall(r, release)
	})
	t.Cleanup(func() { close(release) })
	for name, addr := range map[string]string{"nobody accepts": listen(t).Addr().String(), "no answer": silent, "half an answer": half} {
		tg := target(GRPC, addr)
		tg.Timeout = 150 * time.Millisecond
		if _, err := probe(t, tg); err == nil || isOwn(err) || !strings.Contains(err.Error(), "no answer within ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzGRPCHealth(f *testing.F) {
	f.Add(state(1))
	f.Add(state(300))
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Add(framed(append(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), []byte("x")), 8, 1)))
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := healthState(b)
		if err != nil && !errors.Is(err, errMessage) {
			t.Fatal(err)
		}
		if err == nil && n != 0 {
			if again, err := healthState(state(n)); err != nil || again != n {
				t.Fatal(fmt.Sprint(n, " is not read back: ", again, err))
			}
		}
	})
}
