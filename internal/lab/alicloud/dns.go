package alicloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Authority is one address at which the public zones are answered.
type Authority struct {
	Listen string        `json:"listen"`   // ip:port, UDP and TCP; 127.0.0.1:0 if empty
	Delay  time.Duration `json:"delay_ns"` // how long a write takes to be seen here
	Frozen bool          `json:"frozen"`   // it goes on with what it had when it froze
	Silent bool          `json:"silent"`   // it does not answer
	// Line answers everybody as this line, whatever their address: a vantage
	// that has no address in the line's networks asks here.
	Line string `json:"line,omitempty"`
}

// Subnet says which line the clients of a network are on.
type Subnet struct {
	Prefix netip.Prefix `json:"prefix"`
	Line   string       `json:"line"`
}

type authority struct {
	Authority
	frozenAt time.Time
	servers  []*dns.Server
	addr     string
}

// Authorities are the addresses, host and port, in the order of the options.
func (s *Server) Authorities() []string {
	var out []string
	for _, a := range s.authorities {
		out = append(out, a.addr)
	}
	return out
}

// SetAuthority changes delay, line, frozen and silent of the authority of this
// index; its address stays.
func (s *Server) SetAuthority(i int, to Authority) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < 0 || i >= len(s.authorities) {
		return fmt.Errorf("authority %d: there are %d", i, len(s.authorities))
	}
	if to.Line != "" && !knownLine(to.Line) {
		return fmt.Errorf("authority %d: no line %q", i, to.Line)
	}
	a := s.authorities[i]
	if to.Frozen && !a.Frozen {
		a.frozenAt = s.now().Add(-a.Delay)
	}
	to.Listen = a.Listen
	a.Authority = to
	return nil
}

// listenDNS opens one address for UDP and TCP.
func (s *Server) listenDNS(listen string, h dns.HandlerFunc) ([]*dns.Server, string, error) {
	listen = cmp.Or(listen, "127.0.0.1:0")
	var errs error
	for range 20 { // port 0 may be free for TCP and taken for UDP
		ln, err := net.Listen("tcp", listen)
		if err != nil {
			return nil, "", err
		}
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		if err != nil {
			_ = ln.Close()
			errs = errors.Join(errs, err)
			continue
		}
		servers := []*dns.Server{{Listener: ln, Handler: h}, {PacketConn: pc, Handler: h, UDPSize: 4096}}
		for _, srv := range servers {
			up := make(chan struct{})
			srv.NotifyStartedFunc = func() { close(up) }
			s.done.Go(func() { _ = srv.ActivateAndServe() })
			<-up
		}
		return servers, ln.Addr().String(), nil
	}
	return nil, "", errs
}

func closeDNS(servers []*dns.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // clients that hold connections open are not waited for
	for _, srv := range servers {
		_ = srv.ShutdownContext(ctx)
	}
}

// answerDNS is the handler of one authority.
func (s *Server) answerDNS(a *authority) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		s.mu.Lock()
		silent := a.Silent
		if !silent {
			s.authoritative(a, w.RemoteAddr(), q, m)
		}
		s.mu.Unlock()
		if silent {
			return
		}
		send(w, q, m)
	}
}

// send fits an answer to the transport and the client.
func send(w dns.ResponseWriter, q, m *dns.Msg) {
	size := dns.MinMsgSize
	if o := q.IsEdns0(); o != nil {
		size = max(size, min(1232, int(o.UDPSize())))
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); !udp {
		size = dns.MaxMsgSize
	}
	m.Compress = true
	m.Truncate(size)
	_ = w.WriteMsg(m)
}

// authoritative fills the answer of an authority. s.mu is held.
func (s *Server) authoritative(a *authority, from net.Addr, q, m *dns.Msg) {
	line, scope := s.lineOf(a, from, q)
	if !reply(q, m, scope) {
		return
	}
	name := canonical(q.Question[0].Name)
	z := s.closest(name, func(z *zone) bool { return !z.Private })
	if z == nil || q.Question[0].Qclass != dns.ClassINET {
		m.Rcode = dns.RcodeRefused
		return
	}
	at := s.now().Add(-a.Delay)
	if a.Frozen {
		at = a.frozenAt
	}
	m.Authoritative = true
	v := s.viewAt(z, at, line)
	v.answer(m, q.Question[0])
}

