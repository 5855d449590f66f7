package dnsctl

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// question makes a query without recursion.
func question(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.RecursionDesired = false
	return m
}

// found is what one answer says of one name.
type found struct {
	nx    bool // NXDOMAIN: nothing at all stands there
	value failover.Target
	ttl   uint32
	texts []string // of TXT records
	other []string // everything else at the name, for people
}

// read judges an answer to q and picks out what stands at the name asked for.
// It refuses what is not authoritative, cut short, an error, or speaks of
// another name.
func read(r *dns.Msg, q dns.Question) (found, error) {
	var f found
	if len(r.Question) != 1 || canonical(r.Question[0].Name) != canonical(q.Name) ||
		r.Question[0].Qtype != q.Qtype || r.Question[0].Qclass != q.Qclass {
		return f, fmt.Errorf("%w: it repeats another question", ErrMalformed)
	}
	switch r.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	case dns.RcodeRefused:
		return f, fmt.Errorf("%w: REFUSED to a query for %s: is it a server of the zone, and may we ask it?", ErrRights, q.Name)
	default:
		return f, fmt.Errorf("%w: %s to a query for %s", ErrServer, rcodeName(r.Rcode), q.Name)
	}
	if !r.Authoritative {
		return f, fmt.Errorf("%w for %s: is this a server of the zone?", ErrNotAuthoritative, q.Name)
	}
	if r.Truncated {
		return f, fmt.Errorf("%w: it is truncated", ErrMalformed)
	}
	values := 0
	for _, rr := range r.Answer {
		h := rr.Header()
		if canonical(h.Name) != canonical(q.Name) {
			if f.value != "" && h.Rrtype != dns.TypeDNAME {
				continue // the server followed the CNAME into its own zones
			}
			return f, fmt.Errorf("%w: it speaks of %s", ErrMalformed, short(h.Name))
		}
		if h.Class != q.Qclass {
			return f, fmt.Errorf("%w: class %d", ErrMalformed, h.Class)
		}
		switch rr := rr.(type) {
		case *dns.CNAME:
			t := canonical(rr.Target)
			if !wireName(t) || t == "." {
				return f, fmt.Errorf("%w: %s has an empty CNAME", ErrMalformed, short(q.Name))
			}
			if values++; values > 1 {
				return f, fmt.Errorf("%w: %s has the CNAMEs %s and %s", ErrSeveral, short(q.Name), f.value, short(t))
			}
			f.value, f.ttl = failover.Target(t), lifetime(h.Ttl)
		case *dns.TXT:
			f.texts = append(f.texts, markText(rr.Txt))
			if q.Qtype != dns.TypeTXT {
				f.other = append(f.other, describe(rr))
			}
		case *dns.RRSIG, *dns.NSEC, *dns.NSEC3:
			// May stand beside a CNAME (RFC 4034 sections 3 and 4).
		case *dns.HINFO:
			if rr.Cpu != "RFC8482" { // the answer to ANY of a server that does not answer ANY
				f.other = append(f.other, describe(rr))
			}
		default:
			f.other = append(f.other, describe(rr))
		}
	}
	if r.Rcode == dns.RcodeNameError && (f.value == "" || q.Qtype == dns.TypeCNAME) && len(r.Answer) > 0 {
		return f, fmt.Errorf("%w: NXDOMAIN with records", ErrMalformed)
	}
	f.nx = r.Rcode == dns.RcodeNameError && f.value == ""
	return f, nil
}

// wireName says whether s can stand in a message as a name.
func wireName(s string) bool {
	_, ok := dns.IsDomainName(s)
	return ok && s != ""
}

// describe shows a record that should not be there: type and data, short.
// The library escapes what does not print.
func describe(rr dns.RR) string {
	data := strings.TrimPrefix(rr.String(), rr.Header().String())
	return dns.Type(rr.Header().Rrtype).String() + " " + short(data)
}

// short bounds a text that somebody else chose.
func short(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func rcodeName(rcode int) string {
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE %d", rcode)
}

// state joins the three answers that make a State: the CNAME, everything at
// the name, and the mark.
func state(cname, all, mark found) (State, error) {
	s := State{Value: cname.value, TTL: cname.ttl, Absent: cname.value == ""}
	if len(mark.texts) > 1 {
		return State{}, fmt.Errorf("%w: %d marks", ErrSeveral, len(mark.texts))
	}
	if all.value != "" && all.value != cname.value {
		return State{}, ErrUnstable
	}
	var other []string
	for _, o := range append(cname.other, all.other...) {
		other = addOnce(other, o)
	}
	if len(mark.texts) == 1 {
		s.Mark = mark.texts[0]
	}
	// Whatever stands at the mark's name instead hides a mark that was
	// written there: the server answers NOERROR and ignores it.
	if mark.value != "" {
		other = append(other, "at the mark: CNAME "+short(string(mark.value)))
	}
	const most = 5
	if len(other) > most {
		other = append(other[:most:most], fmt.Sprintf("and %d more", len(other)-most))
	}
	s.Other = strings.Join(other, ", ")
	return s, nil
}

func addOnce(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// lifetime is how long resolvers keep what comes with a TTL: one with the top
// bit set means 0 (RFC 2181 section 8), so that a lying server cannot make
// anybody wait for decades.
func lifetime(ttl uint32) uint32 {
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}
