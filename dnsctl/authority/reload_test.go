package authority

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

func without(names []failover.RecordName, name failover.RecordName) []failover.RecordName {
	return slices.DeleteFunc(slices.Clone(names), func(n failover.RecordName) bool { return n == name })
}

func mustReload(t testing.TB, s *Server, cfg Config) {
	t.Helper()
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
}

func TestReloadKeepsWhatStaysAndBringsWhatIsNew(t *testing.T) {
	s := newLab(t)
	cfg := labConfig()
	z := &cfg.Zones[0]
	z.Names = append(z.Names, "new.lab.test.")
	z.Hosts["c.lab.test."] = []netip.Addr{netip.MustParseAddr("127.0.1.3")}
	z.Hosts["a.lab.test."] = []netip.Addr{netip.MustParseAddr("127.0.1.9")}
	z.Minimum = 17
	cfg.Zones = append(cfg.Zones, Zone{Name: "third.test.", NS: []failover.RecordName{"ns.elsewhere.example."}, Names: []failover.RecordName{"n.third.test."}})
	mustReload(t, s, cfg)

	m := answerOf(t, s, "orders.lab.test.", dns.TypeA)
	if len(m.Answer) != 2 || m.Answer[1].(*dns.A).A.String() != "127.0.1.9" {
		t.Errorf("the address of the target changed: %v", m)
	}
	if m = answerOf(t, s, "_pointsman.orders.lab.test.", dns.TypeA); len(m.Ns) != 1 || m.Ns[0].(*dns.SOA).Minttl != 17 || m.Ns[0].(*dns.SOA).Serial != firstSerial {
		t.Errorf("the SOA changed: %v", m)
	}
	for _, name := range []string{"new.lab.test.", "n.third.test.", "nothing.third.test."} {
		if m = answerOf(t, s, name, dns.TypeA); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s was never loaded: %v", name, m)
		}
	}
	c := labCommitted()
	c.records = append(c.records, record("new", 1, value{"new.lab.test.", "c.lab.test."}, value{"n.third.test.", "x.example."}))
	if err := s.Load(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"new.lab.test.": 2, "n.third.test.": 1} {
		if m = answerOf(t, s, name, dns.TypeA); len(m.Answer) != want {
			t.Errorf("%s after Load: %v", name, m)
		}
	}
	if m = answerOf(t, s, "nothing.third.test.", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("a name of the loaded zone that is not there: %v", m)
	}
}

func TestLoadAfterReloadTakesNothingBack(t *testing.T) {
	s := newLab(t)
	if err := s.Publish(record("orders", 9, value{"orders.lab.test.", "b.lab.test."}), map[failover.RecordName]uint32{"lab.test.": firstSerial + 5}); err != nil {
		t.Fatal(err)
	}
	mustReload(t, s, labConfig())
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		t.Errorf("a ledger that was read before the last commit: %v", err)
	}
	if got := cnameOf(t, s, "orders.lab.test."); got != "b.lab.test." {
		t.Errorf("the name shows %s", got)
	}
	if got := s.Stats().Serials["lab.test."]; got != firstSerial+5 {
		t.Errorf("serial %d", got)
	}
}

func TestNameThatLeftTheConfigurationGoesOnAnsweringUntilItIsRetired(t *testing.T) {
	s := newLab(t)
	cfg := labConfig()
	z := &cfg.Zones[0]
	z.Names = without(z.Names, "vpc.orders.lab.test.")
	mustReload(t, s, cfg)
	for range 2 { // and through a second reload
		if got := cnameOf(t, s, "vpc.orders.lab.test."); got != "a.cloud.example." {
			t.Errorf("the left-over shows %q", got)
		}
		if got, ok := s.Shown("vpc.orders.lab.test."); !ok || got != "a.cloud.example." {
			t.Errorf("Shown says %q, %v", got, ok)
		}
		for _, name := range []failover.RecordName{"fresh.lab.test.", "a.lab.test.", "x.example."} {
			if got, ok := s.Shown(name); ok {
				t.Errorf("Shown says %q of %s", got, name)
			}
		}
		if m := answerOf(t, s, "_pointsman.vpc.orders.lab.test.", dns.TypeTXT); len(m.Answer) != 1 {
			t.Errorf("its mark: %v", m)
		}
		st := s.Stats()
		if fmt.Sprint(st.LeftOver) != "[vpc.orders.lab.test.]" || st.Names != 6 {
			t.Errorf("left over %v, %d names", st.LeftOver, st.Names)
		}
		mustReload(t, s, cfg)
	}
	if err := s.Publish(record("orders", 5, value{"vpc.orders.lab.test.", "b.cloud.example."}), nil); err != nil {
		t.Error(err)
	}
	if got := cnameOf(t, s, "vpc.orders.lab.test."); got != "b.cloud.example." {
		t.Errorf("a commit of a left-over is not shown: %q", got)
	}

	z.Retired = []failover.RecordName{"VPC.orders.lab.test."}
	mustReload(t, s, cfg)
	if m := answerOf(t, s, "vpc.orders.lab.test.", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("retired, and still there: %v", m)
	}
	if left := s.Stats().LeftOver; len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if err := s.Publish(record("orders", 6, value{"vpc.orders.lab.test.", "b.cloud.example."}, value{"orders.lab.test.", "b.lab.test."}), nil); err != nil {
		t.Errorf("a record that still has the retired name: %v", err)
	}

	mustReload(t, s, labConfig()) // somebody changed his mind
	now := committed{records: []failover.Record{record("orders", 6, value{"orders.lab.test.", "b.lab.test."}, value{"vpc.orders.lab.test.", "b.cloud.example."})}}
	if err := s.Load(context.Background(), now); err != nil {
		t.Error(err)
	}
	if got := cnameOf(t, s, "vpc.orders.lab.test."); got != "b.cloud.example." {
		t.Errorf("back in the configuration it shows %q", got)
	}
}

