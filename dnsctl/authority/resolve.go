package authority

import (
	"slices"

	"github.com/miekg/dns"
)

// maxChain bounds the CNAMEs in one answer.
const maxChain = 8

// answer is what is said to a question, before it is packed.
type answer struct {
	rcode int
	aa    bool

	answer, ns, extra []dns.RR

	soa *zone // whose SOA stands in the answer, or nil
	// fixed says that only the names asked at now can change this answer (the
	// serial aside), so that it may be packed ahead.
	fixed bool
}

// refuse is an answer of nothing but a code.
func refuse(rcode int) answer { return answer{rcode: rcode} }

// notReady is the answer while something is not known yet. It is never
// NXDOMAIN: resolvers keep that as a fact, and this they ask again elsewhere.
func notReady() answer { return refuse(dns.RcodeServerFailure) }

// resolve answers a question of class IN about a name in wire form, lower
// case (RFC 1034 section 4.3.2, without delegations and wildcards).
func (t *tree) resolve(k key, qtype uint16) answer {
	n, z := t.find(k)
	switch {
	case z == nil:
		return refuse(dns.RcodeRefused)
	case n == nil:
		a := answer{aa: true, fixed: true}
		return a.negative(z, dns.RcodeNameError)
	}
	return t.at(n, n.shown.Load(), qtype)
}

// at answers at a node. For a managed one, sh is what it shows: publishing
// packs answers from what it is about to show.
func (t *tree) at(n *node, sh *shown, qtype uint16) answer {
	a := answer{aa: true, fixed: true}
	var seen []*node
	for {
		switch n.kind {
		case mark:
			return a.mark(n, qtype)
		case static, empty:
			return a.static(n, qtype)
		}
		if sh == nil {
			if len(seen) == 0 {
				return notReady()
			}
			return a // the chain so far; whoever asks on is told SERVFAIL then
		}
		a.answer = append(a.answer, sh.cname)
		if qtype == dns.TypeCNAME || qtype == dns.TypeANY {
			return a
		}
		seen = append(seen, n)
		next, z := t.find(sh.target)
		switch {
		case z == nil:
			return a // out of our zones: not ours to say
		case next == nil:
			return a.negative(z, dns.RcodeNameError) // the code is that of the last name (RFC 6604 section 3)
		case next.kind == managed:
			a.fixed = false
			if slices.Contains(seen, next) || len(seen) == maxChain {
				return a
			}
		}
		n, sh = next, next.shown.Load()
	}
}

// static answers at a name whose records come from the configuration.
func (a answer) static(n *node, qtype uint16) answer {
	isApex := n.name == n.zone.name
	switch {
	case isApex && (qtype == dns.TypeSOA || qtype == dns.TypeANY):
		// ANY gets one RRset, whichever (RFC 8482 section 4.1).
		soa, ok := n.zone.soaRR()
		if !ok {
			return notReady()
		}
		a.answer, a.soa = append(a.answer, soa), n.zone
		return a
	case isApex && qtype == dns.TypeNS:
		a.extra = n.glue
	case qtype == dns.TypeANY && len(n.sets[dns.TypeA]) > 0:
		qtype = dns.TypeA
	case qtype == dns.TypeANY:
		qtype = dns.TypeAAAA
	}
	if rrs := n.sets[qtype]; len(rrs) > 0 {
		a.answer = append(a.answer, rrs...)
		return a
	}
	return a.negative(n.zone, dns.RcodeSuccess)
}

// mark answers at the name beside a managed one.
func (a answer) mark(n *node, qtype uint16) answer {
	a.fixed = false // it changes with its owner, whose publishing packs it
	sh := n.owner.shown.Load()
	switch {
	case sh == nil:
		return notReady()
	case sh.txt != nil && (qtype == dns.TypeTXT || qtype == dns.TypeANY):
		a.answer = append(a.answer, sh.txt)
		return a
	}
	return a.negative(n.zone, dns.RcodeSuccess)
}

// negative adds the SOA that bounds how long the no is kept. While the zone
// was not loaded there is no no, except after a CNAME, which is worth giving
// without the SOA.
func (a answer) negative(z *zone, rcode int) answer {
	soa, ok := z.negativeSOA()
	if !ok {
		if len(a.answer) == 0 {
			return notReady()
		}
		a.fixed = false
		return a
	}
	a.rcode, a.ns, a.soa = rcode, append(a.ns, soa), z
	return a
}
