package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/dnsctl"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
)

// cloudIDs are what is found by asking a cloud's API, with the keys that the
// configuration names.
var cloudIDs = []string{"provider.rights", "provider.delegation", "provider.records", "provider.floor", "provider.private"}

const (
	cloudTime   = 45 * time.Second // what a provider and all its names may take
	cloudKey    = 15 * time.Second // of them what one key may take to show what it may
	cloudAtOnce = 4                // names of a provider; its requests are paced all the same
	cloudLife   = 15 * time.Minute // of a signed request (the vendor's InvalidTimeStamp.Expired)
)

// cloudEyes look at one provider by its API. They send Describe… only.
type cloudEyes interface {
	Inspect(ctx context.Context, name failover.RecordName) (dnsctl.CloudFacts, error)
	InspectName(ctx context.Context, name failover.RecordName) (dnsctl.CloudFacts, error)
	Clock(ctx context.Context) (sent, received, theirs time.Time, err error)
	Close()
}

// eyesOf makes eyes that hold the given key and cannot write with it.
func eyesOf(pr config.Provider, key dnsctl.CloudCredentials) (cloudEyes, error) {
	if pr.Alidns != nil {
		c := *pr.Alidns
		c.ReadOnly, c.ReadCredentials = true, key
		return dnsctl.NewAlidns(c)
	}
	c := *pr.Pvtz
	c.ReadOnly, c.ReadCredentials = true, key
	return dnsctl.NewPvtz(c)
}

// keyOf is one key of a provider.
type keyOf struct {
	what string
	from dnsctl.CloudCredentials
}

// keysOf are the keys that a provider has, that of a dry run first: it is there
// from the first day.
func keysOf(pr config.Provider) []keyOf {
	c := pr.Cloud()
	write := keyOf{"the key that writes", c.Credentials}
	if c.ReadCredentials.IsZero() {
		return []keyOf{write}
	}
	return []keyOf{{"the key of a dry run", c.ReadCredentials}, write}
}

// providerChecks look at what the kinds of providers have of their own.
func (p *patient) providerChecks() []doctor.Check {
	var out []doctor.Check
	for _, pr := range p.cfg.Providers {
		names := p.namesAt(pr.Name)
		if len(names) == 0 {
			continue
		}
		out = append(out, doctor.Check{IDs: []string{"provider.promises"}, About: pr.Name, Look: func(context.Context) []doctor.Finding {
			return []doctor.Finding{doctor.JudgePromises(pr.Name, pr.Capabilities().Words())}
		}})
		if pr.Cloud() != nil {
			out = append(out, doctor.Check{IDs: cloudIDs, About: pr.Name, Time: cloudTime, Look: func(ctx context.Context) []doctor.Finding {
				return p.cloud(ctx, pr, names)
			}})
		}
		if pr.Pvtz != nil {
			out = append(out, p.each("provider.view", pr, names, func(ctx context.Context, n nameAt) []doctor.Finding {
				f := p.asker.SurveyView(ctx, string(n.Name), pr.Resolvers)
				f.Managed = p.elsewhere(n)
				return []doctor.Finding{doctor.JudgeView(f)}
			}))
		}
		if pr.RPZ != nil {
			primary := addressOf(pr.Server().Server)
			out = append(out, p.each("provider.policy", pr, names, func(ctx context.Context, n nameAt) []doctor.Finding {
				return p.policy(ctx, pr, n, primary(ctx))
			}))
		}
	}
	return out
}

