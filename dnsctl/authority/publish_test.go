package authority

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// answerOf asks a server without sockets.
func answerOf(t testing.TB, s *Server, name string, qtype uint16) *dns.Msg {
	t.Helper()
	sc := &scratch{}
	wire, _ := (&handler{s: s, over: overTCP}).reply(sc, question(name, qtype), sender{}, 0)
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	return m
}

// cnameOf is what a name shows, or its code.
func cnameOf(t testing.TB, s *Server, name string) string {
	t.Helper()
	m := answerOf(t, s, name, dns.TypeCNAME)
	if len(m.Answer) != 1 {
		return rcodeName(m.Rcode)
	}
	return m.Answer[0].(*dns.CNAME).Target
}

func TestPublishReplacesTheAnswerAndTheMark(t *testing.T) {
	s := newLab(t)
	err := s.Publish(record("orders", 5, value{"orders.lab.test.", "b.lab.test."}, value{"vpc.orders.lab.test.", "b.cloud.example."}),
		map[failover.RecordName]uint32{"lab.test.": firstSerial + 9})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"orders.lab.test.": "b.lab.test.", "vpc.orders.lab.test.": "b.cloud.example."} {
		if got := cnameOf(t, s, name); got != want {
			t.Errorf("%s shows %s, want %s", name, got, want)
		}
	}
	if a := lines(answerOf(t, s, "chain.lab.test.", dns.TypeAAAA).Answer); len(a) != 3 || a[2] != "b.lab.test. 300 IN AAAA 2001:db8::2" {
		t.Errorf("the chain through the name did not move: %q", a)
	}
	if txt := lines(answerOf(t, s, "_pointsman.orders.lab.test.", dns.TypeTXT).Answer); len(txt) != 1 || !strings.Contains(txt[0], "epoch=5") {
		t.Errorf("mark %q", txt)
	}
	for _, name := range []string{"none.lab.test.", "b.lab.test.", "orders.lab.test."} {
		if soa := answerOf(t, s, name, dns.TypeMX).Ns[0].(*dns.SOA); soa.Serial != firstSerial+9 {
			t.Errorf("no about %s has serial %d, want %d", name, soa.Serial, firstSerial+9)
		}
	}
}

func TestPublishRefusesWhatMustNotBeShownAndKeepsAnswering(t *testing.T) {
	long := strings.Repeat(longHost, 4)
	for _, tc := range []struct{ what, target, says string }{
		{"an empty target", "", "target of orders.lab.test. is empty"},
		{"itself", "orders.lab.test.", "would point at itself"},
		{"itself in capitals", "ORDERS.lab.test.", "would point at itself"},
		{"a loop through another name", "chain.lab.test.", "would loop or lead through more than 8 names: orders.lab.test. → chain.lab.test. → orders.lab.test."},
		{"a loop through another zone", "n.second.test.", "would loop"},
		{"a name in our zone that is not there", "none.lab.test.", "has no address there"},
		{"a name in our zone without address", "down.lab.test.", "has no address there"},
		{"the mark of a name", "_pointsman.orders.lab.test.", "has no address there"},
		{"no final dot", "a.cloud.example", "does not end in a dot"},
		{"an address", "192.0.2.1.", "is an address, not a name"},
		{"a URL", "https://a.example.", "has the character ':'"},
		{"a wildcard", "*.cloud.example.", "is a wildcard"},
		{"a label of 64 octets", strings.Repeat("x", 64) + ".example.", "is not a domain name"},
		{"more than 255 octets", long, "is not a domain name"},
		{"an empty label", "a..example.", "is not a domain name"},
		{"the root", ".", "the root"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := newLab(t)
			rec := record("orders", 9, value{"vpc.orders.lab.test.", "b.cloud.example."}, value{"orders.lab.test.", failover.Target(tc.target)})
			err := s.Publish(rec, map[failover.RecordName]uint32{"lab.test.": firstSerial + 1})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Publish: %v, want ErrRefused that says %q", err, tc.says)
			}
			if got := cnameOf(t, s, "orders.lab.test."); got != "a.lab.test." {
				t.Errorf("the name shows %s, want what it showed", got)
			}
			if got := cnameOf(t, s, "vpc.orders.lab.test."); got != "a.cloud.example." {
				t.Errorf("the instance's other name moved alone to %s", got)
			}
			if n := s.Stats().Serials["lab.test."]; n != firstSerial {
				t.Errorf("serial rose to %d", n)
			}
			if tc.target != "" && !strings.HasPrefix(tc.says, "would loop") {
				if err := s.CheckTarget("orders.lab.test.", failover.Target(tc.target)); !errors.Is(err, ErrRefused) {
					t.Errorf("CheckTarget: %v", err)
				}
			}
		})
	}
}

