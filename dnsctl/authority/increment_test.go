package authority

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// taker takes an answer of several messages without a socket.
type taker struct {
	dns.ResponseWriter
	conn *tcpConn
	msgs [][]byte
}

func (k *taker) Write(b []byte) (int, error) {
	k.msgs = append(k.msgs, slices.Clone(b))
	return len(b), nil
}
func (k *taker) RemoteAddr() net.Addr { return &peer{Addr: &net.TCPAddr{}, conn: k.conn} }
func (k *taker) Close() error         { return nil }

// give asks the handler and returns the records of the answer.
func give(t interface{ Fatal(...any) }, s *Server, over transport, m *dns.Msg) (int, []dns.RR) {
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	k := &taker{conn: &tcpConn{last: wire, from: netip.MustParseAddr("192.0.2.99")}}
	(&handler{s: s, over: over}).ServeDNS(k, m)
	var out []dns.RR
	rcode := -1
	for _, w := range k.msgs {
		r := new(dns.Msg)
		if err := r.Unpack(w); err != nil {
			t.Fatal(err)
		}
		out, rcode = append(out, r.Answer...), r.Rcode
	}
	return rcode, out
}

// book is a ledger as the authority knows it, made for the test: every change
// of a name is one step, and only the newest are kept.
type book struct {
	committed
	serial  uint32
	fixed   string
	changes []Change
	keep    int
}

func (b *book) Stamp(_ context.Context, _ failover.RecordName, fingerprint string) (uint32, error) {
	if b.fixed != fingerprint {
		b.fixed, b.changes = fingerprint, nil
		b.serial = max(b.serial+1, 1)
	}
	return b.serial, nil
}

func (b *book) Changes(_ context.Context, _ failover.RecordName, from uint32) ([]Change, error) {
	i := slices.IndexFunc(b.changes, func(c Change) bool { return c.Before == from })
	if i < 0 {
		return nil, errors.New("cut")
	}
	return slices.Clone(b.changes[i:]), nil
}

// apply does what a secondary does with an answer, and refuses what does not
// fit: a record that goes must be there, one that comes must not.
func apply(zone map[string]bool, rrs []dns.RR) (map[string]bool, uint32, error) {
	first, ok := rrs[0].(*dns.SOA)
	if !ok {
		return nil, 0, errors.New("the answer does not begin with the SOA")
	}
	if len(rrs) == 1 {
		return zone, first.Serial, nil
	}
	if rrs[0].String() != rrs[len(rrs)-1].String() {
		return nil, 0, errors.New("the answer does not end with its SOA")
	}
	if second, ok := rrs[1].(*dns.SOA); !ok || len(rrs) == 2 {
		whole := make(map[string]bool)
		for _, rr := range rrs[1 : len(rrs)-1] {
			whole[rr.String()] = true
		}
		whole["SOA"+first.String()] = true
		return whole, first.Serial, nil
	} else if second.Serial == first.Serial {
		return nil, 0, errors.New("a step to itself")
	}
	out, adding := maps.Clone(zone), false
	maps.DeleteFunc(out, func(text string, _ bool) bool { return strings.HasPrefix(text, "SOA") })
	out["SOA"+first.String()] = true
	for _, rr := range rrs[2 : len(rrs)-1] {
		if rr.Header().Rrtype == dns.TypeSOA {
			adding = !adding
			continue
		}
		switch text := rr.String(); {
		case adding && out[text]:
			return nil, 0, fmt.Errorf("%s comes and was there", text)
		case adding:
			out[text] = true
		case !out[text]:
			return nil, 0, fmt.Errorf("%s goes and was not there: %v", text, zone)
		default:
			delete(out, text)
		}
	}
	return out, first.Serial, nil
}