// each looks at the names of a provider, some at a time.
func (p *patient) each(id string, pr config.Provider, names []nameAt, look func(context.Context, nameAt) []doctor.Finding) doctor.Check {
	return doctor.Check{IDs: []string{id}, About: pr.Name, Time: zoneTime, Look: func(ctx context.Context) []doctor.Finding {
		found := make([][]doctor.Finding, len(names))
		var g errgroup.Group
		g.SetLimit(namesAtOnce)
		for i, n := range names {
			g.Go(func() error {
				if ctx.Err() != nil {
					found[i] = []doctor.Finding{doctor.Skip(id, string(n.Name), "not looked at: the time was over")}
					return nil
				}
				found[i] = look(ctx, n)
				return nil
			})
		}
		_ = g.Wait() // a name has findings, not errors
		return slices.Concat(found...)
	}}
}

// nameAt is a name with the instance that it belongs to.
type nameAt struct {
	failover.NamePolicy
	of *config.Instance
}

func (p *patient) namesAt(provider string) []nameAt {
	var out []nameAt
	for k := range p.cfg.Instances {
		i := &p.cfg.Instances[k]
		for _, n := range i.Policy.Names {
			if n.Provider == provider {
				out = append(out, nameAt{n, i})
			}
		}
	}
	return out
}

// elsewhere says that another provider of the config holds the same name.
func (p *patient) elsewhere(n nameAt) bool {
	return slices.ContainsFunc(p.cfg.Instances, func(i config.Instance) bool {
		return slices.ContainsFunc(i.Policy.Names, func(x failover.NamePolicy) bool { return x.Name == n.Name && x.Provider != n.Provider })
	})
}

