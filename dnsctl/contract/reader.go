package contract

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// changes is how often the name moves while it is watched.
const changes = 300

// neverAbsent asks for the name over UDP, question upon question, while it
// moves: every answer is the old value or the new one, whole.
func neverAbsent(t *testing.T, w World) {
	p := w.able(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var (
		wg    sync.WaitGroup
		asked = map[failover.Target]int{}
		bad   = map[string]int{}
	)
	wg.Go(func() {
		for ctx.Err() == nil {
			if to, fault := w.ask(); fault != "" {
				bad[fault]++
			} else {
				asked[to]++
			}
		}
	})
	c := w.first()
	for epoch := range changes {
		w.write(t, p, c)
		c = w.after(c, epoch+2)
	}
	stop()
	wg.Wait()
	t.Logf("%d changes, answers %v", changes, asked)
	if len(bad) > 0 {
		t.Errorf("beside %v: %v", asked, bad)
	}
	if asked[w.A] == 0 || asked[w.B] == 0 {
		t.Errorf("the answers %v through %d changes show nothing", asked, changes)
	}
}

// ask asks once and says what is wrong with the answer.
func (w World) ask() (failover.Target, string) {
	m := new(dns.Msg)
	m.SetQuestion(string(w.Name), dns.TypeCNAME)
	m.RecursionDesired = w.Recursive
	c := dns.Client{Net: "udp", Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, w.DNS.String())
	switch {
	case err != nil:
		return "", err.Error()
	case r.Rcode != dns.RcodeSuccess:
		return "", dns.RcodeToString[r.Rcode]
	case len(r.Answer) != 1:
		return "", fmt.Sprintf("%d records", len(r.Answer))
	}
	cname, ok := r.Answer[0].(*dns.CNAME)
	if !ok || dns.CanonicalName(cname.Hdr.Name) != string(w.Name) {
		return "", r.Answer[0].String()
	}
	to := failover.Target(dns.CanonicalName(cname.Target))
	switch {
	case to != w.A && to != w.B:
		return "", "value " + string(to)
	case cname.Hdr.Ttl != w.ttl(to) && !w.Recursive: // a resolver counts down, and bounds
		return "", fmt.Sprintf("%s with the ttl %d", to, cname.Hdr.Ttl)
	}
	return to, ""
}
