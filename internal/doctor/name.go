package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// NamePlan is what the config wants of one name.
type NamePlan struct {
	Name    string
	Zone    string
	TTL     uint32 // seconds, of the policy
	By      string // the controller's name, as it stands in marks
	Targets map[string]NameTarget
	// Overridden: no authority shows it, only resolvers do, so that these are
	// asked, with recursion.
	Overridden bool
	MarkAt     string // where the mark of this program stands; empty: _pointsman. before the name
}

// markAt is where the mark of this program stands.
func (p *NamePlan) markAt() string { return orElse(p.MarkAt, ourPlace(p.Name)) }

// NameTarget is one cluster of a name: where its CNAME leads, and what probes
// dial.
type NameTarget struct{ Target, Address string }

// NameFacts is what stands at a name, at every authority.
type NameFacts struct {
	NamePlan
	Answers []NameAnswer
	Chains  map[string]ChainFacts   // by target, and by the value that is served
	Dialled map[string]DialledFacts // by cluster: what its address leads to
	Texts   map[string][]string     // TXT at the names where automata leave their marks
	Secure  []SecureFacts           // what validating makes of it, at each resolver
}

// NameAnswer is what one address said of the name over one transport.
type NameAnswer struct {
	At     netip.AddrPort
	Net    string
	Err    string
	Rcode  string
	CNAMEs []string
	TTL    uint32   // seconds
	Others []string // other types at the very name
}

// ChainFacts is where a target leads.
type ChainFacts struct {
	Links     []string // names after the target
	Addresses []netip.Addr
	TTLs      []uint32 // seconds, of each link after the target and of the addresses
	Loop      string   // the name that came again
	Err       string   // what ended the walk; empty: an address, or there is none
}

// DialledFacts is what the address that probes dial leads to.
type DialledFacts struct {
	Addresses []netip.Addr
	Err       string
}

// beside are the types that are asked for at a name, after its CNAME. A server
// that lets other records stand beside a CNAME may show them for ANY alone.
var beside = []uint16{dns.TypeANY, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeSRV, dns.TypeCAA, dns.TypeHTTPS}

// longest chain that is followed; resolvers give up at 8 to 16.
const longestChain = 8

// SurveyName asks every authority of a name, and follows its targets. The
// authorities are those of its zone, or, of a name that is overridden, the
// resolvers that override it.
func (a Asker) SurveyName(ctx context.Context, p NamePlan, authorities []netip.AddrPort) NameFacts {
	p.Name, p.Zone = low(p.Name), low(p.Zone)
	n := NameFacts{NamePlan: p, Chains: map[string]ChainFacts{}, Dialled: map[string]DialledFacts{}, Texts: map[string][]string{}}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(defaultConcurrent)
	n.Answers = make([]NameAnswer, 2*len(authorities))
	for i, at := range authorities {
		g.Go(func() error { n.Answers[2*i] = a.answer(ctx, p, at, "udp"); return nil })
		g.Go(func() error { n.Answers[2*i+1] = a.answer(ctx, p, at, "tcp"); return nil })
	}
	_ = g.Wait() // what could not be asked is a fact
	for _, name := range p.markPlaces() {
		g.Go(func() error {
			texts := a.texts(ctx, name, authorities, p.Overridden)
			mu.Lock()
			defer mu.Unlock()
			n.Texts[name] = texts
			return nil
		})
	}
	validating := a.Resolvers
	if p.Overridden {
		validating = authorities
	}
	n.Secure = make([]SecureFacts, min(len(validating), mostSecure))
	for i := range n.Secure {
		g.Go(func() error { n.Secure[i] = a.secure(ctx, validating[i], p.Name); return nil })
	}
	leads := n.values()
	for cluster, t := range p.Targets {
		if !slices.Contains(leads, low(t.Target)) {
			leads = append(leads, low(t.Target))
		}
		g.Go(func() error {
			d := a.dialled(ctx, t.Address)
			mu.Lock()
			defer mu.Unlock()
			n.Dialled[cluster] = d
			return nil
		})
	}
	for _, target := range leads {
		g.Go(func() error {
			c := a.follow(ctx, target, p, authorities)
			mu.Lock()
			defer mu.Unlock()
			n.Chains[target] = c
			return nil
		})
	}
	_ = g.Wait()
	return n
}

