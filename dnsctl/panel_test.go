package dnsctl

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

var (
	written = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	aSwitch = Switch{Op: "orders-1.1", Name: orders, To: "b.lab.test.", Written: written, Published: written.Add(time.Second), TTLOld: 30, TTLMost: 60, Vantage: "ctl-1"}
)

func panelOf(names ...string) []PanelResolver {
	var out []PanelResolver
	for i, n := range names {
		out = append(out, PanelResolver{Name: n, Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 53)})
	}
	return out
}

func said5(at time.Duration, value failover.Target, ttl uint32) PanelAnswer {
	return PanelAnswer{At: written.Add(at), Value: value, TTL: ttl}
}

func TestACurveCountsEveryResolverAndNoneTwice(t *testing.T) {
	p := NewPropagation(aSwitch, panelOf("r1", "r2", "r3", "r4"))
	p.Note(0, said5(2*time.Second, "b.lab.test.", 30))
	p.Note(1, said5(3*time.Second, "b.lab.test.", 30))
	if p.P50 == nil || *p.P50 != 3*time.Second || p.P95 != nil || p.P100 != nil {
		t.Errorf("half of four: %v %v %v", p.P50, p.P95, p.P100)
	}
	p.Note(2, said5(4*time.Second, "a.lab.test.", 20))
	p.Note(2, said5(20*time.Second, "b.lab.test.", 30))
	p.Note(3, PanelAnswer{At: written.Add(4 * time.Second), Err: "SERVFAIL"})
	if p.P100 != nil || p.Resolvers[3].Errors != 1 || p.Resolvers[3].New != nil {
		t.Errorf("one gave no answer: %+v", p)
	}
	p.Note(3, said5(25*time.Second, "b.lab.test.", 30))
	if *p.P50 != 3*time.Second || *p.P95 != 25*time.Second || *p.P100 != 25*time.Second {
		t.Errorf("all: %v %v %v", *p.P50, *p.P95, *p.P100)
	}
	// Another cache behind the same address shows the old value once more.
	p.Note(0, said5(28*time.Second, "a.lab.test.", 2))
	if *p.P100 != 28*time.Second || !p.Wants(0) || p.Resolvers[0].Old != "a.lab.test." {
		t.Errorf("a second cache: %v %+v", *p.P100, p.Resolvers[0])
	}
	for i := range 3 {
		p.Note(0, said5(time.Duration(29+i)*time.Second, "b.lab.test.", 30))
	}
	if p.Wants(0) || len(p.Stragglers()) != 0 {
		t.Errorf("it is asked for ever: %+v %v", p.Resolvers[0], p.Stragglers())
	}
}

func TestResolversThatStretchTTLsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		stretches time.Duration
		answers   []PanelAnswer
		faults    []string
		expected  bool
	}{
		"keeps to the TTL":              {0, []PanelAnswer{said5(2*time.Second, "a.lab.test.", 30), said5(32*time.Second, "b.lab.test.", 60)}, nil, false},
		"a TTL that nobody served":      {0, []PanelAnswer{said5(2*time.Second, "b.lab.test.", 61)}, []string{"stretches TTLs: it answers with 61 s, no authority ever served more than 60 s"}, false},
		"the same, known":               {90 * time.Second, []PanelAnswer{said5(2*time.Second, "b.lab.test.", 61)}, []string{"stretches TTLs: it answers with 61 s, no authority ever served more than 60 s"}, true},
		"known, but not that far":       {60 * time.Second, []PanelAnswer{said5(2*time.Second, "b.lab.test.", 61)}, []string{"stretches TTLs"}, false},
		"old at the last moment":        {0, []PanelAnswer{said5(32*time.Second, "a.lab.test.", 0)}, nil, false},
		"old after it":                  {0, []PanelAnswer{said5(33*time.Second, "a.lab.test.", 0)}, []string{"shows a.lab.test. 2s after the last cache should have forgotten it"}, false},
		"old after it, known":           {time.Minute, []PanelAnswer{said5(33*time.Second, "a.lab.test.", 0)}, []string{"shows a.lab.test."}, true},
		"known, and later than known":   {time.Minute, []PanelAnswer{said5(33*time.Second, "a.lab.test.", 0), said5(90*time.Second, "a.lab.test.", 0)}, []string{"shows a.lab.test. 59s after"}, false},
		"asked in time, answered late":  {0, []PanelAnswer{{At: written.Add(34 * time.Second), Took: 3 * time.Second, Value: "a.lab.test."}}, nil, false},
		"both, the second beyond known": {62 * time.Second, []PanelAnswer{said5(2*time.Second, "a.lab.test.", 61), said5(90*time.Second, "a.lab.test.", 0)}, []string{"stretches TTLs", "shows a.lab.test."}, false},
	} {
		panel := panelOf("r1")
		panel[0].Stretches = tc.stretches
		p := NewPropagation(aSwitch, panel)
		for _, a := range tc.answers {
			p.Note(0, a)
		}
		r := p.Resolvers[0]
		if len(r.Faults) != len(tc.faults) || r.Expected != tc.expected {
			t.Errorf("%s: %+v", name, r)
			continue
		}
		for i, f := range tc.faults {
			if !strings.HasPrefix(r.Faults[i], f) || !strings.Contains(p.Stragglers()[i], "r1 "+f) || strings.Contains(p.Stragglers()[i], "as the config says") != tc.expected {
				t.Errorf("%s: %q, %q", name, r.Faults[i], p.Stragglers())
			}
		}
	}
}

// TestACurveOnlyGrows: whatever comes, percentiles are in order, and none is
// given for more resolvers than have shown the new value.
func TestACurveOnlyGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "resolvers")
		p := NewPropagation(aSwitch, panelOf(strings.Split(strings.Repeat("r ", n-1)+"r", " ")...))
		for s := range rapid.IntRange(0, 40).Draw(t, "answers") {
			a := said5(time.Duration(s+1)*time.Second, rapid.SampledFrom([]failover.Target{"a.lab.test.", "b.lab.test."}).Draw(t, "value"), rapid.Uint32Range(0, 100).Draw(t, "ttl"))
			if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
				a = PanelAnswer{At: a.At, Err: "SERVFAIL"}
			}
			p.Note(rapid.IntRange(0, n-1).Draw(t, "which"), a)
			has := 0
			for _, r := range p.Resolvers {
				if r.New != nil {
					has++
				}
			}
			if (p.P100 != nil) != (has == n) || (p.P50 != nil) != (2*has >= n) ||
				p.P95 != nil && (*p.P50 > *p.P95 || p.P100 != nil && *p.P95 > *p.P100) {
				t.Fatalf("%d of %d: %v %v %v", has, n, p.P50, p.P95, p.P100)
			}
		}
	})
}

