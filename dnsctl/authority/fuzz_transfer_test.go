package authority

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// fuzzedZone is a server of which 192.0.2.99 and the holder of a key may take
// one zone, with one step in its journal.
func fuzzedZone(f *testing.F) *Server {
	f.Helper()
	c := transferConfig(f)
	c.Zones[0].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.99/32")}
	c.TransfersPerMinute = maxTransfersPerMinute
	s, err := New(c)
	if err != nil {
		f.Fatal(err)
	}
	b := &book{committed: labCommitted(), serial: 100}
	if err := s.Load(f.Context(), b); err != nil {
		f.Fatal(err)
	}
	was := s.view.Load().tree.managed("chain.lab.test.").shown.Load().showing()
	is := was
	is.Value = "b.lab.test."
	rec := record("chain", 1, value{"chain.lab.test.", is.Value})
	if err := s.Publish(rec, map[failover.RecordName]uint32{"lab.test.": 102}); err != nil {
		f.Fatal(err)
	}
	b.changes = []Change{{Before: 101, After: 102, Name: "chain.lab.test.", Was: was, Is: is}}
	return s
}

// FuzzTransferRequest: whatever is asked, signed or not, over UDP or TCP, the
// records of a zone go out only to who has a right to that zone; what goes out
// is the whole zone, or a step that begins and ends with our serial, or the SOA
// alone; over UDP never the whole zone; and an answer to a proved request bears
// a signature.
func FuzzTransferRequest(f *testing.F) {
	_, good := secretOf(f, goodText)
	add := func(m *dns.Msg, sign bool) {
		if sign {
			m.SetTsig(goodKey, dns.HmacSHA256, 300, time.Now().Unix())
			wire, _, err := dns.TsigGenerate(m, good, "", false)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, true, false)
			f.Add(wire[:len(wire)-7], true, true)
			return
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		for _, tcp := range []bool{true, false} {
			f.Add(wire, tcp, true)
			f.Add(wire, tcp, false)
			f.Add(append(slices.Clone(wire), 0), tcp, true)
			f.Add(wire[:len(wire)-5], tcp, true)
		}
	}
	for _, sign := range []bool{false, true} {
		add(axfr("lab.test."), sign)
		add(axfr("lAb.tEsT.").SetEdns0(1232, true), sign)
		add(axfr("second.test."), sign)
		add(axfr("orders.lab.test."), sign)
		for _, serial := range []uint32{0, 1, 99, 101, 102, 103, 1 << 31, 102 + 1<<31, 1<<32 - 1} {
			add(new(dns.Msg).SetIxfr("lab.test.", serial, "ns1.lab.test.", "hostmaster.lab.test."), sign)
		}
		add(new(dns.Msg).SetIxfr("second.test.", 1, ".", "."), sign)
		odd := new(dns.Msg).SetIxfr("lab.test.", 101, ".", ".")
		odd.Ns[0].Header().Name = "second.test."
		add(odd, sign)
		two := new(dns.Msg).SetIxfr("lab.test.", 101, ".", ".")
		two.Ns = append(two.Ns, two.Ns[0])
		add(two, sign)
		noSOA := new(dns.Msg).SetIxfr("lab.test.", 101, ".", ".")
		noSOA.Ns = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: "lab.test.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"x"}}}
		add(noSOA, sign)
		chaos := axfr("lab.test.")
		chaos.Question[0].Qclass = dns.ClassCHAOS
		add(chaos, sign)
	}
	s := fuzzedZone(f)
	var whole int
	if _, rrs := give(f, s, overTCP, axfr("lab.test.")); len(rrs) > 0 {
		whole = len(rrs)
	}
	f.Fuzz(func(t *testing.T, in []byte, tcp, entitled bool) {
		m := new(dns.Msg)
		if len(in) > queryOctets || m.Unpack(in) != nil || m.Response || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 {
			return // the screen and the parser have it: FuzzPacket
		}
		over, from := overUDP, netip.MustParseAddr("198.51.100.1")
		if tcp {
			over = overTCP
		}
		if entitled {
			from = netip.MustParseAddr("192.0.2.99")
		}
		s.pacer = newLimiter(transferSets)
		k := &taker{conn: &tcpConn{last: slices.Clone(in), from: from}}
		(&handler{s: s, over: over}).ServeDNS(k, m)
		if n := s.stats.panics.Load(); n > 0 {
			t.Fatalf("a panic at %x", in)
		}
		tsig := m.IsTsig()
		proved := tsig != nil && dns.TsigVerify(slices.Clone(in), good, "", false) == nil &&
			dns.CanonicalName(tsig.Hdr.Name) == goodKey && dns.CanonicalName(tsig.Algorithm) == dns.HmacSHA256
		zone := strings.ToLower(m.Question[0].Name)
		mayHave := zone == "lab.test." && (proved || tsig == nil && entitled)
		var all []dns.RR
		for i, w := range k.msgs {
			r := new(dns.Msg)
			if err := r.Unpack(w); err != nil {
				t.Fatalf("message %d to %x: %v", i, in, err)
			}
			all = append(all, r.Answer...)
			if r.Rcode == dns.RcodeSuccess && (r.IsTsig() != nil) != (tsig != nil) {
				t.Fatalf("asked with the signature %v, answered with %v", tsig, r.IsTsig())
			}
		}
		if !isTransfer(m.Question[0].Qtype) || m.Question[0].Qclass != dns.ClassINET || len(all) == 0 {
			return
		}
		soa, ok := all[0].(*dns.SOA)
		switch {
		case !mayHave:
			t.Fatalf("%d records to one without a right, asked %v", len(all), m)
		case !ok || soa.Serial != 102 || all[len(all)-1].String() != soa.String():
			t.Fatalf("not between two SOA of our serial: %v", texts(all))
		case len(all) == 1 && m.Question[0].Qtype == dns.TypeAXFR:
			t.Fatalf("a SOA alone for a whole zone, asked %v", m)
		case len(all) > 1 && over == overUDP && (!proved || len(all) == whole):
			t.Fatalf("%d records over UDP, asked %v", len(all), m)
		case len(all) > 1 && len(all) != whole && all[1].Header().Rrtype != dns.TypeSOA:
			t.Fatalf("neither whole nor a step: %v", texts(all))
		}
	})
}

