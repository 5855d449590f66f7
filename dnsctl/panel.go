package dnsctl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// PanelResolver is one resolver that is asked after each switch, as clients
// ask it.
type PanelResolver struct {
	Name    string
	Address netip.AddrPort
	// Stretches is for how long it is known to keep answers at least (unbound
	// cache-min-ttl, BIND min-cache-ttl): up to there nobody is told. 0: it is
	// expected to keep to TTLs.
	Stretches time.Duration
}

// PanelAnswer is what one resolver said of one name once.
type PanelAnswer struct {
	At    time.Time
	Took  time.Duration
	Value failover.Target // empty: it showed no CNAME
	TTL   uint32          // seconds; what is left of it in the cache
	Err   string          // no usable answer: why
}

// AskResolver asks one resolver for the name with recursion desired, over UDP
// and where that is cut over TCP, within timeout (0 is DefaultVerifyTimeout).
// A resolver that has nothing in its cache then has: ask only once every
// authority shows what it shall find.
func AskResolver(ctx context.Context, at netip.AddrPort, name failover.RecordName, timeout time.Duration) PanelAnswer {
	if timeout <= 0 {
		timeout = DefaultVerifyTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	q := ask{name: name, at: at, net: "udp", recurse: true}
	r, err := q.exchange(ctx)
	if err == nil && r.Truncated {
		q.net = "tcp"
		r, err = q.exchange(ctx)
	}
	a := PanelAnswer{At: time.Now()}
	a.Took = a.At.Sub(began)
	switch {
	case err != nil:
		a.Err = said(err)
	case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError:
		a.Err = rcodeName(r.Rcode)
	default:
		for _, rr := range r.Answer {
			if c, ok := rr.(*dns.CNAME); ok && canonical(c.Hdr.Name) == canonical(string(name)) && wireName(canonical(c.Target)) {
				a.Value, a.TTL = failover.Target(canonical(c.Target)), lifetime(c.Hdr.Ttl)
				return a
			}
		}
		a.Err = "no CNAME"
		if r.Rcode == dns.RcodeNameError {
			a.Err = "NXDOMAIN"
		}
	}
	return a
}

// Switch is what the panel is held against.
type Switch struct {
	Op        string                `json:"op"`
	Name      failover.RecordName   `json:"name"`
	To        failover.Target       `json:"to"`
	Written   time.Time             `json:"written"`   // when every write point showed it
	Published time.Time             `json:"published"` // when the last authority did
	TTLOld    uint32                `json:"ttl_old"`   // seconds, the largest that the old value may be cached with
	TTLMost   uint32                `json:"ttl_most"`  // seconds, the largest that any value was ever served with
	Vantage   string                `json:"vantage"`   // from where it was asked
	Instance  failover.InstanceName `json:"instance,omitempty"`
}

// bound is until when a resolver that keeps to TTLs may show an old value.
func (s *Switch) bound() time.Time {
	return s.Published.Add(time.Duration(s.TTLOld) * time.Second)
}

// Propagation is how a switch reached the panel. It is measured from the write;
// the first question comes after the publication, so nothing is known of what
// a resolver would have said before.
type Propagation struct {
	Switch
	Resolvers []ResolverCurve `json:"resolvers"`
	// P50, P95 and P100 are the times from the write by which so many of the
	// resolvers showed the new value; nil while they do not.
	P50   *time.Duration `json:"p50_ns"`
	P95   *time.Duration `json:"p95_ns"`
	P100  *time.Duration `json:"p100_ns"`
	Done  bool           `json:"done"`            // it was asked to the end
	Ended string         `json:"ended,omitempty"` // why it was not
	Asked time.Time      `json:"asked"`           // when the last answer came
}

// ResolverCurve is one resolver's part of it.
type ResolverCurve struct {
	Name     string          `json:"name"`
	Address  netip.AddrPort  `json:"address"`
	Asks     int             `json:"asks"`
	New      *time.Duration  `json:"new_ns"`                // from the write until it first showed the new value; nil: not yet
	LastOld  *time.Duration  `json:"last_old_ns,omitempty"` // until it last showed another
	Old      failover.Target `json:"old,omitempty"`         // which
	MaxTTL   uint32          `json:"max_ttl"`               // seconds, of its answers
	Faults   []string        `json:"faults,omitempty"`      // what it does against the rules, in words
	Errors   int             `json:"errors,omitempty"`      // questions without a usable answer
	Err      string          `json:"error,omitempty"`       // the last of them
	Expected bool            `json:"expected,omitempty"`    // the faults are within what the config says of it

	stretches time.Duration
	settled   int // consecutive answers with the new value
}

// NewPropagation begins the curve of a switch.
func NewPropagation(s Switch, panel []PanelResolver) *Propagation {
	p := &Propagation{Switch: s}
	for _, r := range panel {
		p.Resolvers = append(p.Resolvers, ResolverCurve{Name: r.Name, Address: r.Address, stretches: r.Stretches})
	}
	return p
}

// settledAfter is how many consecutive answers with the new value end the
// questions to a resolver: one address may hide several caches.
const settledAfter = 3

// Wants says whether resolver i should be asked again.
func (p *Propagation) Wants(i int) bool { return p.Resolvers[i].settled < settledAfter }

// Note takes the answer of resolver i.
func (p *Propagation) Note(i int, a PanelAnswer) {
	r := &p.Resolvers[i]
	r.Asks++
	p.Asked = a.At
	since := max(0, a.At.Sub(p.Written)) // a clock may be set back
	if a.Err != "" {
		r.Errors++
		r.Err = a.Err
		return
	}
	r.MaxTTL = max(r.MaxTTL, a.TTL)
	if a.Value == p.To {
		r.settled++
		if r.New == nil {
			r.New = &since
		}
	} else {
		// Also after the new one: another cache behind the same address.
		r.settled, r.LastOld, r.Old = 0, &since, a.Value
	}
	p.judge(r, a)
	p.count()
}

// judge names what a resolver does that the TTL does not allow.
func (p *Propagation) judge(r *ResolverCurve, a PanelAnswer) {
	fault := func(slot, text string, long time.Duration) {
		i := slices.IndexFunc(r.Faults, func(f string) bool { return len(f) >= len(slot) && f[:len(slot)] == slot })
		if i >= 0 {
			r.Faults[i] = text
		} else {
			r.Faults = append(r.Faults, text)
		}
		r.Expected = long <= r.stretches && (len(r.Faults) == 1 || r.Expected)
	}
	if p.TTLMost > 0 && a.TTL > p.TTLMost {
		fault("stretches", fmt.Sprintf("stretches TTLs: it answers with %d s, no authority ever served more than %d s", r.MaxTTL, p.TTLMost), time.Duration(a.TTL)*time.Second)
	}
	// A second of grace: TTLs are whole seconds, and a cache may round up.
	if late := a.At.Add(-a.Took).Sub(p.bound()); a.Value != p.To && late > time.Second {
		fault("shows", fmt.Sprintf("shows %s %s after the last cache should have forgotten it", a.Value, late.Round(time.Second)), a.At.Sub(p.Published))
	}
}

// count draws the curve: a resolver that has no new value yet is behind all.
func (p *Propagation) count() {
	var times []time.Duration
	for _, r := range p.Resolvers {
		if r.New != nil {
			t := *r.New
			if r.LastOld != nil {
				t = max(t, *r.LastOld) // it is over when the old one was seen last
			}
			times = append(times, t)
		}
	}
	slices.Sort(times)
	at := func(percent int) *time.Duration {
		n := (len(p.Resolvers)*percent + 99) / 100 // nearest rank
		if n < 1 || n > len(times) {
			return nil
		}
		return &times[n-1]
	}
	p.P50, p.P95, p.P100 = at(50), at(95), at(100)
}

// Stragglers are the resolvers that a person should know of: by name, with why.
func (p *Propagation) Stragglers() []string {
	var out []string
	for _, r := range p.Resolvers {
		switch {
		case len(r.Faults) > 0:
			for _, f := range r.Faults {
				if r.Expected {
					f += " (as the config says of it)"
				}
				out = append(out, r.Name+" "+f)
			}
		case p.Done && r.New == nil && r.Err != "":
			out = append(out, r.Name+" gave no usable answer: "+r.Err)
		case p.Done && r.New == nil:
			out = append(out, r.Name+" never showed the new value")
		}
	}
	return out
}