// values are the targets that any authority serves.
func (n *NameFacts) values() []string {
	var out []string
	for _, a := range n.Answers {
		out = append(out, a.CNAMEs...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a Asker) answer(ctx context.Context, p NamePlan, at netip.AddrPort, network string) NameAnswer {
	out, name := NameAnswer{At: at, Net: network}, p.Name
	r, err := a.exchange(ctx, at, network, name, dns.TypeCNAME, p.Overridden)
	if err == nil && network == "udp" && r.Truncated && len(r.Answer) == 0 {
		r, err = a.exchange(ctx, at, "tcp", name, dns.TypeCNAME, p.Overridden)
	}
	if err != nil {
		out.Err = words(err)
		return out
	}
	if r.Rcode != dns.RcodeSuccess {
		out.Rcode = dns.RcodeToString[r.Rcode]
	}
	for _, rr := range r.Answer {
		if c, ok := rr.(*dns.CNAME); ok && low(c.Hdr.Name) == name {
			out.CNAMEs, out.TTL = append(out.CNAMEs, low(c.Target)), max(out.TTL, c.Hdr.Ttl)
		}
	}
	if network == "udp" {
		return out // what else stands there is asked for once
	}
	for _, qtype := range beside {
		r, err := a.put(ctx, at, name, qtype, p.Overridden)
		if err != nil {
			continue // it has answered before: the CNAME is what counts
		}
		for _, rr := range r.Answer {
			h := rr.Header()
			if low(h.Name) == name && h.Rrtype != dns.TypeCNAME && h.Rrtype != dns.TypeRRSIG {
				out.Others = append(out.Others, dns.TypeToString[h.Rrtype])
			}
		}
	}
	slices.Sort(out.Others)
	out.Others = slices.Compact(out.Others)
	return out
}

// texts are the TXT records at a name, of the first authority that answers.
func (a Asker) texts(ctx context.Context, name string, authorities []netip.AddrPort, recurse bool) []string {
	for _, at := range authorities {
		if r, err := a.put(ctx, at, name, dns.TypeTXT, recurse); err == nil {
			return textsIn(r.Answer, low(name))
		}
	}
	return nil
}

// dialled finds what the address of a cluster leads to.
func (a Asker) dialled(ctx context.Context, address string) DialledFacts {
	if address == "" {
		return DialledFacts{Err: "none is given"}
	}
	addrs, err := a.addresses(ctx, hostOf(address))
	if err != nil {
		return DialledFacts{Err: err.Error()}
	}
	return DialledFacts{Addresses: addrs}
}

// hostOf is the host of host:port, or of a host alone.
func hostOf(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return ap.Addr().String()
	}
	if i := strings.LastIndexByte(address, ':'); i >= 0 && !strings.Contains(address[:i], ":") {
		address = address[:i]
	}
	return strings.Trim(address, "[]")
}

// follow walks from a target to its addresses. Names of the zone are asked at
// its authorities, which know them before any resolver does; others at the
// resolvers.
func (a Asker) follow(ctx context.Context, target string, p NamePlan, authorities []netip.AddrPort) ChainFacts {
	var c ChainFacts
	if p.Overridden {
		a.Resolvers, authorities = authorities, nil
	}
	seen := []string{p.Name}
	for at := low(target); ; {
		if slices.Contains(seen, at) {
			c.Loop = at
			return c
		}
		seen = append(seen, at)
		if len(seen) > longestChain+1 {
			c.Err = fmt.Sprintf("more than %d names in a row", longestChain)
			return c
		}
		r, err := a.lookup(ctx, at, p.Zone, authorities)
		if err != nil {
			c.Err = err.Error()
			return c
		}
		next := ""
		for _, rr := range r.Answer {
			if x, ok := rr.(*dns.CNAME); ok && low(x.Hdr.Name) == at {
				next = low(x.Target)
				c.TTLs = append(c.TTLs, x.Hdr.Ttl)
			}
		}
		if next != "" {
			c.Links = append(c.Links, next)
			at = next
			continue
		}
		var ttl uint32
		for _, rr := range r.Answer {
			if low(rr.Header().Name) == at {
				c.Addresses = append(c.Addresses, addressesIn(&dns.Msg{Answer: []dns.RR{rr}})...)
				ttl = max(ttl, rr.Header().Ttl)
			}
		}
		if len(c.Addresses) > 0 {
			c.TTLs = append(c.TTLs, ttl)
		}
		if len(c.Addresses) == 0 && r.Rcode == dns.RcodeNameError {
			c.Err = at + " does not exist (NXDOMAIN)"
		}
		return c
	}
}

// lookup asks for the addresses of a name: A, and AAAA where there is none.
func (a Asker) lookup(ctx context.Context, name, zone string, authorities []netip.AddrPort) (*dns.Msg, error) {
	ask := func(qtype uint16) (*dns.Msg, error) { return a.resolve(ctx, name, qtype) }
	if dns.IsSubDomain(zone, name) && len(authorities) > 0 {
		ask = func(qtype uint16) (*dns.Msg, error) {
			var last error
			for _, at := range authorities {
				r, err := a.put(ctx, at, name, qtype, false)
				if err == nil && (r.Rcode == dns.RcodeSuccess || r.Rcode == dns.RcodeNameError) && (r.Authoritative || len(r.Answer) > 0) {
					return r, nil
				}
				last = err
			}
			if last != nil {
				return nil, fmt.Errorf("%s: %s", name, words(last))
			}
			return a.resolve(ctx, name, qtype) // delegated further down
		}
	}
	r, err := ask(dns.TypeA)
	if err != nil || len(r.Answer) > 0 {
		return r, err
	}
	six, err := ask(dns.TypeAAAA)
	if err != nil {
		return r, nil //nolint:nilerr // what A said stands
	}
	return six, nil
}