// TestEverySequenceOfTransfersLeadsToTheZone: whatever was published between,
// and however far the journal reaches back, whoever asks by IXFR with any
// serial that was ever given out has what AXFR gives at that moment.
func TestEverySequenceOfTransfersLeadsToTheZone(t *testing.T) {
	increments := uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		c := transferConfig(t)
		c.Zones, c.TransfersPerMinute = c.Zones[:1], maxTransfersPerMinute
		c.Zones[0].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		names := []failover.RecordName{"n1.lab.test.", "n2.lab.test.", "n3.lab.test.", "n4.lab.test.", "n5.lab.test."}
		c.Zones[0].Names = names
		delete(c.Zones[0].Hosts, "many.lab.test.")
		s, err := New(c)
		if err != nil {
			rt.Fatal(err)
		}
		b := &book{serial: rapid.SampledFrom([]uint32{1, 1<<31 - 2, 1<<32 - 3}).Draw(rt, "serial"), keep: rapid.IntRange(1, 12).Draw(rt, "keep")}
		revs := map[failover.RecordName]uint64{}
		at := func(name failover.RecordName, target failover.Target, ttl uint32, marked bool) failover.Record {
			revs[name]++
			r := record(failover.InstanceName(name), revs[name], value{name, target})
			r.Names[0].TTL, r.Names[0].Zone = ttl, "lab.test."
			if !marked {
				r.Names[0].Mark = failover.Mark{}
			}
			return r
		}
		for _, n := range names {
			b.records = append(b.records, at(n, "a.lab.test.", 5, true))
		}
		if err := s.Load(t.Context(), b); err != nil {
			rt.Fatal(err)
		}
		held := map[uint32]map[string]bool{} // by serial, what a secondary may have
		check := func() {
			_, rrs := give(rt, s, overTCP, axfr("lab.test."))
			whole, serial, err := apply(nil, rrs)
			if err != nil || serial != b.serial {
				rt.Fatal("AXFR: ", err, serial, b.serial)
			}
			if was := held[serial]; was != nil && !maps.Equal(was, whole) {
				rt.Fatal("one serial, two zones")
			}
			held[serial] = whole
			for from, zone := range held {
				rcode, rrs := give(rt, s, overTCP, new(dns.Msg).SetIxfr("lab.test.", from, "ns1.lab.test.", "hostmaster.lab.test."))
				got, to, err := apply(zone, rrs)
				if rcode != dns.RcodeSuccess || err != nil || to != serial || !maps.Equal(got, whole) {
					rt.Fatal("IXFR from ", from, " to ", serial, ": ", err, "\n", strings.Join(texts(rrs), "\n"))
				}
			}
		}
		check()
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			switch what := rapid.IntRange(0, 9).Draw(rt, "what"); what {
			case 0: // the static part changes
				c.Zones = slices.Clone(c.Zones)
				c.Zones[0].Minimum = uint32(rapid.IntRange(10, 12).Draw(rt, "minimum"))
				if err := errors.Join(s.Reload(c), s.Load(t.Context(), b)); err != nil {
					rt.Fatal(err)
				}
			default:
				name := rapid.SampledFrom(names).Draw(rt, "name")
				i := slices.IndexFunc(b.records, func(r failover.Record) bool { return r.Names[0].Name == name })
				was := b.records[i].Names[0]
				r := at(name, rapid.SampledFrom([]failover.Target{"a.lab.test.", "b.lab.test.", "x.example."}).Draw(rt, "target"), uint32(rapid.IntRange(5, 6).Draw(rt, "ttl")), rapid.Bool().Draw(rt, "marked"))
				show := func(n failover.NameRecord) Showing {
					x := Showing{Value: n.Value, TTL: n.TTL}
					if n.Mark != (failover.Mark{}) {
						x.Mark = n.Mark.String()
					}
					return x
				}
				b.records[i] = r
				var serials map[failover.RecordName]uint32
				if show(was) != show(r.Names[0]) {
					before := b.serial
					b.serial = max(b.serial+1, 1)
					b.changes = append(b.changes, Change{Before: before, After: b.serial, Name: name, Was: show(was), Is: show(r.Names[0])})
					b.changes = b.changes[max(0, len(b.changes)-b.keep):]
					serials = map[failover.RecordName]uint32{"lab.test.": b.serial}
				}
				if err := s.Publish(r, serials); err != nil {
					rt.Fatal(err)
				}
			}
			check()
		}
		increments += s.Stats().Transfers["incremental"]
	})
	if increments == 0 {
		t.Error("no transfer was incremental")
	}
}

