package authority

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestSeveralAddressesAnswerAndPortZeroIsTheSameForBothTransports(t *testing.T) {
	cfg := labConfig()
	cfg.Listen = []string{"127.0.0.1:0", "127.0.0.2:0", "[::1]:0"}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		t.Fatal(err)
	}
	run(t, s)
	if len(s.Addrs()) != 3 {
		t.Fatalf("addresses %v", s.Addrs())
	}
	for _, a := range s.Addrs() {
		for _, network := range []string{"udp", "tcp"} {
			if m := ask(t, network, a.String(), question("orders.lab.test.", dns.TypeA)); len(m.Answer) != 2 {
				t.Errorf("%s %s: %v", network, a, m)
			}
		}
	}
}

func TestServerOnEveryAddressAnswersFromTheOneThatWasAsked(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		t.Run(listen, func(t *testing.T) {
			cfg := labConfig()
			cfg.Listen = []string{listen}
			s, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			run(t, s)
			asks := []string{"127.0.0.1", "127.0.0.5"}
			if listen != "0.0.0.0:0" {
				asks = append(asks, "::1")
			}
			for _, host := range asks {
				// The client's socket is connected: an answer from elsewhere never reaches it.
				to := netip.AddrPortFrom(netip.MustParseAddr(host), s.Addrs()[0].Port()).String()
				if m := ask(t, "udp", to, question("a.lab.test.", dns.TypeA)); len(m.Answer) != 1 {
					t.Errorf("%s: %v", to, m)
				}
			}
		})
	}
}

func TestListenThatFailsClosesWhatItOpenedAndSaysWhatToDo(t *testing.T) {
	// Another process may take a port that was given back: then other ports are
	// tried. What is left open is left open every time.
	var open string
	for range 10 {
		if open = listenThatFails(t); open == "" {
			return
		}
	}
	t.Error(open)
}

// listenThatFails says which port a failed Listen left open, if any.
func listenThatFails(t *testing.T) (open string) {
	t.Helper()
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := labConfig()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := free.Addr().String()
	free.Close()
	cfg.Listen = []string{first, taken.LocalAddr().String()}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), "another process has this port") {
		t.Errorf("Listen: %v", err)
	}
	if len(s.Addrs()) != 0 {
		t.Errorf("addresses after a failed Listen: %v", s.Addrs())
	}
	if err := s.Run(context.Background()); !errors.Is(err, ErrNotListening) {
		t.Errorf("Run: %v", err)
	}
	for what, addr := range map[string]string{"the TCP socket beside the taken UDP port": taken.LocalAddr().String(), "the address before it": first} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			open = fmt.Sprintf("%s was left open: %v", what, err)
			continue
		}
		l.Close()
	}
	return open
}