func targetsOf(n failover.NamePolicy) []string {
	var out []string
	for _, t := range n.Targets {
		out = append(out, string(t))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// addressOf looks the host of a server up, where it has a name.
func addressOf(server string) func(context.Context) netip.AddrPort {
	return func(ctx context.Context) netip.AddrPort {
		if at, err := netip.ParseAddrPort(server); err == nil {
			return at
		}
		host, port, err := net.SplitHostPort(server)
		if err != nil {
			host, port = server, "53"
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil || len(ips) == 0 {
			return netip.AddrPort{}
		}
		at, _ := netip.ParseAddrPort(net.JoinHostPort(ips[0].Unmap().String(), port))
		return at
	}
}

func (p *patient) policy(ctx context.Context, pr config.Provider, n nameAt, primary netip.AddrPort) []doctor.Finding {
	owner, _, err := pr.RPZ.Places(n.Name)
	if err != nil {
		return []doctor.Finding{doctor.Skip("provider.policy", string(n.Name), "%v", err)}
	}
	f := p.asker.SurveyPolicy(ctx, string(pr.Zone), string(n.Name), string(owner), targetsOf(n.NamePolicy), primary, pr.Resolvers)
	f.Provider = pr.Name
	return doctor.JudgePolicy(f)
}

// keyLook is what one key showed.
type keyLook struct {
	eyes  cloudEyes
	facts dnsctl.CloudFacts
	err   error
	key   doctor.KeyFacts
}

// cloud asks the API of one provider. Whatever hangs costs its share of the time
// and no more.
func (p *patient) cloud(ctx context.Context, pr config.Provider, names []nameAt) []doctor.Finding {
	keys := keysOf(pr)
	looks := make([]keyLook, len(keys))
	var g errgroup.Group
	for i, k := range keys {
		g.Go(func() error { looks[i] = lookWith(ctx, pr, k, names[0].Name); return nil })
	}
	_ = g.Wait() // a key has findings, not errors
	defer func() {
		for _, l := range looks {
			if l.eyes != nil {
				l.eyes.Close()
			}
		}
	}()
	if len(keys) == 2 && sameKey(keys[0].from, keys[1].from) {
		looks[0].key.SameAs = keys[1].what
	}
	var out []doctor.Finding
	for _, l := range looks {
		out = append(out, doctor.JudgeKey(l.key)...)
	}
	best := looks[0]
	if i := slices.IndexFunc(looks, func(l keyLook) bool { return l.err == nil }); i >= 0 {
		best = looks[i]
	}
	z := p.cloudZone(ctx, pr, best, names)
	out = append(out, doctor.JudgeCloudZone(z)...)
	return append(out, p.cloudNames(ctx, pr, best, names)...)
}

func lookWith(ctx context.Context, pr config.Provider, k keyOf, name failover.RecordName) keyLook {
	l := keyLook{key: doctor.KeyFacts{Provider: pr.Name, Key: k.what}}
	if k.from.File != "" {
		if _, err := os.Stat(k.from.File); errors.Is(err, fs.ErrNotExist) {
			l.err = fmt.Errorf("its file %s is not there", k.from.File)
			l.key.Err, l.key.Absent = l.err.Error(), true
			return l
		}
	}
	if l.eyes, l.err = eyesOf(pr, k.from); l.err != nil {
		l.eyes = nil
		l.key.Err, l.key.Bad = l.err.Error(), true
		return l
	}
	limited, cancel := context.WithTimeout(ctx, cloudKey)
	defer cancel()
	l.facts, l.err = l.eyes.Inspect(limited, name)
	for _, r := range l.facts.Rights {
		l.key.Rights = append(l.key.Rights, doctor.Right{Action: r.Action, Needed: r.Needed, State: r.State, Broad: broadRight(r.Action)})
	}
	l.key.Others = l.facts.OtherZones
	if l.err != nil && !allDenied(l.key.Rights) {
		l.key.Err = firstLine(l.err)
		l.key.Bad = slices.ContainsFunc([]error{dnsctl.ErrKey, dnsctl.ErrSecret, dnsctl.ErrClock, dnsctl.ErrZone}, func(e error) bool { return errors.Is(l.err, e) })
	}
	return l
}

// broadRight is one that lists all zones of an account.
func broadRight(action string) bool {
	return action == "alidns:DescribeDomains" || action == "pvtz:DescribeZones"
}

func allDenied(rs []doctor.Right) bool {
	return !slices.ContainsFunc(rs, func(r doctor.Right) bool { return r.State == "granted" || r.State == "unknown" })
}

// firstLine is the first of several errors that say much the same.
func firstLine(err error) string {
	line, _, _ := strings.Cut(shortly(err), "\n")
	return line
}

// sameKey says that two sources give one key. Of two files the IDs are compared;
// they are not shown.
func sameKey(a, b dnsctl.CloudCredentials) bool {
	if a == b {
		return true
	}
	id := func(c dnsctl.CloudCredentials) string {
		if c.File == "" || c.RoleARN != "" {
			return ""
		}
		var k struct {
			AccessKeyID string `json:"AccessKeyId"`
		}
		text, err := config.ReadSecretFile(c.File)
		if err != nil || json.Unmarshal(text, &k) != nil {
			return ""
		}
		return k.AccessKeyID
	}
	x := id(a)
	return x != "" && x == id(b)
}

// cloudZone makes facts for the judge of what the API said of the zone.
func (p *patient) cloudZone(ctx context.Context, pr config.Provider, l keyLook, names []nameAt) doctor.CloudZoneFacts {
	f := l.facts
	z := doctor.CloudZoneFacts{
		Provider: pr.Name, Zone: string(pr.Zone), MinTTL: f.MinTTL, Edition: f.Edition, Public: pr.Alidns != nil, Private: pr.Pvtz != nil,
		Delegated: f.Delegated, Named: f.NameServers, Expected: f.Expected,
		Passes: f.ProxyPattern, Bound: f.VPCs, Missing: f.MissingVPCs,
	}
	if l.err != nil {
		z.Err = firstLine(l.err)
	}
	unread := func(action string) string {
		i := slices.IndexFunc(f.Unread, func(s string) bool { return strings.HasPrefix(s, action) })
		if i < 0 {
			return ""
		}
		return f.Unread[i]
	}
	z.MinTTLNo = unread("alidns:DescribeDomainInfo")
	z.DelegatedNo = orElse(unread("alidns:DescribeDomainNs"), unread("the vendor could not"))
	if z.Public {
		z.Parent = p.asker.ParentNS(ctx, string(pr.Zone))
	}
	if pr.Pvtz != nil {
		z.Override, z.PrivateNo = pr.Pvtz.Override, unread("pvtz:DescribeZoneInfo")
		if f.DNSGroup != "" {
			fast := f.DNSGroup == "FAST_ZONE"
			z.Immediate = &fast
		}
	}
	told := map[*config.Instance]bool{}
	for _, n := range names {
		if told[n.of] {
			continue
		}
		told[n.of] = true
		worst := func(ttl uint32) string {
			pol := n.of.Policy
			pol.TTL = ttl
			sum, _ := failover.Sum(pol.WorstCase(failover.Failover))
			return age(sum)
		}
		z.TTLs = append(z.TTLs, doctor.TTLPlan{Instance: string(n.of.Policy.Instance), TTL: n.of.Policy.TTL, Worst: worst(n.of.Policy.TTL), AtFloor: worst(max(f.MinTTL, n.of.Policy.TTL))})
	}
	return z
}

// cloudNames looks at the records of every name. The first was looked at with
// the zone.
func (p *patient) cloudNames(ctx context.Context, pr config.Provider, l keyLook, names []nameAt) []doctor.Finding {
	found := make([][]doctor.Finding, len(names))
	judge := func(i int, f dnsctl.CloudFacts, err error) {
		n := doctor.CloudNameFacts{
			Provider: pr.Name, Name: string(names[i].Name), By: p.cfg.Controller.Name, Targets: targetsOf(names[i].NamePolicy),
			Weighted: f.Weighted, Managed: f.GTM,
		}
		for _, r := range f.Records {
			n.Records = append(n.Records, doctor.CloudRecord{Line: r.Line, ID: r.ID, Type: r.Type, Value: r.Value, Mark: r.Mark, TTL: r.TTL, Disabled: r.Disabled, Locked: r.Locked})
		}
		if k := slices.IndexFunc(f.Rights, func(r dnsctl.CloudRight) bool { return r.Needed && r.State != "not tried" }); err == nil && k >= 0 && f.Rights[k].State != "granted" {
			err = fmt.Errorf("%s is %s", f.Rights[k].Action, f.Rights[k].State)
		}
		if err != nil {
			n.Err = firstLine(err)
		}
		found[i] = doctor.JudgeCloudName(n)
	}
	var g errgroup.Group
	g.SetLimit(cloudAtOnce)
	for i, n := range names {
		g.Go(func() error {
			switch {
			case i == 0 || l.err != nil:
				judge(i, l.facts, l.err)
			case ctx.Err() != nil:
				judge(i, dnsctl.CloudFacts{}, errors.New("not looked at: the time was over"))
			default:
				f, err := l.eyes.InspectName(ctx, n.Name)
				judge(i, f, err)
			}
			return nil
		})
	}
	_ = g.Wait() // a name has findings, not errors
	return slices.Concat(found...)
}

// cloudClock reads the Date of the API, without a key.
func cloudClock(ctx context.Context, pr config.Provider) doctor.ClockFacts {
	f := doctor.ClockFacts{With: pr.Name, Limit: cloudLife, LimitOf: "the API refuses requests that were signed more than 15 minutes before or after"}
	eyes, err := eyesOf(pr, pr.Cloud().Credentials)
	if err != nil {
		f.Err = firstLine(err)
		return f
	}
	defer eyes.Close()
	sent, received, theirs, err := eyes.Clock(ctx)
	switch {
	case errors.Is(err, dnsctl.ErrMalformed):
		f.Absent = firstLine(err)
		return f
	case err != nil:
		f.Err = firstLine(err)
		return f
	}
	got := doctor.Compared(f.With, "the Date of the API", sent, received, theirs, time.Second)
	got.Limit, got.LimitOf = f.Limit, f.LimitOf
	return got
}