func TestAnIncrementThatDoesNotLeadToWhatIsShownIsNotGiven(t *testing.T) {
	c := transferConfig(t)
	c.Zones[0].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	b := &book{committed: labCommitted(), serial: 100}
	b.changes = []Change{{Before: 99, After: 101, Name: "vpc.orders.lab.test.", Was: Showing{Value: "b.", TTL: 7}, Is: Showing{Value: "not.what.is.shown.", TTL: 7}}}
	if err := s.Load(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	b.changes = []Change{{Before: 99, After: 101, Name: "vpc.orders.lab.test.", Was: Showing{Value: "b.", TTL: 7}, Is: Showing{Value: "not.what.is.shown.", TTL: 7}}}
	if _, rrs := give(t, s, overTCP, new(dns.Msg).SetIxfr("lab.test.", 99, ".", ".")); len(rrs) < 10 {
		t.Errorf("an increment: %v", texts(rrs))
	}
	if st := s.Stats(); st.Transfers["full"] != 1 || st.Transfers["incremental"] != 0 {
		t.Errorf("transfers %v", st.Transfers)
	}
}

func TestIncrementsOverUDP(t *testing.T) {
	c := transferConfig(t)
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	b := &book{committed: labCommitted(), serial: 100}
	if err := s.Load(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	rec := record("orders", 5, value{"orders.lab.test.", "a.lab.test."}, value{"vpc.orders.lab.test.", "b.cloud.example."})
	was := Showing{Value: "a.cloud.example.", TTL: 7, Mark: labCommitted().records[0].Names[1].Mark.String()}
	is := Showing{Value: "b.cloud.example.", TTL: 7, Mark: rec.Names[1].Mark.String()}
	rec.Names = rec.Names[1:]
	if err := s.Publish(rec, map[failover.RecordName]uint32{"lab.test.": 102}); err != nil {
		t.Fatal(err)
	}
	b.changes = []Change{{Before: 101, After: 102, Name: "vpc.orders.lab.test.", Was: was, Is: is}}
	addr := run(t, s)
	_, b64 := secretOf(t, goodText)
	ixfr := func(serial uint32, size uint16) []dns.RR {
		t.Helper()
		m := new(dns.Msg).SetIxfr("lab.test.", serial, ".", ".")
		if size > 0 {
			m.SetEdns0(size, false)
		}
		signedBy(m, goodKey, dns.HmacSHA256, s.clock().Unix())
		cl := &dns.Client{Net: "udp", TsigSecret: map[string]string{goodKey: b64}, UDPSize: 4096}
		r, _, err := cl.Exchange(m, addr)
		if err != nil {
			t.Fatal(err)
		}
		return r.Answer
	}
	if rrs := ixfr(101, 1232); len(rrs) != 8 {
		t.Errorf("an increment that fits: %v", texts(rrs))
	}
	for what, rrs := range map[string][]dns.RR{"up to date": ixfr(102, 1232), "ahead": ixfr(103, 1232), "unknown": ixfr(7, 1232), "too small": ixfr(101, 0)} {
		if len(rrs) != 1 || rrs[0].(*dns.SOA).Serial != 102 {
			t.Errorf("%s: %v", what, texts(rrs))
		}
	}
	// An answer is counted after it was sent.
	until(t, "one increment, two up to date and two too long", func() bool {
		st := s.Stats().Transfers
		return st["incremental"] == 1 && st["up-to-date"] == 2 && st["too-long-for-udp"] == 2
	})
}
