package authority

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// plain answers the lab's zones the slow and obvious way: every record in one
// list, searched from end to end, SetReply and Pack. It shares nothing with
// the server but the checklist.
type plain struct {
	zones   []string
	soas    map[string]*dns.SOA
	records []dns.RR
	managed map[string]bool // every managed name and mark, published or not
}

func newPlain(cfg Config, c committed) *plain {
	p := &plain{soas: make(map[string]*dns.SOA), managed: make(map[string]bool)}
	rr := func(text string) dns.RR {
		out, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		return out
	}
	for _, z := range cfg.withDefaults().Zones {
		n := string(z.Name)
		p.zones = append(p.zones, n)
		soa := rr(n + " 0 IN SOA " + string(z.NS[0]) + " " + string(z.Hostmaster) + " 0 0 0 0 0").(*dns.SOA)
		soa.Hdr.Ttl, soa.Serial, soa.Refresh, soa.Retry, soa.Expire, soa.Minttl = z.TTL, firstSerial, z.Refresh, z.Retry, z.Expire, z.Minimum
		p.soas[n] = soa
		for _, ns := range z.NS {
			p.add(rr(n+" 0 IN NS "+string(ns)), z.TTL)
		}
		for h, as := range z.Hosts {
			for _, a := range as {
				kind := " 0 IN A "
				if a.Is6() {
					kind = " 0 IN AAAA "
				}
				p.add(rr(string(h)+kind+a.String()), z.TTL)
			}
		}
		for _, m := range z.Names {
			p.managed[string(m)], p.managed["_pointsman."+string(m)] = true, true
		}
	}
	for _, r := range c.records {
		for _, n := range r.Names {
			p.add(rr(string(n.Name)+" 0 IN CNAME "+string(n.Value)), n.TTL)
			p.add(rr("_pointsman."+string(n.Name)+` 0 IN TXT "`+n.Mark.String()+`"`), n.TTL)
		}
	}
	return p
}

func (p *plain) add(rr dns.RR, ttl uint32) {
	rr.Header().Ttl = ttl
	p.records = append(p.records, rr)
}

func (p *plain) zone(name string) string {
	for _, z := range p.zones {
		if dns.IsSubDomain(z, name) {
			return z
		}
	}
	return ""
}

func (p *plain) at(name string, want func(uint16) bool) (out []dns.RR) {
	for _, rr := range p.records {
		if rr.Header().Name == name && want(rr.Header().Rrtype) {
			out = append(out, rr)
		}
	}
	return out
}

func (p *plain) exists(name string) bool {
	below := func(n string) bool { return dns.IsSubDomain(name, n) }
	for _, rr := range p.records {
		if below(rr.Header().Name) {
			return true
		}
	}
	for m := range p.managed {
		if below(m) {
			return true
		}
	}
	return p.soas[name] != nil
}

// reply answers a message that passed the header's screening.
func (p *plain) reply(r *dns.Msg, over transport) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(r)
	m.CheckingDisabled = r.CheckingDisabled
	m.Compress = true
	limit, rcode := over.limit(), dns.RcodeSuccess
	var opts []*dns.OPT
	server := ""
	for _, x := range r.Extra {
		if o, ok := x.(*dns.OPT); ok {
			opts = append(opts, o)
		}
	}
	if len(r.Question) != 1 {
		m.Question, m.Rcode = nil, dns.RcodeFormatError
		return m
	}
	if len(opts) > 0 {
		o := opts[len(opts)-1]
		if over == overUDP {
			limit = min(1232, max(512, int(o.UDPSize())))
		}
		if o.Version() != 0 {
			rcode = dns.RcodeBadVers
		}
		if cookie, ok := firstCookie(opts); ok && len(cookie) != 16 && (len(cookie) < 32 || len(cookie) > 80) {
			rcode = dns.RcodeFormatError
		} else if ok {
			server = cookie[:16] + blankCookie
		}
		for _, o := range opts {
			if len(opts) > 1 || o.Hdr.Name != "." {
				rcode = dns.RcodeFormatError
			}
		}
	}
	q := m.Question[0]
	q.Name = strings.ToLower(q.Name)
	m.Question = []dns.Question{q}
	if rcode == dns.RcodeSuccess {
		switch {
		case q.Qclass != dns.ClassINET || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR:
			rcode = dns.RcodeRefused
		case q.Qtype == dns.TypeOPT || q.Qtype == dns.TypeTKEY || q.Qtype == dns.TypeTSIG:
			rcode = dns.RcodeFormatError
		case q.Qtype == dns.TypeMAILA || q.Qtype == dns.TypeMAILB:
			rcode = dns.RcodeNotImplemented
		default:
			rcode = p.data(m, q)
		}
	}
	m.Rcode = rcode
	if len(opts) > 0 {
		o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		o.SetUDPSize(1232)
		if opts[len(opts)-1].Do() {
			o.SetDo()
		}
		o.SetExtendedRcode(uint16(rcode))
		if server != "" {
			o.Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: server}}
		}
		m.Extra = append(m.Extra, o)
	}
	noGlue := slices.DeleteFunc(slices.Clone(m.Extra), func(x dns.RR) bool { return x.Header().Rrtype != dns.TypeOPT })
	if m.Len() > limit {
		m.Extra = noGlue
	}
	if m.Len() > limit {
		m.Truncated, m.Answer, m.Ns = true, nil, nil
	}
	return m
}

