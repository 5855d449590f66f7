package dnsctl

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzAnswer gives Read and Verify whatever a malicious server may send in
// answer to each question. It never panics, and what it takes for a state is
// one: canonical, not empty, bounded.
func FuzzAnswer(f *testing.F) {
	seed := func(qtype uint16, records ...string) {
		m := new(dns.Msg)
		m.SetReply(question(string(orders), qtype))
		m.Authoritative = true
		for _, s := range records {
			m.Answer = append(m.Answer, rr(f, s))
		}
		p, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p, qtype)
		// Cut short, with the counts still claiming the records.
		f.Add(p[:len(p)-1], qtype)
		f.Add(p[:headerSize+len(orders)+1+4], qtype)
		f.Add(p[:headerSize], qtype)
	}
	seed(dns.TypeCNAME, "orders.lab.test. 30 IN CNAME a.lab.test.")
	seed(dns.TypeCNAME, "orders.lab.test. 30 IN CNAME a.lab.test.", "orders.lab.test. 30 IN A 192.0.2.1")
	seed(dns.TypeANY, "orders.lab.test. 30 IN MX 10 mail.lab.test.", `orders.lab.test. 30 IN TXT "a\"b\\c\000"`, `orders.lab.test. 30 IN HINFO "RFC8482" ""`)
	seed(dns.TypeANY, `orders.lab.test. 30 IN SVCB 1 . alpn="h2" port="53"`, "orders.lab.test. 30 IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "orders.lab.test. 30 IN NSEC a.lab.test. A MX")
	seed(dns.TypeTXT, `orders.lab.test. 30 IN TXT "`+mark(1, 1)+`"`, `orders.lab.test. 30 IN TXT "x" "y"`)
	seed(dns.TypeTXT)
	empty := new(dns.Msg) // a CNAME without data
	empty.SetReply(question(string(orders), dns.TypeCNAME))
	empty.Authoritative = true
	empty.Answer = []dns.RR{&dns.RFC3597{Hdr: dns.RR_Header{Name: string(orders), Rrtype: dns.TypeCNAME, Class: dns.ClassINET}}}
	p, err := empty.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p, dns.TypeCNAME)

	f.Fuzz(func(t *testing.T, p []byte, qtype uint16) {
		m, err := unpack(p)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		a := asked{server: "x", key: "k.", algorithm: "hmac-sha256.", zone: zone, at: spot{orders, orders, MarkName(orders)}, signed: time.Unix(0, 0)}
		_ = keyDenial(m, a)
		err = updateDenial(m, a)
		if (outcome(err) == "done") != (err == nil) {
			t.Errorf("%v is %s", err, outcome(err))
		}
		q := dns.Question{Name: string(orders), Qtype: qtype, Qclass: dns.ClassINET}
		got, err := read(m, q)
		if err != nil {
			return
		}
		if !m.Authoritative || m.Truncated || len(m.Question) != 1 {
			t.Errorf("taken: %v", m)
		}
		st, err := state(got, got, got)
		if err != nil {
			return
		}
		v := string(st.Value)
		if st.Absent != (v == "") || v != "" && (canonical(v) != v || !wireName(v) || v == ".") {
			t.Errorf("state %+v", st)
		}
		if len(st.Other) > 1000 || strings.ContainsFunc(st.Other, func(r rune) bool { return r < ' ' && r != '\t' }) {
			t.Errorf("other %q", st.Other)
		}
		if d, err := Plan(st, Want{Name: orders, Value: targetB, TTL: 30, Mark: mark(1, 1)}); err == nil {
			if _, err := update(zone, spot{orders, orders, MarkName(orders)}, d.Change).Pack(); err != nil {
				t.Errorf("a change from %+v cannot be sent: %v", st, err)
			}
		}
	})
}

// FuzzSignature: nothing that is not signed with our secret passes, and
// nothing panics on the way.
func FuzzSignature(f *testing.F) {
	secret, err := ParseSecret(secretText)
	if err != nil {
		f.Fatal(err)
	}
	s := newSigner(Key{Name: "ctl.", Algorithm: "hmac-sha256", Secret: secret})
	_, mac, err := s.sign(question(string(orders), dns.TypeCNAME), time.Now().Unix())
	if err != nil {
		f.Fatal(err)
	}
	answer := func(secret string, rcode int) []byte {
		m := new(dns.Msg)
		m.SetReply(question(string(orders), dns.TypeCNAME))
		m.Rcode = rcode
		m.SetTsig("ctl.", dns.HmacSHA256, 300, time.Now().Unix())
		p, _, err := dns.TsigGenerate(m, secret, mac, false)
		if err != nil {
			f.Fatal(err)
		}
		return p
	}
	for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeNotAuth, dns.RcodeNXRrset} {
		p := answer(secretText, rcode)
		m, err := unpack(p)
		if err != nil {
			f.Fatal(err)
		}
		if err := s.check(p, m, mac); err != nil {
			f.Fatalf("our own signature on rcode %d: %v", rcode, err)
		}
		f.Add(answer(otherText, rcode))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := unpack(p)
		if err != nil {
			return
		}
		if s.check(p, m, mac) == nil {
			t.Errorf("taken: %v", m)
		}
	})
}
