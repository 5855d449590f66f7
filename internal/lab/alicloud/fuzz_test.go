package alicloud

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzRequest: whatever comes in, nothing panics, what is kept is bounded, and
// nobody gets in who does not have the secret.
func FuzzRequest(f *testing.F) {
	s := start(f, Options{Keys: []Key{{ID: "LTAI", Secret: "0123456789abcdef"}}})
	f.Add([]byte("GET /?Action=DescribeDomains&Version=2015-01-09&AccessKeyId=LTAI&SignatureMethod=HMAC-SHA1&SignatureVersion=1.0&SignatureNonce=1&Timestamp=2026-01-01T00:00:00Z&Signature=x HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST /?a=1&a=2 HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nb=%zz&c"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: ACS3-HMAC-SHA256 Credential=LTAI,SignedHeaders=host;x-acs-action;x-acs-version;x-acs-date;x-acs-content-sha256,Signature=00\r\nx-acs-action: A\r\nx-acs-version: 2015-01-09\r\nx-acs-date: 2026-01-01T00:00:00Z\r\nx-acs-signature-nonce: 1\r\nx-acs-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: ACS3-HMAC-SHA256 ,,=,Signature\r\n\r\n"))
	f.Add([]byte("PUT / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		w, e := readWire(r)
		if len(w.params) > 2*maxParams || len(w.body) > maxBody+1 {
			t.Fatalf("%d parameters, %d bytes", len(w.params), len(w.body))
		}
		if e != nil {
			return
		}
		c, e := readClaim(w)
		var seen Request
		seen.describe(w, c)
		if len(seen.Params) > maxSeenParams {
			t.Fatalf("%d parameters are kept", len(seen.Params))
		}
		for k, v := range seen.Params {
			if len(k)+len(v) > 2*maxSeenText {
				t.Fatalf("%d bytes are kept", len(k)+len(v))
			}
		}
		if e != nil || c.family == signNone {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if k, e := s.authenticate(c); e == nil {
			t.Fatalf("%+v got in", k)
		}
	})
}

// FuzzCall: whatever a client that is let in asks for, the answer is one that
// JSON can say and nothing panics.
func FuzzCall(f *testing.F) {
	for _, p := range products {
		for name, a := range p.actions {
			v := url.Values{}
			for _, n := range a.needs {
				v.Set(n, "1")
			}
			f.Add(p.name, name, v.Encode())
		}
	}
	f.Add("Alidns", "DescribeDomainRecords", "DomainName=example.com&PageNumber=9999999999&PageSize=500&OrderBy=rr&Direction=asc")
	f.Add("Alidns", "AddDomainRecord", "DomainName=example.com&RR=*&Type=TXT&Value=%00%ff&Line=telecom&TTL=1")
	f.Add("Alidns", "SetDNSSLBStatus", "SubDomain=orders.example.com&Open=true&Type=CNAME")
	f.Add("pvtz", "BindZoneVpc", "ZoneId=x&Vpcs.1.VpcId=vpc-1")
	f.Fuzz(func(t *testing.T, productName, name, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		s, err := newStill(Options{Keys: []Key{{ID: "LTAI", Secret: "s"}}, NoQuota: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.AddZone(Zone{Name: "example.com"}); err != nil {
			t.Fatal(err)
		}
		r, err := s.AddRecord("example.com", Record{RR: "orders", Type: "CNAME", Value: "a.back.test"})
		if err != nil {
			t.Fatal(err)
		}
		id, err := s.AddZone(Zone{Name: "example.com", Private: true})
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{params: map[string]string{}}
		w.merge(v)
		switch w.params["RecordId"] { // so that records are found
		case "1":
			w.params["RecordId"] = itoa(r.ID)
		}
		if w.params["ZoneId"] == "x" {
			w.params["ZoneId"] = id
		}
		for _, p := range products {
			a, ok := p.actions[name]
			if !ok || p.name != productName {
				continue
			}
			s.mu.Lock()
			o, _, e := s.perform(&call{s: s, product: p, action: name, params: w.params, key: s.keys["LTAI"], client: "127.0.0.1"}, a)
			s.mu.Unlock()
			if e != nil {
				o = e.answer(p, "x")
			}
			if _, err := json.Marshal(o); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzDNS: whatever is asked, an authority and a resolver answer or refuse.
func FuzzDNS(f *testing.F) {
	s := start(f, Options{VPCs: []VPC{{ID: "vpc-1"}}})
	for _, r := range []Record{
		{RR: "orders", Type: "CNAME", Value: "orders.example.com"},
		{RR: "*.w", Type: "TXT", Value: strings.Repeat(`"\`, 300)},
		{RR: "@", Type: "MX", Value: "x"},
		{RR: "bad", Type: "A", Value: "not an address"},
		{RR: "url", Type: "REDIRECT_URL", Value: "http://x"},
	} {
		seed(f, s, r)
	}
	if _, err := s.AddZone(Zone{Name: "vpc.example.com", Private: true, Standard: true, VPCs: []string{"vpc-1"}}); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"orders.example.com.", "x.w.example.com.", "example.com.", "bad.example.com.", "url.example.com.", "a.vpc.example.com.", "."} {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeANY)
		subnet("192.0.2.0/24")(m)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	from := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	f.Fuzz(func(t *testing.T, raw []byte) {
		q := new(dns.Msg)
		if q.Unpack(raw) != nil {
			return
		}
		m := new(dns.Msg)
		m.SetReply(q)
		s.mu.Lock()
		s.authoritative(s.authorities[0], from, q, m)
		s.mu.Unlock()
		if _, err := m.Pack(); err != nil && len(q.Question) == 1 {
			t.Fatalf("%v: %v", err, m)
		}
		m = new(dns.Msg)
		m.SetReply(q)
		if reply(q, m, nil) {
			s.resolve(s.vpcs[0], q.Question[0], m)
		}
	})
}