func TestAResolverIsAskedAsClientsAskIt(t *testing.T) {
	for name, tc := range map[string]struct {
		edit    func(dns.ResponseWriter, *dns.Msg)
		records []string
		want    PanelAnswer
	}{
		"a CNAME and what it leads to": {nil, []string{showsB, "b.lab.test. 5 IN A 192.0.2.2"}, PanelAnswer{Value: "b.lab.test.", TTL: 30}},
		"nothing":                      {nil, nil, PanelAnswer{Err: "no CNAME"}},
		"NXDOMAIN":                     {func(_ dns.ResponseWriter, r *dns.Msg) { r.Rcode = dns.RcodeNameError }, nil, PanelAnswer{Err: "NXDOMAIN"}},
		"SERVFAIL":                     {func(_ dns.ResponseWriter, r *dns.Msg) { r.Rcode = dns.RcodeServerFailure }, nil, PanelAnswer{Err: "SERVFAIL"}},
		"cut over UDP":                 {func(w dns.ResponseWriter, r *dns.Msg) { r.Truncated = onUDP(w) }, []string{showsB}, PanelAnswer{Value: "b.lab.test.", TTL: 30}},
	} {
		asked := make(chan bool, 4)
		h := shows(t, tc.edit, tc.records...)
		at := authority(t, func(w dns.ResponseWriter, q *dns.Msg) {
			asked <- q.RecursionDesired
			h(w, q)
		})
		got := AskResolver(t.Context(), at, orders, 20*time.Second)
		if !<-asked {
			t.Errorf("%s: it was not asked to recurse", name)
		}
		if got.At.IsZero() {
			t.Errorf("%s: without its time", name)
		}
		got.At, got.Took = time.Time{}, 0
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
	silent := authority(t, func(dns.ResponseWriter, *dns.Msg) {})
	if got := AskResolver(t.Context(), silent, orders, 100*time.Millisecond); got.Err != "no answer in time" {
		t.Errorf("silent: %+v", got)
	}
}

func TestSurveyHasEveryAddressWithItsSerialAndMachine(t *testing.T) {
	serves := func(serial, ttl, value, id string) netip.AddrPort {
		return authority(t, func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Qtype == dns.TypeSOA {
				shows(t, nil, "lab.test. 30 IN SOA ns1.lab.test. h.lab.test. "+serial+" 300 60 604800 30")(w, q)
				return
			}
			shows(t, func(_ dns.ResponseWriter, r *dns.Msg) {
				if q.IsEdns0() == nil || len(q.IsEdns0().Option) != 1 {
					t.Error("it was not asked who it is")
				}
				r.SetEdns0(1232, false)
				r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: id}}
			}, "orders.lab.test. "+ttl+" IN CNAME "+value)(w, q)
		})
	}
	good, stale := serves("8", "30", "b.lab.test.", "6e7331"), serves("7", "600", "a.lab.test.", "00ff")
	names := []VerifyName{{Name: orders, Zone: "lab.test.", Want: targetB, Authorities: []netip.AddrPort{good, stale}}}
	got, sights := Survey(t.Context(), names, VerifyConfig{Serials: true})
	if a := got[orders]; a.Agree || a.Agreeing != 2 || a.MaxTTL != 600 ||
		len(a.Served) != 2 || a.Served[0].TTL+a.Served[1].TTL != 630 {
		t.Errorf("%+v", got[orders])
	}
	if len(sights[orders]) != 4 {
		t.Fatalf("%+v", sights)
	}
	for _, s := range sights[orders] {
		want := Sight{At: good, Net: s.Net, Agree: true, Value: "b.lab.test.", TTL: 30, AA: true, Rcode: "NOERROR", NSID: "ns1", Serial: 8}
		if s.At == stale {
			want = Sight{At: stale, Net: s.Net, Why: "a.lab.test.", Value: "a.lab.test.", TTL: 600, AA: true, Rcode: "NOERROR", NSID: "0x00ff", Serial: 7}
		}
		if s.Heard.IsZero() {
			t.Errorf("without its time: %+v", s)
		}
		s.Heard, s.Took = time.Time{}, 0
		if s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	}
	if _, sights = Survey(t.Context(), names, VerifyConfig{}); sights[orders][0].Serial != 0 {
		t.Errorf("a serial that nobody asked for: %+v", sights[orders][0])
	}
}

// FuzzNSID: whatever stands in an answer, the name of the machine is printable.
func FuzzNSID(f *testing.F) {
	for _, id := range []string{"6e7331", "00ff", "", "zz", strings.Repeat("41", 300)} {
		m := new(dns.Msg).SetQuestion("x.", dns.TypeCNAME)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: id}}
		if wire, err := m.Pack(); err == nil {
			f.Add(wire)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		for _, c := range nsid(m) {
			if c > unicode.MaxASCII && c != '…' || !unicode.IsPrint(c) {
				t.Errorf("%q", nsid(m))
			}
		}
	})
}
