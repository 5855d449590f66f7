package doctor

import "testing"

// TestAnAliasIsJudgedByEveryAuthority: one that leads elsewhere, or nowhere, is a
// fault although others are right: some clients are told it.
func TestAnAliasIsJudgedByEveryAuthority(t *testing.T) {
	const alias, to = "orders.example.com.", "orders.svc.example.com."
	says := func(addr, cname, rcode, err string, others ...string) NameAnswer {
		a := NameAnswer{At: at(addr), Net: "udp", Rcode: rcode, Err: err, Others: others}
		if cname != "" {
			a.CNAMEs = []string{cname}
		}
		return a
	}
	right := says("192.0.2.1:53", to, "", "")
	for name, tc := range map[string]struct {
		second NameAnswer
		want   verdictIs
	}{
		"both right":       {says("192.0.2.2:53", to, "", ""), verdictIs{"dns.alias", OK, "all of 2 answers", ""}},
		"one elsewhere":    {says("192.0.2.2:53", "a.example.com.", "", ""), verdictIs{"dns.alias", Fail, "a.example.com.", "3600 IN CNAME " + to}},
		"one has no CNAME": {says("192.0.2.2:53", "", "", ""), verdictIs{"dns.alias", Fail, "no CNAME", "3600 IN CNAME"}},
		"one says no such": {says("192.0.2.2:53", "", "NXDOMAIN", ""), verdictIs{"dns.alias", Fail, "NXDOMAIN", "3600 IN CNAME"}},
		"one is silent":    {says("192.0.2.2:53", "", "", "no answer in time"), verdictIs{"dns.alias", Warn, "no answer in time", "every server"}},
		"one refuses":      {says("192.0.2.2:53", "", "REFUSED", ""), verdictIs{"dns.alias", Warn, "REFUSED", "every server"}},
		"records beside":   {says("192.0.2.2:53", to, "", "", "A"), verdictIs{"dns.alias", Fail, "other records at the name: A", "remove"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := AliasFacts{Alias: alias, To: to, Zone: "example.com.", NameFacts: NameFacts{Answers: []NameAnswer{right, tc.second}}}
			tc.want.check(t, JudgeAlias(f))
		})
	}
	verdictIs{"dns.alias", Skipped, "no resolver knows a zone above it", ""}.check(t, JudgeAlias(AliasFacts{Alias: alias, To: to, Err: "no resolver knows a zone above it"}))
}