func TestRunEndsWithOpenConnectionsAndFreesThePorts(t *testing.T) {
	s := newLab(t)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	addr := s.Addrs()[0].String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	idle := dial(t, addr)
	exchange(t, idle, question("orders.lab.test.", dns.TypeA))
	half := dial(t, addr)
	if _, err := half.Conn.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	until(t, "both connections are counted", func() bool { return s.Stats().TCPConns == 2 })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := s.Stats().TCPConns; n != 0 {
		t.Errorf("%d connections are still counted", n)
	}
	if l, err := net.Listen("tcp", addr); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
	if c, err := net.ListenPacket("udp", addr); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func TestRunThatWasEndedBeforeItBeganReturns(t *testing.T) {
	s := newLab(t)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

func dial(t testing.TB, addr string) *dns.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &dns.Conn{Conn: nc}
}

func exchange(t testing.TB, c *dns.Conn, q *dns.Msg) *dns.Msg {
	t.Helper()
	if err := c.WriteMsg(q); err != nil {
		t.Fatal(err)
	}
	m, err := c.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOneConnectionCarriesManyQueriesAlsoPipelined(t *testing.T) {
	s := newLab(t)
	c := dial(t, run(t, s))
	for range 300 {
		exchange(t, c, question("orders.lab.test.", dns.TypeA))
	}
	ids := make(map[uint16]bool)
	for range 100 {
		q := question("orders.lab.test.", dns.TypeA)
		ids[q.Id] = true
		if err := c.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
	}
	for len(ids) > 0 {
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		delete(ids, m.Id)
	}
}

func TestConnectionsOfOneSourceAreCappedAndComeFreeAgain(t *testing.T) {
	cfg := labConfig()
	cfg.TCPPerSource = 3
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		t.Fatal(err)
	}
	addr := run(t, s)
	var open []*dns.Conn
	for range 3 {
		c := dial(t, addr)
		exchange(t, c, question("orders.lab.test.", dns.TypeA))
		open = append(open, c)
	}
	over := dial(t, addr)
	if _, err := io.ReadAll(over.Conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the fourth connection was not closed: %v", err)
	}
	if n := s.Stats().Dropped["connections"]; n != 1 {
		t.Errorf("%d connections were refused, want 1", n)
	}
	open[0].Close()
	until(t, "the place is free again", func() bool { return s.Stats().TCPConns == 2 })
	exchange(t, dial(t, addr), question("orders.lab.test.", dns.TypeA))
}

func TestSilentAndDrippingConnectionsAreClosed(t *testing.T) {
	cfg := labConfig()
	cfg.TCPIdle = time.Second // until then the first question must have come
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addr := run(t, s)
	silent, dripping := dial(t, addr), dial(t, addr)
	exchange(t, silent, question("a.lab.test.", dns.TypeA))
	if _, err := dripping.Conn.Write([]byte{0, 50, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]*dns.Conn{"silent": silent, "dripping": dripping} {
		if _, err := io.ReadAll(c.Conn); err != nil {
			t.Errorf("%s: %v, want the end", what, err)
		}
	}
}

func TestFrameLongerThanAnyQueryEndsTheConnection(t *testing.T) {
	s := newLab(t)
	c := dial(t, run(t, s))
	if _, err := c.Conn.Write([]byte{0xFF, 0xFF}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c.Conn); err != nil {
		t.Errorf("%v, want the end", err)
	}
	if n := s.Stats().Dropped["short"]; n != 1 {
		t.Errorf("%d frames were refused, want 1", n)
	}
}

func TestPanicIsAnsweredServfailAndTheServerGoesOn(t *testing.T) {
	cfg := labConfig()
	var told sync.Map
	cfg.OnPanic = func(v any, stack []byte) { told.Store("v", v); told.Store("stack", string(stack)) }
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		t.Fatal(err)
	}
	s.view.Load().tree.managed("fresh.lab.test.").shown.Store(&shown{}) // nothing packed: a defect
	addr := run(t, s)
	for range 5 {
		for _, network := range []string{"udp", "tcp"} {
			if m := ask(t, network, addr, question("fresh.lab.test.", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
				t.Errorf("%s: %v", network, m)
			}
			if m := ask(t, network, addr, question("orders.lab.test.", dns.TypeA)); len(m.Answer) != 2 {
				t.Errorf("%s after the panic: %v", network, m)
			}
		}
	}
	if st := s.Stats(); st.Panics != 10 {
		t.Errorf("%d panics counted, want 10", st.Panics)
	}
	if stack, _ := told.Load("stack"); stack == nil || !strings.Contains(stack.(string), "authority") {
		t.Errorf("OnPanic was told %v", stack)
	}
}

func TestPacketsInHandAreBoundedAndEverySlotComesBack(t *testing.T) {
	cfg := labConfig()
	cfg.UDPInFlight = 2
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		t.Fatal(err)
	}
	addr := run(t, s)
	// Every way through the server must give its slot back, or two of a kind
	// would silence it.
	good, err := question("orders.lab.test.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	response := append([]byte{^good[0], good[1], good[2] | 0x80}, good[3:]...)
	update := append([]byte{^good[0], good[1], good[2] | 5<<3}, good[3:]...)
	broken := append([]byte{^good[0]}, good[1:len(good)-5]...)
	for range 10 {
		raw(t, "udp", addr, response, update, broken, good)
	}
	u := s.binds[0].udp
	until(t, "only the reader holds a slot", func() bool { return u.slots.taken.Load() == 1 })
}

func TestNoMorePacketsAreInHandThanConfigured(t *testing.T) {
	cfg := labConfig()
	cfg.UDPInFlight = 2
	var inHand, most atomic.Int32
	var counting sync.Mutex
	hold := make(chan struct{})
	cfg.OnPanic = func(any, []byte) { // a place in the middle of a handler
		counting.Lock()
		most.Store(max(most.Load(), inHand.Add(1)))
		counting.Unlock()
		<-hold
		inHand.Add(-1)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.view.Load().tree.managed("fresh.lab.test.").shown.Store(&shown{}) // nothing packed: a defect, it panics
	addr := run(t, s)
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wire, err := question("fresh.lab.test.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := c.Write(wire); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "two are in hand", func() bool { return inHand.Load() == 2 })
	close(hold)
	until(t, "all ten were answered", func() bool { return s.Stats().Panics == 10 })
	if n := most.Load(); n != 2 {
		t.Errorf("%d were in hand at once, want 2", n)
	}
}

func TestPacketsThatDeserveNoAnswer(t *testing.T) {
	local := netip.MustParseAddrPort("192.0.2.53:53")
	client := netip.MustParseAddrPort("192.0.2.1:4000")
	for _, tc := range []struct {
		what string
		from netip.AddrPort
		n    int
		qr   byte
		want string
	}{
		{"a query", client, 30, 0, ""},
		{"from port 0", netip.AddrPortFrom(client.Addr(), 0), 30, 0, "source"},
		{"from ourselves", local, 30, 0, "source"},
		{"an answer", client, 30, 0x80, "response"},
		{"half a header", client, 11, 0, "short"},
	} {
		p := &packet{from: tc.from}
		p.in[2] = tc.qr
		got := ""
		if why, bad := p.unworthy(tc.n, local); bad {
			got = why.String()
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.what, got, tc.want)
		}
	}
}

func TestAnswersAreCounted(t *testing.T) {
	s := newLab(t)
	addr := run(t, s)
	for range 3 {
		ask(t, "udp", addr, question("orders.lab.test.", dns.TypeA))
	}
	ask(t, "tcp", addr, question("none.lab.test.", dns.TypeA))
	ask(t, "udp", addr, question("many.lab.test.", dns.TypeA))
	old := question("orders.lab.test.", dns.TypeA).SetEdns0(1232, false)
	old.IsEdns0().SetVersion(9)
	ask(t, "udp", addr, old)
	ask(t, "udp", addr, question("chain.lab.test.", dns.TypeA))
	st := s.Stats()
	if st.Answers["udp"]["NOERROR"] != 5 || st.Answers["udp"]["BADVERS"] != 1 || st.Answers["tcp"]["NXDOMAIN"] != 1 || st.Truncated != 1 || st.Composed != 1 {
		t.Errorf("stats %+v", st)
	}
}
