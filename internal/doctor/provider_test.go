package doctor

import (
	"testing"
	"time"
)

func soundCloudZone() CloudZoneFacts {
	yes := true
	servers := []string{"vip3.alidns.com", "vip4.alidns.com"}
	return CloudZoneFacts{
		Provider: "cloud", Zone: "example.com.", MinTTL: 60, Edition: "version_enterprise_basic", Public: true, Delegated: &yes, Named: servers, Expected: servers,
		Parent: []string{"vip3.alidns.com.", "VIP4.alidns.com."}, TTLs: []TTLPlan{{"orders", 60, "1m", "1m"}},
	}
}

func TestACloudsZoneIsJudgedFaultByFault(t *testing.T) {
	if got := Worst(JudgeCloudZone(soundCloudZone())); got != OK {
		t.Fatalf("a sound zone is %s:\n%s", got, shown(JudgeCloudZone(soundCloudZone())))
	}
	no := false
	for name, c := range map[string]struct {
		breakIt func(z *CloudZoneFacts)
		want    verdictIs
	}{
		// What the zone above says counts more than what the provider thinks of it.
		"the parent names others": {func(z *CloudZoneFacts) { z.Parent = []string{"ns1.elsewhere.example."} }, verdictIs{"provider.delegation", Fail, "names ns1.elsewhere.example, the provider has it at vip3.alidns.com, vip4.alidns.com", "name vip3.alidns.com"}},
		"the parent names more":   {func(z *CloudZoneFacts) { z.Parent = append(z.Parent, "ns1.elsewhere.example.") }, verdictIs{"provider.delegation", Fail, "also names ns1.elsewhere.example, which are not the provider's", "and nothing else"}},
		"only the provider knows": {func(z *CloudZoneFacts) { z.Parent = nil }, verdictIs{"provider.delegation", OK, "the zone above could not be asked", ""}},
		"it is elsewhere":         {func(z *CloudZoneFacts) { z.Parent, z.Delegated = nil, &no }, verdictIs{"provider.delegation", Fail, "moves nobody", "at the registrar"}},
		"nobody knows":            {func(z *CloudZoneFacts) { z.Parent, z.Delegated, z.DelegatedNo = nil, nil, "not permitted" }, verdictIs{"provider.delegation", Skipped, "not permitted", ""}},
		"below the floor":         {func(z *CloudZoneFacts) { z.MinTTL = 600; z.TTLs[0].TTL = 30; z.TTLs[0].AtFloor = "10m" }, verdictIs{"provider.floor", Fail, "At 600 s the bounded part of a failover is 10m", "ttl_floor: 600s"}},
		"the floor is not known":  {func(z *CloudZoneFacts) { z.MinTTL = 0 }, verdictIs{"provider.floor", Skipped, "not known", ""}},
		"the API is down":         {func(z *CloudZoneFacts) { z.Err = "no answer" }, verdictIs{"provider.floor", Skipped, "no answer", ""}},
		"bound to nobody":         {func(z *CloudZoneFacts) { z.Public, z.Private = false, true }, verdictIs{"provider.private", Fail, "bound to no network", "bind"}},
		"passes nothing on":       {func(z *CloudZoneFacts) { z.Private, z.Override, z.Passes = true, true, "ZONE" }, verdictIs{"provider.private", Fail, "its proxy pattern is ZONE", "RECORD"}},
	} {
		t.Run(name, func(t *testing.T) {
			z := soundCloudZone()
			c.breakIt(&z)
			c.want.check(t, JudgeCloudZone(z))
		})
	}
}

func TestACloudsNameIsJudgedFaultByFault(t *testing.T) {
	sound := func() CloudNameFacts {
		return CloudNameFacts{Provider: "cloud", Name: "orders.example.com.", By: "ctl-1", Targets: []string{"a.example.com."}, Records: []CloudRecord{
			{Line: "default", Type: "CNAME", Value: "a.example.com.", Mark: "v=1 term=1 epoch=1 op=orders-1.1 by=ctl-1"}, {Line: "telecom", Type: "CNAME", Value: "a.example.com."},
		}}
	}
	verdictIs{"provider.records", OK, "a.example.com. on 2 lines: default, telecom", ""}.check(t, JudgeCloudName(sound()))
	for name, c := range map[string]struct {
		breakIt func(n *CloudNameFacts)
		want    verdictIs
	}{
		"one line":    {func(n *CloudNameFacts) { n.Records = n.Records[:1] }, verdictIs{"provider.records", OK, "a.example.com. on line default", ""}},
		"weighted":    {func(n *CloudNameFacts) { n.Weighted = true }, verdictIs{"provider.records", Fail, "shared out by weight", "switch the weights off"}},
		"not read":    {func(n *CloudNameFacts) { n.Err = "no answer" }, verdictIs{"provider.records", Skipped, "no answer", ""}},
		"a stranger":  {func(n *CloudNameFacts) { n.By = "ctl-2" }, verdictIs{"provider.records", Fail, "ctl-1 (orders-1.1) on line default; this one is ctl-2", "adopt"}},
		"one differs": {func(n *CloudNameFacts) { n.Records[1].Value = "b.example.com." }, verdictIs{"provider.records", Fail, "the lines differ", "explain"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := sound()
			c.breakIt(&n)
			c.want.check(t, JudgeCloudName(n))
		})
	}
}

