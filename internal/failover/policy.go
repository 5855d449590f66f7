package failover

import (
	"fmt"
	"slices"
	"time"
)

// Policy is everything that the core must know of one instance besides its
// record and what was observed. It is a plain value; the config builds it.
type Policy struct {
	Instance InstanceName
	By       string // the controller's name, for marks and the audit; no spaces
	Preset   Preset
	Clusters [2]ClusterName
	Primary  ClusterName
	Names    []NamePolicy
	Vantages []VantagePolicy // every vantage that may vote

	SingleVantage bool // one failure domain is accepted
	Auto          Auto // the most that automation may do, whatever was armed
	ForceShadow   bool // run --shadow

	Round      time.Duration // between two probes of one target
	Timeout    time.Duration // of one probe
	Burst      time.Duration // between the re-checks after a first miss
	Count      CountPolicy
	MinUp      time.Duration // how long the target must have been up
	RideOut    time.Duration // the longest blip that is never acted upon
	Cooldown   time.Duration
	NeedAck    bool     // a failover must be acknowledged before the next automatic one
	Budget     []Budget // automatic moves per period, then lock-out
	Settle     time.Duration
	Expected   string // hash of this policy, for the settling guard and plans
	Generation string // hash of the targets that a vote must be about; empty: what each report says is wanted
	Canary     bool   // the target must pass a write with the service identity
	MoveProof  MoveProofPolicy

	RPO          RPO
	Replicated   bool // something is replicated: drain, exposure and standby protection apply
	Gated        bool // a gate driver exists for both clusters
	ClientProbes bool // vantages write with the client identity
	Fence        Fence
	GateDriver   Fence // the strongest driver that answers; none without one
	CanCut       bool  // a way to cut pooled clients exists

	TTL         uint32 // seconds, in steady state
	TTLFloor    uint32 // seconds; the provider's least
	Clients     ClientPolicy
	LongestCall time.Duration
	LeaseMargin time.Duration
	VerifyEvery time.Duration // between two rounds of asking every authority
	ReadEvery   time.Duration // between two reads of the name in Idle
	Approvals   int           // people needed besides the requester
	// ApprovalLife is how long a proposal waits for people; 0 is DefaultApprovalLife.
	ApprovalLife time.Duration `json:",omitempty"`
	// People are those who may say yes, as they are authenticated; none is
	// whoever comes. Who left the list is no other policy, and no plan is stale.
	People      []string      `json:"-"`
	Freeze      []Window      `json:",omitempty"` // when nothing may start; of no cluster
	Maintenance []Window      `json:",omitempty"` // when somebody works on a cluster
	Hooks       []Hook        `json:",omitempty"` // pre and post, each in its order
	HookRetry   time.Duration `json:",omitempty"` // after a veto of an automatic start; 0 is DefaultHookRetry
}

// NamePolicy is one DNS name of the instance. Names of one instance move
// together.
type NamePolicy struct {
	Name     RecordName
	Provider string
	Zone     RecordName
	Embedded bool
	Targets  map[ClusterName]Target
	// Limits are what its provider does not promise, in words, empty where
	// nothing is missing. It decides nothing.
	Limits string `json:"-"`
}

// VantagePolicy says which failure domain a vantage belongs to.
type VantagePolicy struct {
	Name   VantageName
	Domain DomainName
}

// Budget is a number of automatic moves per period.
type Budget struct {
	Moves int
	Per   time.Duration
}

// RPO is the loss that an automatic failover may accept.
type RPO struct {
	Kind  RPOKind
	Bound time.Duration // for bounded
}

// RPOKind is none, bounded or zero.
type RPOKind string

const (
	RPONone    RPOKind = "none" // nothing is replicated, or its loss does not matter
	RPOBounded RPOKind = "bounded"
	RPOZero    RPOKind = "zero"
)

func (r RPO) String() string {
	if r.Kind == RPOBounded {
		return r.Bound.String()
	}
	return string(r.Kind)
}

// Auto is the most that automation may do.
type Auto string

const (
	AutoOff     Auto = "off"
	AutoPropose Auto = "propose"
	AutoApprove Auto = "approve"
	AutoAuto    Auto = "auto"
)

// Fence is how hard the old side must be proved closed.
type Fence string

const (
	FenceNone   Fence = "none"
	FencePrefer Fence = "prefer"
	FenceStrict Fence = "strict"
)

func (f Fence) strength() int { return slices.Index([]Fence{FenceNone, FencePrefer, FenceStrict}, f) }

// MoveProofPolicy says whether a move proof is wanted.
type MoveProofPolicy string

const (
	MoveProofRequired MoveProofPolicy = "required"
	MoveProofWaived   MoveProofPolicy = "waived"
)

// MoveProofLife is how long a move proof counts.
const MoveProofLife = 7 * 24 * time.Hour

// Preset is a named set of numbers.
type Preset string

const (
	PresetTablestore Preset = "tablestore-standby"
	PresetHTTP       Preset = "stateless-http"
	PresetFastLab    Preset = "fast-lab"
)

// Presets lists every preset, for messages and completion.
var Presets = []Preset{PresetTablestore, PresetHTTP, PresetFastLab}

