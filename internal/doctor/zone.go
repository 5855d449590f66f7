package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// ZoneFacts is what was seen of one zone and of the way to it.
type ZoneFacts struct {
	Zone       string
	Parent     string // the zone above it; empty: none was found
	ParentErr  string // why not
	Parents    []ParentFacts
	Hosts      map[string][]netip.Addr // of every server that parent or zone names
	HostErr    map[string]string
	Listed     []netip.AddrPort // the authorities that the config lists; none: they are found by name
	Servers    []ServerFacts
	Undirected string // why nobody was asked: there is no address to ask at
}

// ParentFacts is what one server of the parent zone says of the delegation.
type ParentFacts struct {
	At  netip.AddrPort
	NS  []string // sorted; none: it does not delegate the zone
	Err string
}

// ServerFacts is one address of one authority.
type ServerFacts struct {
	At       netip.AddrPort
	UDP, TCP SOAFacts
	NS       []string // sorted, of the apex
}

// Answers says that it can be asked for what stands in the zone.
func (s *ServerFacts) Answers() bool { return s.UDP.good() || s.TCP.good() }

// SOAFacts is what the SOA of an authority said over one transport.
type SOAFacts struct {
	Err     string // no usable answer
	Route   bool   // with Err: this host has no route to it
	AA      bool
	Rcode   string // when it is not NOERROR
	Serial  uint32
	TTL     uint32 // seconds, of the SOA record itself
	Minimum uint32 // seconds
}

// Negative is how long the absence of a name is remembered, in seconds: the
// lesser of the SOA's own TTL and its last field (RFC 2308 section 5).
func (s SOAFacts) Negative() uint32 { return min(s.TTL, s.Minimum) }

// good says that it answered as an authority.
func (s SOAFacts) good() bool { return s.Err == "" && s.AA && s.Rcode == "" }

// mostParents bounds how many servers of a parent are asked: com. has 26
// addresses that say the same.
const mostParents = 4

// SurveyZone asks parent and authorities of a zone. listed are the addresses
// that the config has for them; none means that the delegation is followed.
func (a Asker) SurveyZone(ctx context.Context, zone string, listed []netip.AddrPort) ZoneFacts {
	z := ZoneFacts{Zone: low(zone), Listed: listed, Hosts: map[string][]netip.Addr{}, HostErr: map[string]string{}}
	share(ctx, 3, func(ctx context.Context) { a.parent(ctx, &z) })
	var named []string
	for _, p := range z.Parents {
		named = append(named, p.NS...)
	}
	at := slices.Clone(listed)
	if len(listed) == 0 {
		if len(named) == 0 { // the parent cannot be asked; a resolver may know all the same
			named = a.nsOf(ctx, z.Zone)
		}
		share(ctx, 3, func(ctx context.Context) { a.hosts(ctx, &z, named) })
		for _, addrs := range z.Hosts {
			for _, ip := range addrs {
				at = append(at, netip.AddrPortFrom(ip, a.port()))
			}
		}
	}
	slices.SortFunc(at, netip.AddrPort.Compare)
	at = slices.Compact(at)
	if len(at) == 0 {
		z.Undirected = "neither the config nor the delegation leads to an address of an authority"
	}
	z.Servers = make([]ServerFacts, len(at))
	var g errgroup.Group
	g.SetLimit(defaultConcurrent)
	share(ctx, 2, func(ctx context.Context) {
		for i, server := range at {
			g.Go(func() error { z.Servers[i] = a.surveyServer(ctx, z.Zone, server); return nil })
		}
		_ = g.Wait() // what could not be asked is a fact
	})
	for _, s := range z.Servers {
		named = append(named, s.NS...)
	}
	share(ctx, 2, func(ctx context.Context) { a.hosts(ctx, &z, named) })
	return z
}

// share does a part within its share of the time that is left: a world that is
// slow at one thing must not take the time from all that comes after it, whose
// silence would be called a fault of it.
func share(ctx context.Context, parts int, do func(context.Context)) {
	if end, ok := ctx.Deadline(); ok {
		limited, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(parts))
		defer cancel()
		ctx = limited
	}
	do(ctx)
}