func TestAPolicyZoneIsJudgedFaultByFault(t *testing.T) {
	sound := func() PolicyFacts {
		a := []string{"a.example.com."}
		return PolicyFacts{Zone: "rpz.local.", Name: "orders.vendor.test.", Stands: a, Resolvers: []AppliedFacts{
			{At: at("192.0.2.53:53"), Plain: a, Secure: a}, {At: at("192.0.2.54:53"), Plain: a, Secure: a},
		}}
	}
	verdictIs{"provider.policy", OK, "at all of 2 resolvers: 192.0.2.53, 192.0.2.54", ""}.check(t, JudgePolicy(sound()))
	for name, c := range map[string]struct {
		breakIt func(f *PolicyFacts)
		want    verdictIs
	}{
		"one does not apply it":  {func(f *PolicyFacts) { f.Resolvers[1].Plain = nil }, verdictIs{"provider.policy", Fail, "192.0.2.54 answers what the owner says", `zone "rpz.local"`}},
		"one has an older value": {func(f *PolicyFacts) { f.Resolvers[1].Plain = []string{"b.example.com."} }, verdictIs{"provider.policy", Fail, "192.0.2.54 answers b.example.com., the policy zone has a.example.com.", "NOTIFY"}},
		"one is silent":          {func(f *PolicyFacts) { f.Resolvers[0].Err = "no answer in time" }, verdictIs{"provider.policy", Fail, "resolver 192.0.2.53: no answer in time", "start it"}},
		"the primary is silent":  {func(f *PolicyFacts) { f.Stands, f.StandsErr = nil, "REFUSED" }, verdictIs{"provider.policy", Skipped, "REFUSED", ""}},
		"the owner signs":        {func(f *PolicyFacts) { f.Resolvers[1].Secure, f.Resolvers[1].Signed = nil, true }, verdictIs{"provider.policy", Fail, "192.0.2.54 gives clients that ask for DNSSEC the owner's answer", "break-dnssec yes"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := sound()
			c.breakIt(&f)
			c.want.check(t, JudgePolicy(f))
		})
	}
}

func TestViewsAreCompared(t *testing.T) {
	a, b := []string{"a.example.com."}, []string{"b.example.com."}
	for _, c := range []struct {
		f    ViewFacts
		want verdictIs
	}{
		{ViewFacts{Inside: a, Public: a, Managed: true}, verdictIs{"provider.view", OK, "inside and outside", ""}},
		{ViewFacts{Inside: a}, verdictIs{"provider.view", OK, "outside it has no CNAME", ""}},
		{ViewFacts{Inside: a, Public: b, Managed: true}, verdictIs{"provider.view", Warn, "inside it is a.example.com., outside b.example.com.", "one instance"}},
		{ViewFacts{Public: a}, verdictIs{"provider.view", Fail, "show no CNAME", "bind"}},
		{ViewFacts{InErr: "no answer"}, verdictIs{"provider.view", Fail, "no answer", "resolvers"}},
		{ViewFacts{Inside: a, PubErr: "no resolver is known here"}, verdictIs{"provider.view", Skipped, "not known", ""}},
	} {
		c.want.check(t, []Finding{JudgeView(c.f)})
	}
}

func TestEachClockHasItsLimit(t *testing.T) {
	five := ClockFacts{With: "cloud", How: "the Date of the API", Offset: 5 * time.Minute}
	verdictIs{"clock.dns", Fail, "5m0s ahead", "300 s"}.check(t, []Finding{JudgeClock("clock.dns", five)})
	five.Limit, five.LimitOf = 15*time.Minute, "the API refuses more"
	verdictIs{"clock.dns", Warn, "5m0s ahead", "NTP"}.check(t, []Finding{JudgeClock("clock.dns", five)})
	five.Offset = 8 * time.Minute
	verdictIs{"clock.dns", Fail, "8m0s ahead", "the API refuses more"}.check(t, []Finding{JudgeClock("clock.dns", five)})
}