// blankCookie stands for any server cookie of the right length.
var blankCookie = strings.Repeat("0", 32)

func firstCookie(opts []*dns.OPT) (string, bool) {
	for _, o := range opts {
		for _, x := range o.Option {
			if c, ok := x.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie, true
			}
		}
	}
	return "", false
}

// blank takes the time out of the cookie of an answer.
func blank(m *dns.Msg) {
	o := m.IsEdns0()
	if o == nil {
		return
	}
	for _, x := range o.Option {
		if c, ok := x.(*dns.EDNS0_COOKIE); ok && len(c.Cookie) == 48 {
			c.Cookie = c.Cookie[:16] + blankCookie
		}
	}
}

func (p *plain) data(m *dns.Msg, q dns.Question) int {
	name := q.Name
	no := func(rcode int) int {
		soa := *p.soas[p.zone(name)]
		soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
		m.Ns = []dns.RR{&soa}
		return rcode
	}
	if p.zone(name) == "" {
		return dns.RcodeRefused
	}
	m.Authoritative = true
	for range 8 {
		if p.zone(name) == "" {
			return dns.RcodeSuccess
		}
		if !p.exists(name) {
			return no(dns.RcodeNameError)
		}
		if p.managed[name] && len(p.at(name, func(uint16) bool { return true })) == 0 {
			if len(m.Answer) > 0 {
				return dns.RcodeSuccess
			}
			m.Authoritative = false
			return dns.RcodeServerFailure
		}
		if c := p.at(name, func(t uint16) bool { return t == dns.TypeCNAME }); len(c) > 0 {
			m.Answer = append(m.Answer, c[0])
			if q.Qtype == dns.TypeCNAME || q.Qtype == dns.TypeANY {
				return dns.RcodeSuccess
			}
			name = c[0].(*dns.CNAME).Target
			continue
		}
		break
	}
	if soa := p.soas[name]; soa != nil && (q.Qtype == dns.TypeSOA || q.Qtype == dns.TypeANY) {
		m.Answer = append(m.Answer, soa)
		return dns.RcodeSuccess
	}
	want := q.Qtype
	if want == dns.TypeANY {
		for _, t := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT} {
			if len(p.at(name, func(x uint16) bool { return x == t })) > 0 {
				want = t
				break
			}
		}
	}
	found := p.at(name, func(t uint16) bool { return t == want })
	if len(found) == 0 {
		return no(dns.RcodeSuccess)
	}
	m.Answer = append(m.Answer, found...)
	if want == dns.TypeNS {
		for _, ns := range found {
			m.Extra = append(m.Extra, p.at(ns.(*dns.NS).Ns, func(t uint16) bool { return t == dns.TypeA || t == dns.TypeAAAA })...)
		}
	}
	return dns.RcodeSuccess
}

// meaning is what a message says, whatever its spelling and order.
func meaning(m *dns.Msg) string {
	var b strings.Builder
	h := m.MsgHdr
	if o := m.IsEdns0(); o != nil {
		h.Rcode = h.Rcode&0xF | o.ExtendedRcode()
	}
	b.WriteString(h.String())
	for _, q := range m.Question {
		b.WriteString("? " + q.String() + "\n")
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		var lines []string
		for _, rr := range section {
			lines = append(lines, strings.ToLower(rr.String()))
		}
		slices.Sort(lines)
		b.WriteString("-- " + strings.Join(lines, "\n   ") + "\n")
	}
	return strings.ToLower(b.String())
}

func TestPlainAnswersAreTheSameAsPackedOnes(t *testing.T) {
	s, p := newLab(t), newPlain(labConfig(), labCommitted())
	pipes := newPipes(t, s)
	names := []string{
		".", "test.", "lab.test.", "LAB.test.", "example.", "orders.lab.test.", "OrDeRs.LaB.tEsT.", "vpc.orders.lab.test.",
		"_pointsman.orders.lab.test.", "_pointsman.fresh.lab.test.", "_pointsman.lab.test.", "fresh.lab.test.", "down.lab.test.",
		"deep.down.lab.test.", "x.deep.down.lab.test.", "chain.lab.test.", "n.second.test.", "second.test.", "a.lab.test.", "six.lab.test.",
		"b.lab.test.", "many.lab.test.", "ns1.lab.test.", "none.lab.test.", "a.b.c.none.lab.test.", `a\.b.lab.test.`, `\000\255.lab.test.`,
		longHost + longHost + longHost + "lab.test.", "*.lab.test.", "below.orders.lab.test.",
	}
	types := []uint16{0, dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeANY, dns.TypeMX, dns.TypeHTTPS, dns.TypeDS, dns.TypeRRSIG, dns.TypeAXFR, dns.TypeIXFR, dns.TypeOPT, dns.TypeMAILB, 65280}
	for _, name := range names {
		for _, qtype := range types {
			for _, size := range []uint16{0, 1, 600, 4096} {
				m := question(name, qtype)
				m.RecursionDesired = size == 600
				if size > 0 {
					m.SetEdns0(size, size == 600)
				}
				wire, err := m.Pack()
				if err != nil {
					t.Fatal(err)
				}
				pipes.compare(t, p, wire)
			}
		}
	}
}