// PresetPolicy returns the numbers of a preset; the caller fills in names,
// clusters and vantages.
func PresetPolicy(p Preset) (Policy, error) {
	base := Policy{
		Preset: p, Auto: AutoAuto, RPO: RPO{Kind: RPONone}, Fence: FenceNone, GateDriver: FenceNone,
		MoveProof: MoveProofRequired, TTL: 30, TTLFloor: 5,
		LongestCall: 3 * time.Second, LeaseMargin: time.Second,
		VerifyEvery: 250 * time.Millisecond, ReadEvery: 30 * time.Second,
	}
	switch p {
	case PresetTablestore:
		base.Round, base.Timeout, base.Burst = 5*time.Second, 2*time.Second, 250*time.Millisecond
		base.Count = CountPolicy{Fall: 3, Rise: 6, Window: 20, Ratio: 0.5}
		base.RideOut, base.MinUp = 15*time.Second, 60*time.Second
		base.Cooldown, base.NeedAck = 30*time.Minute, true
		base.Auto = AutoApprove // what asynchronous replication did not carry is lost: a person looks first
		base.Budget = []Budget{{1, 24 * time.Hour}, {3, 30 * 24 * time.Hour}}
		base.Settle = 60 * time.Second
	case PresetHTTP:
		base.Round, base.Timeout, base.Burst = time.Second, 700*time.Millisecond, 100*time.Millisecond
		base.Count = CountPolicy{Fall: 3, Rise: 5, Window: 30, Ratio: 0.4}
		base.RideOut, base.MinUp = 3*time.Second, 30*time.Second
		base.Cooldown = 10 * time.Minute
		base.Budget = []Budget{{3, time.Hour}}
		base.Settle = 30 * time.Second
	case PresetFastLab:
		base.Round, base.Timeout, base.Burst = 200*time.Millisecond, 150*time.Millisecond, 10*time.Millisecond
		base.Count = CountPolicy{Fall: 3, Rise: 3, Window: 20, Ratio: 0.4}
		base.Cooldown = 5 * time.Second
		base.Budget = []Budget{{100, time.Hour}}
		base.TTL = 5
		base.VerifyEvery = 100 * time.Millisecond
	default:
		return Policy{}, fmt.Errorf("preset %q is none of %v", p, Presets)
	}
	return base, nil
}

// Other returns the cluster that c is not.
func (p *Policy) Other(c ClusterName) ClusterName {
	if p.Clusters[0] == c {
		return p.Clusters[1]
	}
	return p.Clusters[0]
}

// Has says whether c is one of the two clusters.
func (p *Policy) Has(c ClusterName) bool { return c == p.Clusters[0] || c == p.Clusters[1] }

// Domains returns the configured failure domains in config order, each once.
func (p *Policy) Domains() []DomainName {
	var ds []DomainName
	for _, v := range p.Vantages {
		if !slices.Contains(ds, v.Domain) {
			ds = append(ds, v.Domain)
		}
	}
	return ds
}

// Quorum is the number of configured domains that must agree: more than half.
func (p *Policy) Quorum() int { return len(p.Domains())/2 + 1 }

// Stale is the age from which a vote counts as unknown.
func (p *Policy) Stale() time.Duration { return 2 * p.Round }

// LowTTL is the TTL that a planned switchover lowers to, in seconds.
func (p *Policy) LowTTL() uint32 { return min(p.TTL, max(5, p.TTLFloor)) }

// AllEmbedded says that every name is served by our own authority.
func (p *Policy) AllEmbedded() bool {
	return !slices.ContainsFunc(p.Names, func(n NamePolicy) bool { return !n.Embedded })
}

// Name returns the policy of one name, or nil.
func (p *Policy) Name(n RecordName) *NamePolicy {
	i := slices.IndexFunc(p.Names, func(x NamePolicy) bool { return x.Name == n })
	if i < 0 {
		return nil
	}
	return &p.Names[i]
}

// Holder returns the cluster whose target for the name is exactly t, or "".
func (n *NamePolicy) Holder(t Target) ClusterName {
	for c, x := range n.Targets {
		if x == t {
			return c
		}
	}
	return ""
}

// Validate checks the relations between the settings and returns every fault.
func (p *Policy) Validate() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Clusters[0] == "" || p.Clusters[1] == "" || p.Clusters[0] == p.Clusters[1] {
		bad("clusters: exactly two different names are needed")
	}
	if !p.Has(p.Primary) {
		bad("primary: %q is not one of the clusters", p.Primary)
	}
	if len(p.Names) == 0 {
		bad("names: at least one is needed")
	}
	for _, n := range p.Names {
		a, b := n.Targets[p.Clusters[0]], n.Targets[p.Clusters[1]]
		switch {
		case a == "" || b == "":
			bad("names: %s has no target for both clusters", n.Name)
		case a == b:
			bad("names: %s has the same target %s for both clusters", n.Name, a)
		case Target(n.Name) == a || Target(n.Name) == b:
			bad("names: %s would point at itself", n.Name)
		}
		if n.Name == n.Zone {
			bad("names: %s is the apex of its zone, where SOA and NS live: a CNAME may not stand there (RFC 1034 section 3.6.2)", n.Name)
		}
	}
	if len(p.Vantages) == 0 {
		bad("vantages: at least one is needed")
	}
	for _, q := range p.Inequalities() {
		if !q.Holds {
			bad("%s: %s", q.Keys, q.Fault)
		}
	}
	p.validateWindows(bad)
	p.validateHooks(bad)
	if p.Preset == PresetFastLab && p.Replicated {
		bad("preset: fast-lab is for demos and benchmarks and is refused with replication")
	}
	return errs
}