func TestPublishRefusesATargetThatIsNotOnTheList(t *testing.T) {
	s := newLab(t)
	if err := s.Publish(record("spare", 1, value{"spare.lab.test.", "a.lab.test."}), nil); err != nil {
		t.Fatal(err)
	}
	err := s.Publish(record("spare", 2, value{"spare.lab.test.", "six.lab.test."}), nil)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "none of its targets") {
		t.Errorf("Publish: %v", err)
	}
	if got := cnameOf(t, s, "spare.lab.test."); got != "a.lab.test." {
		t.Errorf("shows %s", got)
	}
}

func TestLoadShowsTheLastCommitThoughTheListChanged(t *testing.T) {
	s, err := New(labConfig())
	if err != nil {
		t.Fatal(err)
	}
	was := record("spare", 1, value{"spare.lab.test.", "six.lab.test."})
	if err := s.Load(context.Background(), committed{records: []failover.Record{was}}); err != nil {
		t.Fatal(err)
	}
	was.Rev, was.Names[0].TTL = 2, 60
	if err := s.Publish(was, nil); err != nil {
		t.Errorf("a new TTL for the old target: %v", err)
	}
	if got := cnameOf(t, s, "spare.lab.test."); got != "six.lab.test." {
		t.Errorf("shows %s", got)
	}
}

func TestPublishRefusesALoopWithinOneRecord(t *testing.T) {
	s := newLab(t)
	err := s.Publish(record("two", 1, value{"fresh.lab.test.", "x.deep.down.lab.test."}, value{"x.deep.down.lab.test.", "fresh.lab.test."}), nil)
	if err == nil {
		t.Fatal("published a loop")
	}
	if got := cnameOf(t, s, "fresh.lab.test."); got != "SERVFAIL" {
		t.Errorf("shows %s", got)
	}
}

func TestOldRecordNeverReplacesANewerOne(t *testing.T) {
	s := newLab(t) // orders is at rev 4, token 3.4
	for what, rec := range map[string]failover.Record{
		"an older rev": record("orders", 3, value{"orders.lab.test.", "b.lab.test."}),
		"another instance with an older token": func() failover.Record {
			r := record("imposter", 99, value{"orders.lab.test.", "b.lab.test."})
			r.Term, r.Epoch = 2, 7
			return r
		}(),
	} {
		if err := s.Publish(rec, map[failover.RecordName]uint32{"lab.test.": firstSerial + 1}); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v, want ErrStale", what, err)
		}
		if got := cnameOf(t, s, "orders.lab.test."); got != "a.lab.test." {
			t.Errorf("%s: shows %s", what, got)
		}
	}
	newer := record("renamed", 1, value{"orders.lab.test.", "b.lab.test."})
	newer.Term = 4
	if err := s.Publish(newer, nil); err != nil || cnameOf(t, s, "orders.lab.test.") != "b.lab.test." {
		t.Errorf("another instance with a newer token: %v", err)
	}
}

func TestSerialNeverGoesBackwards(t *testing.T) {
	s := newLab(t)
	rec := record("orders", 5, value{"orders.lab.test.", "b.lab.test."})
	for _, tc := range []struct {
		give, want uint32
		err        error
	}{
		{firstSerial - 1, firstSerial, ErrSerial},
		{firstSerial, firstSerial, nil},
		{firstSerial + 5, firstSerial + 5, nil},
		{firstSerial + 4, firstSerial + 5, ErrSerial},
		{firstSerial + 5 + 1<<31, firstSerial + 5, ErrSerial}, // neither before nor after (RFC 1982 section 3.2)
		{firstSerial + 4 + 1<<31, firstSerial + 4 + 1<<31&(1<<32-1), nil},
		{3, 3, nil}, // over the end of the number space
	} {
		err := s.Publish(rec, map[failover.RecordName]uint32{"lab.test.": tc.give, "not.ours.": 1})
		if !errors.Is(err, tc.err) {
			t.Errorf("serial %d: %v, want %v", tc.give, err, tc.err)
		}
		if soa := answerOf(t, s, "lab.test.", dns.TypeSOA).Answer[0].(*dns.SOA); soa.Serial != tc.want {
			t.Errorf("serial %d: shows %d, want %d", tc.give, soa.Serial, tc.want)
		}
	}
	if got := cnameOf(t, s, "orders.lab.test."); got != "b.lab.test." {
		t.Errorf("a serial that was not taken kept the record back: shows %s", got)
	}
}

