package dnsctl

import (
	"testing"

	"github.com/miekg/dns"
)

// A TTL with its top bit set is none (RFC 2181 section 8).
func TestATTLBeyondTheRangeIsNone(t *testing.T) {
	for ttl, want := range map[uint32]uint32{0: 0, 30: 30, 1<<31 - 1: 1<<31 - 1, 1 << 31: 0, 1<<32 - 1: 0} {
		q := question(string(orders), dns.TypeCNAME)
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: string(orders), Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: ttl}, Target: string(targetA)}}
		got, err := read(m, q.Question[0])
		if err != nil || got.ttl != want {
			t.Errorf("%d is read as %d (%v), want %d", ttl, got.ttl, err, want)
		}
	}
}
