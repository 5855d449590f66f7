package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestBINDPolicyZoneSamplesOfBothSides: both samples of a response policy zone
// together; a client of the resolver follows the vendor's name to the cluster
// that lives.
func TestBINDPolicyZoneSamplesOfBothSides(t *testing.T) {
	t.Parallel()
	const name = "orders.cn-hangzhou.vpc.tablestore.aliyuncs.com."
	sample, err := os.ReadFile("../../configs/rpz.named.conf.sample")
	if err != nil {
		t.Fatal(err)
	}
	_, comment, _ := strings.Cut(string(sample), "// The zone file, as a start:")
	var zone strings.Builder
	for line := range strings.Lines(comment) {
		if l, ok := strings.CutPrefix(line, "//   "); ok {
			zone.WriteString(l)
		}
	}
	// The targets are somewhere: here, in a zone of the same server.
	bind := runNamed(t, map[string]string{
		"rpz.example.com.zone": zone.String(), "example.com.zone": "$TTL 30\n@ IN SOA ns hostmaster 1 300 60 604800 30\n@ IN NS ns\nns IN A 127.0.0.1\norders-a IN A 127.0.1.1\norders-b IN A 127.0.1.2\n",
	}, func(port, dir string) string {
		return replaced(t, string(sample), map[string]string{
			"port 5300 ": "port " + port + " ", "/var/lib/bind": dir, "REPLACE-WITH-THE-OUTPUT-OF-tsig-keygen": ctlSecret,
		}) + `zone "example.com." { type primary; file "example.com.zone"; };`
	})
	text, err := os.ReadFile("../../configs/rpz.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := newBindWorld(t, bind, bind.addr, replaced(t, string(text), map[string]string{
		"127.0.0.1:5300": "$BIND", "127.0.0.1:18081": "$A", "127.0.0.1:18082": "$B", "../run/tsig.key": "tsig.key",
		"data: ../run/rpz": "data: data\n  socket: s/s", "preset: stateless-http": "preset: fast-lab",
	}))
	asks := func() string {
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		c := dns.Client{Timeout: 5 * time.Second}
		r, _, err := c.Exchange(m, bind.addr)
		if err != nil {
			return err.Error()
		}
		var out []string
		for _, rr := range r.Answer {
			switch rr := rr.(type) {
			case *dns.CNAME:
				out = append(out, rr.Target)
			case *dns.A:
				out = append(out, rr.A.String())
			}
		}
		return strings.Join(out, " ")
	}
	within(t, patience, "a policy that is applied", func() bool { return asks() == bindA+" 127.0.1.1" })
	w.run(t)
	w.took(t)
	w.a.kill()
	w.until(t, "it moved", marked("b"))
	if got := asks(); got != bindB+" 127.0.1.2" {
		t.Errorf("a client is told %s", got)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), name+"  rpz", bindB)
}