// parent finds the zone above and asks its servers for the delegation.
func (a Asker) parent(ctx context.Context, z *ZoneFacts) {
	above, servers := z.Zone, []string(nil)
	for len(servers) == 0 {
		if above == "." {
			z.ParentErr = "no resolver knows a zone above it"
			return
		}
		_, rest, _ := strings.Cut(above, ".")
		above = dns.Fqdn(rest)
		r, err := a.resolve(ctx, above, dns.TypeNS)
		if err != nil {
			z.ParentErr = err.Error()
			return
		}
		servers = nsIn(r.Answer, above)
	}
	z.Parent = above
	for _, host := range servers {
		addrs, err := a.addresses(ctx, host)
		if err != nil || len(addrs) == 0 {
			continue // another of its servers will do
		}
		at := netip.AddrPortFrom(addrs[0], a.port())
		p := ParentFacts{At: at}
		r, err := a.put(ctx, at, z.Zone, dns.TypeNS, false)
		switch {
		case err != nil:
			p.Err = words(err)
		case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
			p.Err = dns.RcodeToString[r.Rcode]
		default: // a server of both zones answers; others refer
			p.NS = nsIn(append(slices.Clone(r.Answer), r.Ns...), z.Zone)
		}
		if z.Parents = append(z.Parents, p); len(z.Parents) == mostParents {
			break
		}
	}
	if len(z.Parents) == 0 {
		z.ParentErr = fmt.Sprintf("no server of %s has an address", above)
	}
}

func (a Asker) nsOf(ctx context.Context, zone string) []string {
	r, err := a.resolve(ctx, zone, dns.TypeNS)
	if err != nil {
		return nil
	}
	return nsIn(r.Answer, zone)
}

func nsIn(rrs []dns.RR, owner string) []string {
	var out []string
	for _, rr := range rrs {
		if ns, ok := rr.(*dns.NS); ok && low(ns.Hdr.Name) == owner {
			out = append(out, low(ns.Ns))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// hosts finds the addresses of servers that are not known yet.
func (a Asker) hosts(ctx context.Context, z *ZoneFacts, names []string) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(defaultConcurrent)
	slices.Sort(names)
	for _, host := range slices.Compact(names) {
		mu.Lock()
		_, known := z.Hosts[host]
		known = known || z.HostErr[host] != ""
		mu.Unlock()
		if known {
			continue
		}
		g.Go(func() error {
			addrs, err := a.addresses(ctx, host)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				z.HostErr[host] = err.Error()
				return nil
			}
			z.Hosts[host] = addrs
			return nil
		})
	}
	_ = g.Wait() // what has no address is a fact
}

func (a Asker) surveyServer(ctx context.Context, zone string, at netip.AddrPort) ServerFacts {
	s := ServerFacts{At: at}
	var g errgroup.Group
	g.Go(func() error { s.UDP = a.soa(ctx, zone, at, "udp"); return nil })
	g.Go(func() error { s.TCP = a.soa(ctx, zone, at, "tcp"); return nil })
	_ = g.Wait()
	if !s.Answers() {
		return s
	}
	if r, err := a.put(ctx, at, zone, dns.TypeNS, false); err == nil {
		s.NS = nsIn(r.Answer, zone)
	}
	return s
}

func (a Asker) soa(ctx context.Context, zone string, at netip.AddrPort, network string) SOAFacts {
	r, err := a.exchange(ctx, at, network, zone, dns.TypeSOA, false)
	if err != nil {
		return SOAFacts{Err: words(err), Route: noRoute(err)}
	}
	if network == "udp" && r.Truncated && len(r.Answer) == 0 {
		// It limits its answers and sends us to TCP, as it does its clients.
		if r, err = a.exchange(ctx, at, "tcp", zone, dns.TypeSOA, false); err != nil {
			return SOAFacts{Err: "over UDP it sends to TCP, and there: " + words(err)}
		}
	}
	f := SOAFacts{AA: r.Authoritative}
	if r.Rcode != dns.RcodeSuccess {
		f.Rcode = dns.RcodeToString[r.Rcode]
		return f
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok && low(soa.Hdr.Name) == zone {
			f.Serial, f.TTL, f.Minimum = soa.Serial, soa.Hdr.Ttl, soa.Minttl
			return f
		}
	}
	f.Err = "no SOA: it does not serve the zone"
	return f
}

func textsIn(rrs []dns.RR, owner string) []string {
	var out []string
	for _, rr := range rrs {
		if txt, ok := rr.(*dns.TXT); ok && low(txt.Hdr.Name) == owner {
			out = append(out, strings.Join(txt.Txt, ""))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
