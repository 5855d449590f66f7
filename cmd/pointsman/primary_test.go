package main

import (
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

const (
	zoneKey    = "ctl."
	zoneSecret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
)

// primary is a name server for example.com. that takes signed updates with
// prerequisites (RFC 2136, RFC 8945) and remembers every state that it showed.
type primary struct {
	addr string

	mu     sync.Mutex
	sets   map[string][]string // "name type" to the rdata that stand there
	values []string            // of the CNAME, every one that it ever had, in order
	marks  []string
}

func newPrimary(t *testing.T) *primary {
	t.Helper()
	l, err := net.Listen("tcp", freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &primary{
		addr: l.Addr().String(), values: []string{"a.example.com."},
		sets: map[string][]string{"orders.example.com. CNAME": {"a.example.com."}},
	}
	for _, srv := range []*dns.Server{{Listener: l}, {PacketConn: pc}} {
		srv.TsigSecret = map[string]string{zoneKey: zoneSecret}
		srv.Handler = dns.HandlerFunc(p.serve)
		srv.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		done, up := make(chan struct{}), make(chan struct{})
		srv.NotifyStartedFunc = func() { close(up) }
		go func() { defer close(done); _ = srv.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = srv.Shutdown(); <-done })
	}
	return p
}

func key(name string, rrtype uint16) string {
	return strings.ToLower(name) + " " + dns.TypeToString[rrtype]
}

func rdata(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.CNAME:
		return strings.ToLower(rr.Target)
	case *dns.TXT:
		return strings.Join(rr.Txt, "")
	default:
		return "?"
	}
}

func (p *primary) serve(w dns.ResponseWriter, r *dns.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	signed := r.IsTsig() != nil && w.TsigStatus() == nil
	switch {
	case r.Opcode == dns.OpcodeUpdate && !signed:
		m.Rcode = dns.RcodeRefused
	case r.Opcode == dns.OpcodeUpdate:
		m.Rcode = p.update(r)
	default:
		q := r.Question[0]
		for _, v := range p.sets[key(q.Name, q.Qtype)] {
			h := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 5}
			if q.Qtype == dns.TypeTXT {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: h, Txt: []string{v}})
			} else {
				m.Answer = append(m.Answer, &dns.CNAME{Hdr: h, Target: v})
			}
		}
	}
	if ts := r.IsTsig(); ts != nil {
		m.SetTsig(zoneKey, ts.Algorithm, 300, int64(ts.TimeSigned))
	}
	_ = w.WriteMsg(m)
}

// update checks every prerequisite before it changes anything (RFC 2136
// sections 3.2 and 3.4).
func (p *primary) update(r *dns.Msg) int {
	wanted := make(map[string][]string)
	for _, rr := range r.Answer {
		h := rr.Header()
		k := key(h.Name, h.Rrtype)
		switch {
		case h.Class == dns.ClassINET:
			wanted[k] = append(wanted[k], rdata(rr))
		case h.Class == dns.ClassNONE && h.Rrtype == dns.TypeANY:
			if len(p.sets[key(h.Name, dns.TypeCNAME)])+len(p.sets[key(h.Name, dns.TypeTXT)]) > 0 {
				return dns.RcodeYXDomain
			}
		case h.Class == dns.ClassNONE:
			if len(p.sets[k]) > 0 {
				return dns.RcodeYXRrset
			}
		default:
			return dns.RcodeFormatError
		}
	}
	for k, want := range wanted {
		if !slices.Equal(p.sets[k], want) {
			return dns.RcodeNXRrset
		}
	}
	next := maps.Clone(p.sets)
	for _, rr := range r.Ns {
		h := rr.Header()
		k := key(h.Name, h.Rrtype)
		switch h.Class {
		case dns.ClassANY:
			delete(next, k)
		case dns.ClassINET:
			next[k] = append(slices.Clone(next[k]), rdata(rr))
		default:
			return dns.RcodeFormatError
		}
	}
	p.sets = next
	if v := strings.Join(next["orders.example.com. CNAME"], "+"); v != p.values[len(p.values)-1] {
		p.values = append(p.values, v)
	}
	p.marks = append(p.marks, strings.Join(next["_pointsman.orders.example.com. TXT"], "+"))
	return dns.RcodeSuccess
}

// shown returns everything that the name and its mark ever were.
func (p *primary) shown() (values, marks []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.values), slices.Clone(p.marks)
}
