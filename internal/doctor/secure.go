package doctor

import (
	"context"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// SecureFacts is what one resolver says of a name by three ways of asking.
// A resolver that validates hides what it cannot prove behind SERVFAIL, unless
// it is told not to check (RFC 4035 section 3.2.2).
type SecureFacts struct {
	Resolver  netip.AddrPort
	Plain     string // rcode, or why there is none: asked as clients do
	DO        string // with DNSSEC wanted
	Unchecked string // with checking disabled
	Proved    bool   // the answer was validated (AD)
}

// mostSecure bounds how many resolvers are asked.
const mostSecure = 3

func (a Asker) secure(ctx context.Context, at netip.AddrPort, name string) SecureFacts {
	timeout := a.Timeout
	if timeout <= 0 {
		timeout = askTimeout
	}
	f := SecureFacts{Resolver: at}
	put := func(do, unchecked bool) (string, bool) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		m := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeCNAME)
		m.SetEdns0(udpSize, do)
		m.CheckingDisabled, m.AuthenticatedData = unchecked, true
		r, err := send(ctx, at, "udp", m)
		if err == nil && r.Truncated {
			r, err = send(ctx, at, "tcp", m)
		}
		if err != nil {
			return words(err), false
		}
		return dns.RcodeToString[r.Rcode], r.AuthenticatedData
	}
	f.Plain, f.Proved = put(false, false)
	f.DO, _ = put(true, false)
	f.Unchecked, _ = put(true, true)
	return f
}

const (
	servfail = "SERVFAIL"
	noerror  = "NOERROR"
)

// judgeSecure tells a broken signature from a broken server: moving the name to
// and fro mends neither.
func judgeSecure(n NameFacts) Finding {
	const id = "dns.secure"
	const fix = "sign the zone anew and compare the DS records at its parent with its keys (dnssec-verify, delv); do not move the name for it: clients behind this resolver cannot resolve either value"
	var proved, open, silent []string
	for _, s := range n.Secure {
		at := server(s.Resolver)
		switch {
		case (s.Plain == servfail || s.DO == servfail) && s.Unchecked == noerror:
			return bad(Fail, id, n.Name, fix, "DNSSEC: %s answers %s, with DO %s, and %s when it does not check: the signatures are broken", at, s.Plain, s.DO, s.Unchecked)
		case s.Plain != noerror && s.Plain != "NXDOMAIN":
			silent = append(silent, at+": "+s.Plain)
		case s.Proved:
			proved = append(proved, at)
		default:
			open = append(open, at)
		}
	}
	switch {
	case len(proved) > 0:
		return okay(id, n.Name, "validated by %s", strings.Join(proved, ", "))
	case len(open) > 0:
		return okay(id, n.Name, "not signed, or not validated, at %s", strings.Join(open, ", "))
	case len(silent) > 0:
		return Skip(id, n.Name, "no resolver answers for it: %s", strings.Join(silent, "; "))
	}
	return Skip(id, n.Name, "no resolver is known here")
}

// sum of the TTLs of the links after the target and of its addresses: each is
// cached on its own. What a resolver keeps of a move is bounded by the TTL of
// the name's own CNAME; a stub that keeps the whole answer by the least of them.
func (c *ChainFacts) sum() uint32 {
	var s uint32
	for _, t := range c.TTLs {
		s += t
	}
	return s
}

// ttl is the largest that the name is served with.
func (n *NameFacts) ttl() uint32 {
	var most uint32
	for _, a := range n.Answers {
		most = max(most, a.TTL)
	}
	return most
}