// FuzzNotifyAnswer: an answer counts as one only if it is to this very message
// and, where there is a key, signed by it for this message and in time.
func FuzzNotifyAnswer(f *testing.F) {
	secret, good := secretOf(f, goodText)
	at := time.Unix(1_700_000_000, 0)
	key := &tsigKey{name: goodKey, algorithm: dns.HmacSHA256, raw: secret.raw}
	asked := new(dns.Msg).SetNotify("lab.test.")
	asked.Id = 4711
	signed := &caller{zone: "lab.test.", key: key, now: func() time.Time { return at }}
	_, mac, err := signed.pack(asked.Copy())
	if err != nil {
		f.Fatal(err)
	}
	for _, edit := range []func(*dns.Msg){
		func(*dns.Msg) {}, func(r *dns.Msg) { r.Id++ }, func(r *dns.Msg) { r.Rcode = dns.RcodeRefused },
		func(r *dns.Msg) { r.Question = nil }, func(r *dns.Msg) { r.Question[0].Name = "LAB.test." },
		func(r *dns.Msg) { r.Opcode = dns.OpcodeQuery }, func(r *dns.Msg) { r.Response = false },
		func(r *dns.Msg) { r.Truncated = true }, func(r *dns.Msg) { r.SetEdns0(1232, false) },
	} {
		r := new(dns.Msg).SetReply(asked)
		edit(r)
		wire, err := r.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		for i := range 3 {
			f.Add(wire[:len(wire)*i/3])
		}
		for _, when := range []time.Time{at, at.Add(-time.Hour)} {
			wire, _, err = dns.TsigGenerate(r.Copy().SetTsig(goodKey, dns.HmacSHA256, 300, when.Unix()), good, mac, false)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire)
			f.Add(append(slices.Clone(wire), 0))
		}
	}
	plain := &caller{zone: "lab.test.", now: signed.now}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, c := range []*caller{plain, signed} {
			r, err := c.read(slices.Clone(in), asked, mac)
			if err != nil {
				continue
			}
			if !r.Response || r.Id != asked.Id || r.Opcode != dns.OpcodeNotify || len(r.Question) != 1 || !strings.EqualFold(r.Question[0].Name, "lab.test.") {
				t.Fatalf("%x was taken for an answer: %v", in, r)
			}
			if c.key == nil {
				continue
			}
			x := r.IsTsig()
			if x == nil || dns.CanonicalName(x.Hdr.Name) != goodKey || int(x.MACSize) != 32 {
				t.Fatalf("%x was taken for a signed answer", in)
			}
			// The library looks at its own clock; the octets are what matters here.
			if err := dns.TsigVerify(slices.Clone(in), good, mac, false); err != nil && err != dns.ErrTime {
				t.Fatalf("%x: %v", in, err)
			}
			if apart := at.Unix() - int64(x.TimeSigned); apart > maxFudge || apart < -maxFudge {
				t.Fatalf("%x was signed %d s away", in, apart)
			}
		}
	})
}