// reply takes care of EDNS and says whether there is still something to answer.
func reply(q, m *dns.Msg, scope *dns.EDNS0_SUBNET) bool {
	if o := q.IsEdns0(); o != nil {
		r := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		r.SetUDPSize(1232)
		if o.Do() {
			r.SetDo()
		}
		if scope != nil {
			r.Option = append(r.Option, scope)
		}
		m.Extra = append(m.Extra, r)
		if o.Version() != 0 {
			m.Rcode = dns.RcodeBadVers
			return false
		}
	}
	switch {
	case q.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeNotImplemented
	case len(q.Question) != 1:
		m.Rcode = dns.RcodeFormatError
	case q.Question[0].Qtype == dns.TypeAXFR || q.Question[0].Qtype == dns.TypeIXFR:
		m.Rcode = dns.RcodeRefused
	default:
		return true
	}
	return false
}

// lineOf finds the line of a client: that of the authority if it has one, else
// that of the client subnet that the query carries (RFC 7871), else that of the
// address it came from.
func (s *Server) lineOf(a *authority, from net.Addr, q *dns.Msg) (string, *dns.EDNS0_SUBNET) {
	var addr netip.Addr
	var ecs *dns.EDNS0_SUBNET
	if ap, err := netip.ParseAddrPort(from.String()); err == nil {
		addr = ap.Addr().Unmap()
	}
	if o := q.IsEdns0(); o != nil {
		for _, e := range o.Option {
			if e, ok := e.(*dns.EDNS0_SUBNET); ok {
				if ip, ok := netip.AddrFromSlice(e.Address); ok {
					addr = ip.Unmap()
				}
				ecs = &dns.EDNS0_SUBNET{Code: e.Code, Family: e.Family, SourceNetmask: e.SourceNetmask, Address: e.Address}
			}
		}
	}
	line, bits := "default", -1
	for _, n := range s.opts.Subnets {
		if n.Prefix.Contains(addr) && n.Prefix.Bits() > bits {
			line, bits = n.Line, n.Prefix.Bits()
		}
	}
	if ecs != nil {
		ecs.SourceScope = uint8(max(bits, 0))
	}
	return cmp.Or(a.Line, line), ecs
}

// closest is the zone that a name is in, of those that are meant.
func (s *Server) closest(name string, meant func(*zone) bool) *zone {
	var best *zone
	for _, z := range s.zones {
		ascii := punyCode(z.Name)
		if meant(z) && (name == ascii || strings.HasSuffix(name, "."+ascii)) && (best == nil || len(ascii) > len(punyCode(best.Name))) {
			best = z
		}
	}
	return best
}

// view is a zone at a moment for the clients of a line.
type view struct {
	s       *Server
	z       *zone
	apex    string
	records []*Record // enabled ones
	serial  uint32
	lines   []string // the line and the wider ones
	wild    bool     // whether wildcards count
}

func (s *Server) viewAt(z *zone, at time.Time, line string) *view {
	seen := z.seenAt(at)
	v := &view{s: s, z: z, apex: punyCode(z.Name), serial: seen.serial, lines: widening(line), wild: true}
	for _, r := range seen.records {
		if !r.Disabled {
			v.records = append(v.records, r)
		}
	}
	return v
}

// answer fills in the answer to a question inside the zone.
func (v *view) answer(m *dns.Msg, q dns.Question) {
	name, owner := canonical(q.Name), q.Name
	for range 8 { // links of a chain inside the zone
		own, exists := v.at(name)
		got, next := v.pick(own, owner, q.Qtype)
		if name == v.apex && len(got) == 0 {
			got = v.apexRecords(q.Qtype)
		}
		m.Answer = append(m.Answer, got...)
		switch {
		case next != "":
			target := canonical(next)
			if target != v.apex && !strings.HasSuffix(target, "."+v.apex) {
				return
			}
			name, owner = target, next
			continue
		case len(got) == 0:
			if !exists {
				m.Rcode = dns.RcodeNameError
			}
			m.Ns = append(m.Ns, v.soa())
		}
		return
	}
	m.Rcode = dns.RcodeServerFailure
}

// at is what a name owns, and whether there is such a name.
func (v *view) at(name string) (own []*Record, exists bool) {
	if own, exists = v.exactly(name); exists || !v.wild {
		return own, exists
	}
	for name != v.apex {
		_, parent, _ := strings.Cut(name, ".")
		if wild, ok := v.exactly("*." + parent); ok {
			return wild, true
		}
		if _, ok := v.exactly(parent); ok {
			return nil, false // RFC 4592: the closest encloser has no wildcard
		}
		name = parent
	}
	return nil, false
}