func TestPublishNamesWhatIsNotServedAndShowsTheRest(t *testing.T) {
	s := newLab(t)
	rec := record("orders", 5, value{"gone.lab.test.", "b.lab.test."}, value{"orders.lab.test.", "b.lab.test."})
	rec.Names = append(rec.Names, failover.NameRecord{Name: "orders.example.com.", Provider: "bind", Value: "b.example.com."})
	err := s.Publish(rec, nil)
	if !errors.Is(err, ErrNotServed) || strings.Contains(err.Error(), "example.com") {
		t.Errorf("Publish: %v", err)
	}
	if got := cnameOf(t, s, "orders.lab.test."); got != "b.lab.test." {
		t.Errorf("shows %s", got)
	}
}

func TestNoRecordTakesANameAway(t *testing.T) {
	s := newLab(t)
	empty := record("orders", 10)
	other := record("orders", 11, value{"vpc.orders.lab.test.", "b.cloud.example."})
	elsewhere := record("orders", 12, value{"orders.lab.test.", "b.lab.test."})
	elsewhere.Names[0].Embedded = false
	for _, rec := range []failover.Record{empty, other, elsewhere, {}} {
		if err := s.Publish(rec, nil); err != nil {
			t.Fatal(err)
		}
		if got := cnameOf(t, s, "orders.lab.test."); got != "a.lab.test." {
			t.Fatalf("after %+v the name shows %s", rec, got)
		}
	}
}

func TestZoneThatWasNotLoadedDeniesNothing(t *testing.T) {
	s, err := New(labConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		name  string
		qtype uint16
	}{{"none.lab.test.", dns.TypeA}, {"lab.test.", dns.TypeSOA}, {"a.lab.test.", dns.TypeMX}, {"down.lab.test.", dns.TypeA}, {"orders.lab.test.", dns.TypeA}} {
		if m := answerOf(t, s, q.name, q.qtype); m.Rcode != dns.RcodeServerFailure || m.Authoritative {
			t.Errorf("%s: %v", q.name, m)
		}
	}
	if m := answerOf(t, s, "a.lab.test.", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("host: %v", m)
	}
	if err := s.Publish(record("orders", 1, value{"orders.lab.test.", "a.lab.test."}), nil); err != nil {
		t.Fatal(err)
	}
	if m := answerOf(t, s, "orders.lab.test.", dns.TypeAAAA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || len(m.Ns) != 0 {
		t.Errorf("a published name before the serial is known: %v", m)
	}
}

func TestZoneWithoutSerialYetStartsAtOne(t *testing.T) {
	s, err := New(labConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), committed{serials: map[failover.RecordName]uint32{"lab.test.": 0}}); err != nil {
		t.Fatal(err)
	}
	if soa := answerOf(t, s, "lab.test.", dns.TypeSOA).Answer[0].(*dns.SOA); soa.Serial != 1 {
		t.Errorf("serial %d, want 1", soa.Serial)
	}
}

func TestLoadGoesOnPastAFault(t *testing.T) {
	s, err := New(labConfig())
	if err != nil {
		t.Fatal(err)
	}
	c := labCommitted()
	c.records = append([]failover.Record{record("bad", 1, value{"spare.lab.test.", ""})}, c.records...)
	c.records = append(c.records, record("left", 1, value{"was.lab.test.", "a.lab.test."}))
	err = s.Load(context.Background(), c)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "spare.lab.test.") || errors.Is(err, ErrNotServed) {
		t.Errorf("Load: %v", err)
	}
	if got := cnameOf(t, s, "orders.lab.test."); got != "a.lab.test." {
		t.Errorf("shows %s", got)
	}
	st := s.Stats()
	if st.Names != 7 || strings.Join(st.Unpublished, " ") != "fresh.lab.test. spare.lab.test." || st.Serials["second.test."] != firstSerial {
		t.Errorf("stats %+v", st)
	}
	if err := s.Load(context.Background(), committed{err: errSource}); !errors.Is(err, errSource) {
		t.Errorf("Load from an unreadable ledger: %v", err)
	}
	if got := cnameOf(t, s, "orders.lab.test."); got != "a.lab.test." {
		t.Errorf("after a failed Load the name shows %s", got)
	}
}

