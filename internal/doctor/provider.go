package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// CloudZoneFacts are what a provider's API says of a zone. Nothing here is asked
// by this package: whoever knows the API hands it in.
type CloudZoneFacts struct {
	Provider string
	Zone     string
	Err      string // nothing of it could be read: why

	TTLs     []TTLPlan // of the names that it has
	MinTTL   uint32    // seconds, the least that the zone takes; 0 is not known
	Edition  string
	MinTTLNo string // why MinTTL is not known

	Public      bool     // the Internet delegates it
	Delegated   *bool    // the provider says that its parent names the provider's servers; nil is not known
	DelegatedNo string   // why not
	Named       []string // servers that the provider says the parent names
	Expected    []string // servers that the provider has for it
	Parent      []string // servers that the parent names, as asked from here; none: not known

	Private   bool   // answers for networks that are bound to it
	Immediate *bool  // changes show at once; nil is not known
	Passes    string // what becomes of names that it does not hold: RECORD passes them on, ZONE denies them
	Override  bool   // the config says that it bears somebody else's name
	Bound     []string
	Missing   []string // networks of the config that it is not bound to
	PrivateNo string   // why the above is not known
}

// TTLPlan is what an instance wants of a name.
type TTLPlan struct {
	Instance string
	TTL      uint32 // seconds, of the policy
	// Worst is the bounded part of the worst case of a failover, in words, with
	// the policy's TTL, and AtFloor with the least that the zone takes.
	Worst, AtFloor string
}

// KeyFacts are what one key of a provider may do.
type KeyFacts struct {
	Provider string
	Key      string // what it is for: "the key that writes"
	Err      string // it could not be tried: why
	Bad      bool   // with Err: it is refused, and will be for ever
	Absent   bool   // with Err: there is none yet
	Rights   []Right
	Others   []string // zones that it can list besides its own
	SameAs   string   // the same key serves this purpose too, which it must not
}

// Right is one permission.
type Right struct {
	Action string
	Needed bool   // without it nothing works; the others serve doctor
	State  string // granted, denied, unknown, not tried
	Broad  bool   // it is not to be had
}

// CloudNameFacts are the records of one name, on all lines.
type CloudNameFacts struct {
	Provider  string
	Name      string
	By        string // the controller's name, as it stands in marks
	Targets   []string
	Err       string
	Records   []CloudRecord
	Weighted  bool
	Managed   []string // values that are names of the provider's own traffic manager
	LinesHave bool     // it answers networks differently
}

// CloudRecord is one record.
type CloudRecord struct {
	Line, ID, Type, Value, Mark string
	TTL                         uint32
	Disabled, Locked            bool
}

// PolicyFacts are a name of a response policy zone, at the zone's primary and at
// every resolver that is to apply it.
type PolicyFacts struct {
	Provider, Zone, Name string
	Stands               []string // CNAMEs in the policy zone itself, as its primary says
	StandsErr            string
	Resolvers            []AppliedFacts
	Overridden           map[string]string // by target: what a policy zone makes of it; none is good
}

// AppliedFacts are what one resolver makes of a name.
type AppliedFacts struct {
	At     netip.AddrPort
	Plain  []string // CNAMEs at the name, asked as clients do
	Err    string
	Secure []string // the same, asked for DNSSEC
	SecErr string
	Signed bool // what it hands out to those who want DNSSEC is signed by the name's owner
}

// SurveyPolicy asks the primary of a policy zone what stands there for a name,
// and every resolver what it makes of it. owner is where it stands in the zone;
// a target stands there as TARGET before the zone.
func (a Asker) SurveyPolicy(ctx context.Context, zone, name, owner string, targets []string, primary netip.AddrPort, resolvers []netip.AddrPort) PolicyFacts {
	f := PolicyFacts{Zone: low(zone), Name: low(name), Overridden: map[string]string{}}
	if !primary.IsValid() {
		f.StandsErr = "its server is not an address"
	} else if r, err := a.put(ctx, primary, owner, dns.TypeCNAME, false); err != nil {
		f.StandsErr = words(err)
	} else if f.Stands = cnamesIn(r, low(owner)); len(f.Stands) == 0 && r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		f.StandsErr = dns.RcodeToString[r.Rcode]
	}
	if f.StandsErr == "" {
		for _, t := range targets {
			if r, err := a.put(ctx, primary, low(t)+low(zone), dns.TypeANY, false); err == nil && len(r.Answer) > 0 {
				f.Overridden[low(t)] = r.Answer[0].Header().Name
			}
		}
	}
	f.Resolvers = make([]AppliedFacts, len(resolvers))
	var g errgroup.Group
	g.SetLimit(defaultConcurrent)
	for i, at := range resolvers {
		g.Go(func() error { f.Resolvers[i] = a.applied(ctx, at, f.Name); return nil })
	}
	_ = g.Wait() // what could not be asked is a fact
	return f
}

func (a Asker) applied(ctx context.Context, at netip.AddrPort, name string) AppliedFacts {
	out := AppliedFacts{At: at}
	r, err := a.put(ctx, at, name, dns.TypeCNAME, true)
	switch {
	case err != nil:
		out.Err = words(err)
		return out
	case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
		out.Err = dns.RcodeToString[r.Rcode]
		return out
	}
	out.Plain = cnamesIn(r, name)
	timeout := a.Timeout
	if timeout <= 0 {
		timeout = askTimeout
	}
	// Over TCP, since signatures are long.
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.SetEdns0(udpSize, true)
	r, err = send(limited, at, "tcp", m)
	switch {
	case err != nil:
		out.SecErr = words(err)
	case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
		out.SecErr = dns.RcodeToString[r.Rcode]
	}
	if err != nil {
		return out
	}
	out.Secure = cnamesIn(r, name)
	out.Signed = slices.ContainsFunc(append(slices.Clone(r.Answer), r.Ns...), func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeRRSIG
	})
	return out
}

func cnamesIn(r *dns.Msg, owner string) []string {
	var out []string
	for _, rr := range r.Answer {
		if c, ok := rr.(*dns.CNAME); ok && low(c.Hdr.Name) == owner {
			out = append(out, low(c.Target))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ParentNS are the servers that the zone above names for a zone; none where it
// cannot be asked from here.
func (a Asker) ParentNS(ctx context.Context, zone string) []string {
	z := ZoneFacts{Zone: low(zone)}
	share(ctx, 3, func(ctx context.Context) { a.parent(ctx, &z) })
	var out []string
	for _, p := range z.Parents {
		out = append(out, p.NS...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ViewFacts are a name as the clients of a private network see it, and as the
// others do.
type ViewFacts struct {
	Name           string
	Inside, Public []string // CNAMEs; none: there is none
	InErr, PubErr  string
	Managed        bool // the public name is moved by another provider of the same config
}

// SurveyView asks the resolvers of a private network, and those that a has.
func (a Asker) SurveyView(ctx context.Context, name string, inside []netip.AddrPort) ViewFacts {
	f := ViewFacts{Name: low(name)}
	look := func(a Asker) (values []string, why string) {
		r, err := a.resolve(ctx, f.Name, dns.TypeCNAME)
		if err != nil {
			return nil, err.Error()
		}
		return cnamesIn(r, f.Name), ""
	}
	in := a
	in.Resolvers = inside
	f.Inside, f.InErr = look(in)
	pub := a
	pub.Resolvers = slices.DeleteFunc(slices.Clone(a.Resolvers), func(at netip.AddrPort) bool { return slices.Contains(inside, at) })
	f.Public, f.PubErr = look(pub)
	return f
}

func joinedOr(of []string, other string) string { return orElse(strings.Join(of, ", "), other) }
