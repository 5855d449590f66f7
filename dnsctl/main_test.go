package dnsctl

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"pointsman/internal/failover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secretText = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
	otherText  = "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItMTI="
	zone       = "lab.test."
	orders     = failover.RecordName("orders.lab.test.")
	targetA    = failover.Target("a.lab.test.")
	targetB    = failover.Target("b.lab.test.")
)

func mark(term, epoch uint64) string {
	return failover.Mark{Token: failover.Token{Term: term, Epoch: epoch}, Op: "op-1", By: "ctl-1"}.String()
}

func ptr(s string) *string { return &s }

func mustSecret(t testing.TB, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testConfig(t testing.TB, server string) RFC2136Config {
	t.Helper()
	return RFC2136Config{
		Server: server, Zone: zone, Timeout: 5 * time.Second,
		Key:     Key{Name: "ctl.", Algorithm: "hmac-sha256", Secret: mustSecret(t, secretText)},
		Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	}
}

func mustProvider(t testing.TB, c RFC2136Config) *RFC2136 {
	t.Helper()
	p, err := NewRFC2136(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// move is the ordinary change from a to b.
func move() Change {
	return Change{
		Name: orders, Expect: targetA, ExpectMark: ptr(mark(1, 0)),
		Value: targetB, TTL: 30, Mark: mark(1, 1),
	}
}

// stranger is a server of ours that answers each request with whatever the
// function returns: nil closes the connection. It keeps all requests.
type stranger struct {
	addr     netip.AddrPort
	accepted atomic.Int64
	mu       sync.Mutex
	seen     [][]byte
}

func (s *stranger) requests() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.seen...)
}

func startStranger(t testing.TB, answer func(request []byte) []byte) *stranger {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{addr: netip.MustParseAddrPort(l.Addr().String())}
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			conns.Store(c, true)
			wg.Go(func() {
				defer c.Close()
				for {
					p, err := readFrame(c)
					if err != nil {
						return
					}
					s.mu.Lock()
					s.seen = append(s.seen, p)
					s.mu.Unlock()
					a := answer(append([]byte(nil), p...))
					if a == nil {
						return
					}
					if writeFrame(c, a) != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return s
}

func readFrame(r io.Reader) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	p := make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(r, p)
	return p, err
}

func writeFrame(w io.Writer, p []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
	return err
}

// answered makes an answer to a request, changed by edit.
func answered(t testing.TB, request []byte, edit func(*dns.Msg)) []byte {
	t.Helper()
	q := new(dns.Msg)
	if err := q.Unpack(request); err != nil {
		t.Error(err)
		return nil
	}
	r := new(dns.Msg)
	r.SetReply(q)
	r.Opcode, r.Authoritative, r.Answer, r.Extra = q.Opcode, true, nil, nil
	edit(r)
	p, err := r.Pack()
	if err != nil {
		t.Error(err)
	}
	return p
}

// signedAnswer is answered, signed as the server would with this secret.
func signedAnswer(t testing.TB, request []byte, secret string, edit func(*dns.Msg)) []byte {
	t.Helper()
	q := new(dns.Msg)
	if err := q.Unpack(request); err != nil || q.IsTsig() == nil {
		t.Errorf("request is not signed: %v", err)
		return nil
	}
	r := new(dns.Msg)
	r.SetReply(q)
	r.Opcode, r.Authoritative, r.Answer, r.Extra = q.Opcode, true, nil, nil
	r.SetTsig("ctl.", dns.HmacSHA256, 300, time.Now().Unix())
	edit(r)
	p, _, err := dns.TsigGenerate(r, secret, q.IsTsig().MAC, false)
	if err != nil {
		t.Error(err)
	}
	return p
}

func rr(t testing.TB, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantText(t testing.TB, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%q does not say %q", got, p)
		}
	}
	for _, secret := range []string{secretText, otherText} {
		if strings.Contains(got, secret) {
			t.Errorf("a secret in %q", got)
		}
	}
}