func TestMarkSurvivesOddCharactersAndLength(t *testing.T) {
	s := newLab(t)
	rec := record("orders", 5, value{"orders.lab.test.", "b.lab.test."})
	rec.Names[0].Mark.By = `a"b\c` + "\x01é" + strings.Repeat("y", 300)
	if err := s.Publish(rec, nil); err != nil {
		t.Fatal(err)
	}
	m := answerOf(t, s, "_pointsman.orders.lab.test.", dns.TypeTXT)
	wire, err := m.Pack() // undoes the presentation form
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	rdata := wire[len(wire)-int(m.Answer[0].Header().Rdlength):]
	for len(rdata) > 0 {
		n := 1 + int(rdata[0])
		text, rdata = append(text, rdata[1:n]...), rdata[n:]
	}
	if string(text) != rec.Names[0].Mark.String() {
		t.Errorf("mark\n%q, want\n%q", text, rec.Names[0].Mark.String())
	}
	rec.Rev, rec.Names[0].Mark.By = 6, strings.Repeat("y", 2000)
	if err := s.Publish(rec, nil); !errors.Is(err, ErrRefused) {
		t.Errorf("a mark of 2000 octets: %v", err)
	}
	rec.Rev, rec.Names[0].Mark = 7, failover.Mark{}
	if err := s.Publish(rec, nil); err != nil {
		t.Fatal(err)
	}
	if m := answerOf(t, s, "_pointsman.orders.lab.test.", dns.TypeTXT); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 || len(m.Ns) != 1 {
		t.Errorf("no mark: %v", m)
	}
}

func TestChainThatIsTooLongIsRefusedAndOneThatIsNotReadyIsGivenSoFar(t *testing.T) {
	cfg := labConfig()
	z := &cfg.Zones[0]
	z.Names, z.Targets = nil, nil
	for _, c := range "abcdefghij" {
		z.Names = append(z.Names, failover.RecordName("link-"+string(c)+".lab.test."))
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	link := func(from failover.RecordName, to failover.Target) error {
		return s.Publish(record(failover.InstanceName(from), 1, value{from, to}), map[failover.RecordName]uint32{"lab.test.": 1})
	}
	for i := 8; i >= 1; i-- { // link-b → … → link-j, which is not published
		if err := link(z.Names[i], failover.Target(z.Names[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if m := answerOf(t, s, "link-b.lab.test.", dns.TypeA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 8 || len(m.Ns) != 0 {
		t.Errorf("a chain that ends at a name that was not published yet: %v", m)
	}
	if err := link("link-a.lab.test.", "link-b.lab.test."); !errors.Is(err, ErrRefused) {
		t.Errorf("a chain of 9: %v", err)
	}
	if err := link("link-i.lab.test.", "a.lab.test."); err != nil {
		t.Fatal(err)
	}
	if m := answerOf(t, s, "link-b.lab.test.", dns.TypeA); len(m.Answer) != 9 || m.Answer[8].Header().Name != "a.lab.test." {
		t.Errorf("a chain of 8 to a host: %v", m)
	}
}

func TestLoopThatCameAboutAllTheSameEnds(t *testing.T) {
	s := newLab(t)
	for from, to := range map[failover.RecordName]failover.Target{"orders.lab.test.": "chain.lab.test.", "fresh.lab.test.": "fresh.lab.test."} {
		k, err := keyOf(string(to))
		if err != nil {
			t.Fatal(err)
		}
		sh := &shown{target: k, cname: &dns.CNAME{Hdr: dns.RR_Header{Name: string(from), Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: string(to)}, packed: &answers{}, markPacked: &answers{}}
		s.view.Load().tree.managed(from).shown.Store(sh) // past every check
	}
	for name, want := range map[string]int{"orders.lab.test.": 2, "chain.lab.test.": 2, "fresh.lab.test.": 1} {
		if m := answerOf(t, s, name, dns.TypeA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != want {
			t.Errorf("%s: %v", name, m)
		}
	}
}