func (v *view) exactly(name string) (own []*Record, exists bool) {
	exists = name == v.apex
	for _, r := range v.records {
		full := v.name(r.RR)
		switch {
		case full == name:
			own, exists = append(own, r), true
		case strings.HasSuffix(full, "."+name):
			exists = true
		}
	}
	return own, exists
}

// name is the full name of an RR as DNS has it.
func (v *view) name(rr string) string {
	if rr == "@" {
		return v.apex
	}
	return strings.ToLower(punyCode(rr)) + "." + v.apex
}

// pick takes the records of the narrowest line that has the type or a CNAME,
// and of these what is answered now. next is the target of a CNAME that has to
// be followed.
func (v *view) pick(own []*Record, owner string, qtype uint16) (out []dns.RR, next string) {
	kind := dns.TypeToString[qtype]
	for _, line := range v.lines {
		var list []*Record
		cname := false
		for _, r := range own {
			if r.Line == line && (r.Type == kind || r.Type == "CNAME" || qtype == dns.TypeANY) {
				list = append(list, r)
				cname = cname || r.Type == "CNAME"
			}
		}
		if len(list) == 0 {
			continue
		}
		if cname {
			list = slices.DeleteFunc(list, func(r *Record) bool { return r.Type != "CNAME" })
		}
		list = v.weigh(list, cname)
		for _, r := range list {
			if rr := r.rr(owner); rr != nil {
				out = append(out, rr)
			}
		}
		if cname && len(list) == 1 && qtype != dns.TypeCNAME && qtype != dns.TypeANY {
			next = dns.Fqdn(list[0].Value)
		}
		return out, next
	}
	return nil, ""
}

// weigh chooses among several records of one name and line. With weights on
// one is answered at a time, in turn, each as often as its weight says; weight
// 0 never. Without weights all are answered, but of CNAMEs the oldest alone.
func (v *view) weigh(list []*Record, cname bool) []*Record {
	if len(list) == 0 {
		return nil
	}
	key := set{strings.ToLower(list[0].RR), list[0].Type, list[0].Line}
	if !v.z.open[key] && (!v.z.Private || !cname) {
		if cname {
			return list[:1]
		}
		return list
	}
	total := 0
	for _, r := range list {
		total += r.Weight
	}
	if total == 0 {
		return nil
	}
	turn := v.z.turns[key] % total
	v.z.turns[key]++
	for i, r := range list {
		if turn < r.Weight {
			return list[i : i+1]
		}
		turn -= r.Weight
	}
	return nil
}

// rr is the record as DNS carries it; nil for a type that DNS does not know.
func (r *Record) rr(owner string) dns.RR {
	value := r.Value
	switch r.Type {
	case "A", "AAAA", "SRV", "CAA", "SVCB", "HTTPS":
	case "CNAME", "NS", "PTR":
		value = dns.Fqdn(punyCode(value))
	case "MX":
		value = strconv.FormatInt(r.Priority, 10) + " " + dns.Fqdn(punyCode(value))
	case "TXT":
		var parts []string
		for text := r.Value; ; {
			n := min(255, len(text))
			parts = append(parts, strconv.Quote(text[:n]))
			if text = text[n:]; text == "" {
				break
			}
		}
		value = strings.Join(parts, " ")
	default:
		return nil
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", dns.Fqdn(owner), r.TTL, r.Type, value))
	if err != nil {
		return nil
	}
	return rr
}

func (v *view) apexRecords(qtype uint16) []dns.RR {
	switch qtype {
	case dns.TypeSOA, dns.TypeANY:
		return []dns.RR{v.soa()}
	case dns.TypeNS:
		var out []dns.RR
		for _, n := range v.s.nameServers() {
			out = append(out, &dns.NS{
				Hdr: dns.RR_Header{Name: dns.Fqdn(v.apex), Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 86400}, Ns: dns.Fqdn(n),
			})
		}
		return out
	}
	return nil
}

// soa has the negative TTL that the vendor's have, ten minutes.
func (v *view) soa() dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: dns.Fqdn(v.apex), Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 600},
		Ns:  dns.Fqdn(v.s.nameServers()[0]), Mbox: "hostmaster.hichina.com.", Serial: v.serial,
		Refresh: 3600, Retry: 1200, Expire: 86400, Minttl: 600,
	}
}