func TestNameThatOnlyARecordHasIsShownAtTheStart(t *testing.T) {
	cfg := labConfig()
	cfg.Zones[0].Names = without(cfg.Zones[0].Names, "x.deep.down.lab.test.")
	cfg.Zones[0].Retired = []failover.RecordName{"old.lab.test."}
	c := labCommitted()
	// The instance stays, the name left it.
	c.records[0].LeftOver = []failover.NameRecord{c.records[0].Names[1]}
	c.records[0].Names = c.records[0].Names[:1]
	cfg.Zones[0].Names = without(cfg.Zones[0].Names, "vpc.orders.lab.test.")
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.records = append(c.records,
		record("old", 1, value{"old.lab.test.", "a.lab.test."}),
		record("elsewhere", 1, value{"x.not-ours.example.", "a.lab.test."}),
		record("taken", 1, value{"a.lab.test.", "b.lab.test."}), // a host by now
		record("dangling", 1, value{"gone.lab.test.", "host-that-is-gone.lab.test."}),
	)
	err = s.Load(context.Background(), c)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "left-over a.lab.test.: would meet another record at a.lab.test.") {
		t.Errorf("Load: %v", err)
	}
	if got := cnameOf(t, s, "x.deep.down.lab.test."); got != "b.lab.test." {
		t.Errorf("the left-over shows %q", got)
	}
	if got := cnameOf(t, s, "vpc.orders.lab.test."); got != "a.cloud.example." {
		t.Errorf("the left-over of an instance that stays shows %q", got)
	}
	for _, name := range []string{"deep.down.lab.test.", "a.lab.test."} {
		if m := answerOf(t, s, name, dns.TypeA); m.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := answerOf(t, s, "old.lab.test.", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("a retired name: %v", m)
	}
	for range 2 { // what cannot be shown is not denied either, nor after a reload
		if m := answerOf(t, s, "gone.lab.test.", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("a left-over that points nowhere: %v", m)
		}
		mustReload(t, s, cfg)
	}
	left := s.Stats().LeftOver
	if slices.Sort(left); fmt.Sprint(left) != "[gone.lab.test. vpc.orders.lab.test. x.deep.down.lab.test.]" {
		t.Errorf("left over: %v", left)
	}
	elsewhere := record("elsewhere", 2)
	elsewhere.LeftOver = []failover.NameRecord{{Name: "y.not-ours.example.", Embedded: true, Value: "a.lab.test."}}
	if err := s.Publish(elsewhere, nil); err != nil {
		t.Errorf("a left-over of a zone that is not served any more: %v", err)
	}
}

