package alicloud

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// VPC is a network with the resolver that its machines ask.
type VPC struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Region string `json:"region"` // cn-hangzhou if empty
	Listen string `json:"listen"` // of its resolver; 127.0.0.1:0 if empty
	// Upstream is the address of the resolver that is asked for what no
	// private zone holds; SERVFAIL if empty. The word self is the first
	// authority of this server.
	Upstream string `json:"upstream"`
}

type vpc struct {
	VPC
	servers []*dns.Server
	addr    string
	cache   map[string]cached // of standard zones
}

// cached is an answer that a resolver keeps.
type cached struct {
	rrs   []dns.RR
	rcode int
	at    time.Time
	until time.Time
}

// Resolver is the address, host and port, of the resolver of a network; empty
// for one that is not there.
func (s *Server) Resolver(vpcID string) string {
	if v := s.vpc(vpcID); v != nil {
		return v.addr
	}
	return ""
}

func (s *Server) vpc(id string) *vpc {
	for _, v := range s.vpcs {
		if v.ID == id {
			return v
		}
	}
	return nil
}

// upstreamTimeout bounds one question to the resolver upstream.
const upstreamTimeout = 2 * time.Second

// answerVPC is the handler of the resolver of a network: private zones that are
// bound to it first, then its upstream. A name that leads out of a private zone
// is followed.
func (s *Server) answerVPC(v *vpc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.RecursionAvailable = true
		if reply(q, m, nil) {
			s.resolve(v, q.Question[0], m)
		}
		send(w, q, m)
	}
}

func (s *Server) resolve(v *vpc, q dns.Question, m *dns.Msg) {
	for range 8 {
		s.mu.Lock()
		mine, next := s.private(v, q, m)
		s.mu.Unlock()
		if !mine {
			s.forward(v, q, m)
			return
		}
		if next == "" {
			return
		}
		q.Name = next
	}
	m.Rcode = dns.RcodeServerFailure
}

// private answers from a private zone and says whether it was one's, and the
// name outside of the zone that has to be asked next. s.mu is held.
func (s *Server) private(v *vpc, q dns.Question, m *dns.Msg) (mine bool, next string) {
	name := canonical(q.Name)
	z := s.closest(name, func(z *zone) bool { return z.Private && slices.Contains(z.VPCs, v.ID) })
	if z == nil || q.Qclass != dns.ClassINET {
		return false, ""
	}
	now := s.now()
	w := s.viewAt(z, now, "default")
	// With the proxy on private wildcards stop working, as the vendor warns.
	w.wild = z.ProxyPattern != "RECORD"
	key := strings.Join([]string{z.ID, name, dns.TypeToString[q.Qtype]}, " ")
	part := new(dns.Msg)
	if c, ok := v.cache[key]; ok && z.Standard && now.Before(c.until) {
		part.Rcode = c.rcode
		for _, rr := range c.rrs {
			rr = dns.Copy(rr)
			rr.Header().Ttl -= min(rr.Header().Ttl, uint32(now.Sub(c.at).Seconds()))
			part.Answer = append(part.Answer, rr)
		}
	} else {
		w.answer(part, q)
		if z.Standard {
			v.keep(key, part, now)
		}
	}
	if part.Rcode == dns.RcodeNameError && len(part.Answer) == 0 && z.ProxyPattern == "RECORD" {
		return false, ""
	}
	m.Rcode = part.Rcode
	m.Answer = append(m.Answer, part.Answer...)
	if len(part.Answer) == 0 {
		m.Ns = part.Ns
		return true, ""
	}
	last, ok := part.Answer[len(part.Answer)-1].(*dns.CNAME)
	if !ok || q.Qtype == dns.TypeCNAME {
		return true, ""
	}
	target := canonical(last.Target)
	if s.closest(target, func(o *zone) bool { return o == z }) == nil {
		return true, last.Target
	}
	return true, ""
}

// keep caches an answer for its TTL, as the resolvers of standard zones do.
func (v *vpc) keep(key string, m *dns.Msg, now time.Time) {
	if len(v.cache) > 10_000 {
		clear(v.cache)
	}
	ttl := uint32(maxTTL)
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		ttl = min(ttl, rr.Header().Ttl)
	}
	v.cache[key] = cached{rrs: m.Answer, rcode: m.Rcode, at: now, until: now.Add(time.Duration(ttl) * time.Second)}
}

// forward asks upstream and takes its answer over.
func (s *Server) forward(v *vpc, q dns.Question, m *dns.Msg) {
	m.Rcode = dns.RcodeServerFailure
	if v.Upstream == "" {
		return
	}
	ask := new(dns.Msg)
	ask.Id, ask.RecursionDesired, ask.Question = dns.Id(), true, []dns.Question{q}
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, Timeout: upstreamTimeout}
		r, _, err := c.ExchangeContext(s.ctx, ask, v.Upstream)
		if err != nil {
			return
		}
		if r.Truncated && network == "udp" {
			continue
		}
		m.Rcode = r.Rcode
		m.Answer = append(m.Answer, r.Answer...)
		m.Ns = append(m.Ns, r.Ns...)
		return
	}
}

// startDNS opens the authorities and the resolvers.
func (s *Server) startDNS() error {
	list := s.opts.Authorities
	if list == nil {
		list = []Authority{{}, {}}
	}
	for i, a := range list {
		if a.Line != "" && !knownLine(a.Line) {
			return fmt.Errorf("authority %d: no line %q", i, a.Line)
		}
		one := &authority{Authority: a, frozenAt: s.now()}
		var err error
		if one.servers, one.addr, err = s.listenDNS(a.Listen, s.answerDNS(one)); err != nil {
			return fmt.Errorf("authority %d: %w", i, err)
		}
		s.authorities = append(s.authorities, one)
	}
	for _, n := range s.opts.Subnets {
		if !knownLine(n.Line) {
			return fmt.Errorf("subnet %s: no line %q", n.Prefix, n.Line)
		}
	}
	for _, o := range s.opts.VPCs {
		if o.ID == "" || s.vpc(o.ID) != nil {
			return fmt.Errorf("network %q: an ID of its own is needed", o.ID)
		}
		v := &vpc{VPC: o, cache: map[string]cached{}}
		v.Region = cmp.Or(v.Region, "cn-hangzhou")
		if v.Upstream == "self" {
			if len(s.authorities) == 0 {
				return fmt.Errorf("network %s: upstream self, and there is no authority", o.ID)
			}
			v.Upstream = s.authorities[0].addr
		}
		var err error
		if v.servers, v.addr, err = s.listenDNS(o.Listen, s.answerVPC(v)); err != nil {
			return fmt.Errorf("resolver of network %s: %w", o.ID, err)
		}
		s.vpcs = append(s.vpcs, v)
	}
	return nil
}
