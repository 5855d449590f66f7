package authority

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"pointsman/internal/failover"
)

func TestMain(m *testing.M) {
	flag.Parse()
	serve := map[bool]func() error{os.Getenv(childEnv) != "": serveForBenchmark, os.Getenv(besideEnv) != "": serveBeside}[true]
	if serve != nil {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	firstSerial = 1_700_000_000
	longHost    = "a-label-of-sixty-three-octets-which-is-the-longest-there-can-be."
)

// labConfig has one of everything that can stand in a zone.
func labConfig() Config {
	addrs := func(as ...string) []netip.Addr {
		var out []netip.Addr
		for _, a := range as {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	var many []netip.Addr
	for i := range 60 {
		many = append(many, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	return Config{
		Listen: []string{"127.0.0.1:0"},
		Zones: []Zone{
			{
				Name: "lab.test.", NS: []failover.RecordName{"ns1.lab.test.", "ns.elsewhere.example."},
				Names: []failover.RecordName{
					"orders.lab.test.", "vpc.orders.lab.test.", "fresh.lab.test.",
					"x.deep.down.lab.test.", "chain.lab.test.", "spare.lab.test.",
				},
				Targets: map[failover.RecordName][]failover.Target{"spare.lab.test.": {"a.lab.test.", "b.lab.test."}},
				Hosts: map[failover.RecordName][]netip.Addr{
					"ns1.lab.test.":  addrs("127.0.0.1", "::1"),
					"a.lab.test.":    addrs("127.0.1.1"),
					"b.lab.test.":    addrs("127.0.1.2", "2001:db8::2"),
					"six.lab.test.":  addrs("2001:db8::6"),
					"many.lab.test.": many,
				},
			},
			{
				Name: "second.test.", NS: []failover.RecordName{"ns.elsewhere.example."}, TTL: 20, Minimum: 60,
				Names: []failover.RecordName{"n.second.test."},
				Hosts: map[failover.RecordName][]netip.Addr{"second.test.": addrs("192.0.2.80")},
			},
		},
	}
}

// value is one embedded name of a record.
type value struct {
	name   failover.RecordName
	target failover.Target
}

func record(instance failover.InstanceName, rev uint64, values ...value) failover.Record {
	r := failover.Record{Version: failover.RecordVersion, Instance: instance, Rev: rev, Term: 3, Epoch: rev}
	for _, v := range values {
		r.Names = append(r.Names, failover.NameRecord{
			Name: v.name, Provider: "embedded", Embedded: true, Value: v.target, TTL: 7,
			Mark: failover.Mark{Token: failover.Token{Term: 3, Epoch: rev}, Op: "op-1", By: "ctl-1"},
		})
	}
	return r
}

// committed is what the ledger of the tests holds.
type committed struct {
	records []failover.Record
	serials map[failover.RecordName]uint32
	err     error
	whole   bool // it saw every zone whole at one time
}

func (c committed) NoteWhole(context.Context, failover.RecordName) error { return c.err }
func (c committed) WasWhole(failover.RecordName) bool                    { return c.whole }

func (c committed) Records(context.Context) ([]failover.Record, error) { return c.records, c.err }

func (c committed) Changes(context.Context, failover.RecordName, uint32) ([]Change, error) {
	return nil, errors.New("no journal here")
}

func (c committed) Stamp(_ context.Context, z failover.RecordName, _ string) (uint32, error) {
	if n, ok := c.serials[z]; ok {
		return n, nil
	}
	return firstSerial, nil
}

func labCommitted() committed {
	return committed{records: []failover.Record{
		record("orders", 4, value{"orders.lab.test.", "a.lab.test."}, value{"vpc.orders.lab.test.", "a.cloud.example."}),
		record("deep", 1, value{"x.deep.down.lab.test.", "b.lab.test."}),
		record("chain", 1, value{"chain.lab.test.", "orders.lab.test."}),
		record("second", 1, value{"n.second.test.", "orders.lab.test."}),
	}}
}

// newLab is a loaded server without sockets.
func newLab(t testing.TB) *Server {
	t.Helper()
	s, err := New(labConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		t.Fatal(err)
	}
	return s
}

// run listens and answers until the test ends, and returns the first address.
func run(t testing.TB, s *Server) string {
	t.Helper()
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s.Addrs()[0].String()
}

// ask asks a real server over a real socket.
func ask(t testing.TB, network, addr string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: 5 * time.Second, UDPSize: 4096}
	r, _, err := c.Exchange(m, addr)
	if err != nil {
		t.Fatalf("ask %s for %v: %v", network, m.Question, err)
	}
	return r
}

func question(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.RecursionDesired = false
	return m
}

// until waits for something that another goroutine does.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about within 10 s", what)
		}
	}
}

var errSource = errors.New("ledger unreadable")