func TestReloadThatCannotKeepTheAnswersChangesNothing(t *testing.T) {
	for _, tc := range []struct {
		what   string
		change func(*Config)
		want   string
	}{
		{"a fault", func(c *Config) { c.Zones[0].NS = nil }, "zones[0].ns: at least one name server is needed"},
		{"another address", func(c *Config) { c.Listen = []string{"127.0.0.2:0"} }, "listen: [127.0.0.2:0] instead of [127.0.0.1:0] needs a restart"},
		{"the target of a name", func(c *Config) { delete(c.Zones[0].Hosts, "a.lab.test.") }, "target a.lab.test. of orders.lab.test. stands in our zone lab.test. and has no address there"},
		{"the target of a left-over", func(c *Config) {
			delete(c.Zones[0].Hosts, "a.lab.test.")
			c.Zones[0].Names = without(c.Zones[0].Names, "orders.lab.test.")
		}, "target a.lab.test. of orders.lab.test."},
		{"the zone of a name", func(c *Config) { c.Zones = c.Zones[:1] }, "n.second.test. is published and would stand in none of the zones: keep it as it was, or list it under retired"},
		{"a host in place of a name", func(c *Config) {
			c.Zones[0].Names = without(c.Zones[0].Names, "chain.lab.test.")
			c.Zones[0].Hosts["chain.lab.test."] = c.Zones[0].Hosts["a.lab.test."]
		}, "chain.lab.test. is published and would meet another record at chain.lab.test."},
		{"the end of a chain", func(c *Config) {
			c.Zones[0].Names = without(c.Zones[0].Names, "orders.lab.test.")
			c.Zones[0].Retired = []failover.RecordName{"orders.lab.test."}
		}, "target orders.lab.test. of"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := newLab(t)
			cfg := labConfig()
			cfg.Zones[0].Minimum = 999
			tc.change(&cfg)
			if err := s.Reload(cfg); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Reload: %v", err)
			}
			m := answerOf(t, s, "none.lab.test.", dns.TypeA)
			if m.Ns[0].(*dns.SOA).Minttl != 30 {
				t.Errorf("something was changed: %v", m)
			}
			for _, name := range []string{"orders.lab.test.", "chain.lab.test.", "n.second.test."} {
				if m := answerOf(t, s, name, dns.TypeA); m.Rcode != dns.RcodeSuccess || len(m.Answer) < 2 {
					t.Errorf("%s: %v", name, m)
				}
			}
		})
	}
}

func TestLimitsAreThoseOfTheLastReload(t *testing.T) {
	s := newLab(t)
	addr := run(t, s)
	c := dial(t, addr)
	exchange(t, c, question("orders.lab.test.", dns.TypeA))
	cfg := labConfig()
	cfg.TCPPerSource, cfg.UDPInFlight = 1, 1
	mustReload(t, s, cfg)
	more := dial(t, addr)
	if _, err := more.ReadMsg(); err == nil {
		t.Error("a second connection was let in")
	}
	exchange(t, c, question("orders.lab.test.", dns.TypeA)) // the first stays
	for range 100 {
		ask(t, "udp", addr, question("orders.lab.test.", dns.TypeA))
	}
}

// TestQueriesNeverSeeAGapDuringReloads: while configurations are swapped as
// fast as they can be and records are published, every answer about a name
// that stays is whole, its serial never falls and its value is a current one.
func TestQueriesNeverSeeAGapDuringReloads(t *testing.T) {
	s := newLab(t)
	addr := run(t, s)
	var begun, done atomic.Uint64
	publish := func(rev uint64) {
		host := failover.Target([]string{"a.lab.test.", "b.lab.test."}[rev%2])
		rec := record("orders", rev, value{"orders.lab.test.", host}, value{"vpc.orders.lab.test.", failover.Target(fmt.Sprintf("r%d.cloud.example.", rev))})
		begun.Store(rev)
		if err := s.Publish(rec, map[failover.RecordName]uint32{"lab.test.": firstSerial + uint32(rev)}); err != nil {
			t.Errorf("publish rev %d: %v", rev, err)
		}
		done.Store(rev)
	}
	publish(10)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	all.Go(func() {
		for rev := uint64(11); ctx.Err() == nil; rev++ {
			publish(rev)
			time.Sleep(100 * time.Microsecond) // a publisher that never pauses is another test
		}
	})
	var asked atomic.Uint64
	for i := range 3 {
		network := []string{"udp", "tcp"}[i%2]
		all.Go(func() {
			c, err := dns.Dial(network, addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			w := &watch{begun: &begun, done: &done}
			for ctx.Err() == nil {
				if err := w.look(c); err != nil {
					t.Errorf("over %s: %v", network, err)
					return
				}
				asked.Add(4)
			}
		})
	}
	loaded := 0
	for i := range 1000 {
		cfg := labConfig()
		z := &cfg.Zones[0]
		switch i % 4 {
		case 1: // left over, and shown by the next commit all the same
			z.Names = without(z.Names, "vpc.orders.lab.test.")
		case 2:
			z.Names = append(z.Names, failover.RecordName(fmt.Sprintf("n%d.lab.test.", i)))
			cfg.UDPInFlight = 1 + i%7
		case 3:
			z.Minimum, z.TTL = uint32(i), uint32(i)
			delete(z.Hosts, "many.lab.test.")
		}
		mustReload(t, s, cfg)
		if i%50 == 0 {
			if err := s.Load(context.Background(), labCommitted()); err != nil {
				t.Fatal(err)
			}
			loaded++
		}
	}
	until(t, "there were queries and commits", func() bool { return asked.Load() > 400 && done.Load() > 30 })
	stop()
	all.Wait()
	t.Logf("%d revisions, %d queries", done.Load(), asked.Load())
}
