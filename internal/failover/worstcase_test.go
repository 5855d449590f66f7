package failover

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestWorstCaseIsTheBoundOfAPlan: what config explain says before anything runs
// is what the plan of the running controller says, for every preset.
func TestWorstCaseIsTheBoundOfAPlan(t *testing.T) {
	for _, embedded := range []bool{true, false} {
		p := testPolicy()
		p.Names[0].Embedded = embedded
		p.TTL, p.TTLFloor = 30, 5
		w := newWorld(p)
		w.start()
		w.settleUp()
		for _, kind := range []OpKind{Failover, Switchover} {
			s := &w.s
			s.rec.Names = []NameRecord{{Name: p.Names[0].Name, TTL: p.TTL}}
			want := bound(s, &w.p, kind, nil, w.now)
			if got := w.p.WorstCase(kind); !reflect.DeepEqual(got, want) {
				t.Errorf("embedded %v, %s: got\n%+v\nwant\n%+v", embedded, kind, got, want)
			}
		}
	}
}

func worstPolicy(t *testing.T, preset Preset, change func(*Policy)) *Policy {
	t.Helper()
	p, err := PresetPolicy(preset)
	if err != nil {
		t.Fatal(err)
	}
	p.Names = []NamePolicy{{Name: "n.test.", Zone: "test."}}
	if change != nil {
		change(&p)
	}
	return &p
}

// TestWorstCaseByTerm counts by hand.
func TestWorstCaseByTerm(t *testing.T) {
	for _, c := range []struct {
		preset    Preset
		change    func(*Policy)
		kind      OpKind
		sum       time.Duration
		unbounded string
	}{
		// round 5s + timeout 2s + 2 re-checks of 2s; ride_out 15s; round + timeout; write 3s; ttl 30s
		{PresetTablestore, nil, Failover, (5 + 2 + 4 + 15 + 7 + 3 + 30) * time.Second, "people, publication, open connections"},
		{PresetHTTP, nil, Failover, 1000*time.Millisecond + 3*700*time.Millisecond + 3*time.Second + 1700*time.Millisecond + 33*time.Second, "publication, open connections"},
		{PresetHTTP, func(p *Policy) { p.Names[0].Embedded = true }, Switchover, 35 * time.Second, "publication, open connections"},
		{PresetFastLab, nil, Failover, 200*time.Millisecond + 3*150*time.Millisecond + 8*time.Second, "publication, open connections"},
		{PresetFastLab, nil, Switchover, 8 * time.Second, "publication, open connections"},
		{PresetHTTP, func(p *Policy) { p.Auto = AutoPropose }, Failover, 40800 * time.Millisecond, "a person, publication, open connections"},
		{PresetHTTP, func(p *Policy) { p.Auto = AutoOff }, Failover, 40800 * time.Millisecond, "a person, publication, open connections"},
		{PresetHTTP, func(p *Policy) { p.Auto = AutoApprove }, Failover, 40800 * time.Millisecond, "people, publication, open connections"},
		{PresetHTTP, func(p *Policy) { p.Auto = AutoOff }, Switchover, 38 * time.Second, "publication, open connections"},
		{PresetHTTP, func(p *Policy) { p.Gated, p.Fence = true, FencePrefer }, Failover, 50800 * time.Millisecond, "publication, open connections"},
		{PresetHTTP, func(p *Policy) { p.Gated, p.Fence = true, FenceStrict }, Failover, 50800 * time.Millisecond, "proof of the close, publication, open connections"},
		{PresetHTTP, func(p *Policy) { p.Replicated = true }, Failover, 45800 * time.Millisecond, "publication, open connections"},
	} {
		p := worstPolicy(t, c.preset, c.change)
		ts := p.WorstCase(c.kind)
		sum, whole := Sum(ts)
		var unbounded []string
		for _, term := range ts {
			if term.Unbounded {
				unbounded = append(unbounded, term.Term)
				if term.Is != 0 {
					t.Errorf("%s: an unbounded term has the figure %s", term.Term, term.Is)
				}
			}
			if term.Note == "" {
				t.Errorf("%s says nothing", term.Term)
			}
		}
		if sum != c.sum || whole || strings.Join(unbounded, ", ") != c.unbounded {
			t.Errorf("%s %s: %s (whole %v), unbounded %q; want %s, %q\n%+v", c.preset, c.kind, sum, whole, unbounded, c.sum, c.unbounded, ts)
		}
	}
	if sum, whole := Sum([]BoundTerm{{Is: 2}, {Is: 3}}); sum != 5 || !whole {
		t.Errorf("bounded terms: %d %v", sum, whole)
	}
}

// TestEachInequalityFailsAlone, under its name, and is a mistake of Validate
// with the name of its keys.
func TestEachInequalityFailsAlone(t *testing.T) {
	good := testPolicy()
	if errs := good.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	seen := map[string]bool{}
	for _, c := range []struct {
		name, fault string
		change      func(*Policy)
	}{
		{"timeout-below-round", "timeout: 5s must be above 0 and below round 5s", func(p *Policy) { p.Round, p.Timeout = 5*time.Second, 5*time.Second }},
		{"timeout-below-round", "timeout: 0s must be above 0 and below round", func(p *Policy) { p.Timeout = 0 }},
		{"burst-within-round", "burst: 1h0m0s must not be above round", func(p *Policy) { p.Burst = time.Hour }},
		{"fall-and-rise-at-least-one", "fall, rise: must be at least 1", func(p *Policy) { p.Count.Fall = 0 }},
		{"fall-and-rise-at-least-one", "fall, rise: must be at least 1", func(p *Policy) { p.Count.Rise = -1 }},
		{"window-within-memory", "window: 65 is outside 0 to 64", func(p *Policy) { p.Count.Window, p.Count.Ratio = 65, 0.5 }},
		{"window-within-memory", "window: -1 is outside 0 to 64", func(p *Policy) { p.Count.Window = -1 }},
		{"ratio-is-a-share", "ratio: 1.5 is outside 0 (excluded) to 1", func(p *Policy) { p.Count.Window, p.Count.Ratio = 20, 1.5 }},
		{"ratio-is-a-share", "ratio: 0 is outside 0 (excluded) to 1", func(p *Policy) { p.Count.Window, p.Count.Ratio = 20, 0 }},
		{"waits-not-negative", "ride_out, cooldown: must not be negative", func(p *Policy) { p.RideOut = -1 }},
		{"waits-not-negative", "ride_out, cooldown: must not be negative", func(p *Policy) { p.Cooldown = -1 }},
		{"ttl-at-least-floor", "ttl: 20 s is below the provider's floor of 60 s", func(p *Policy) { p.TTL, p.TTLFloor = 20, 60 }},
		{"rpo-needs-replication", "rpo: 30s needs replication; without it say none", func(p *Policy) { p.RPO, p.Replicated = RPO{RPOBounded, 30 * time.Second}, false }},
		{"fence-needs-gate", "fence: prefer needs a gate driver; without one say none", func(p *Policy) { p.Fence, p.Gated = FencePrefer, false }},
		{"round-above-zero", "round: must be above 0", func(p *Policy) { p.Round = 0 }},
	} {
		p := testPolicy()
		c.change(&p)
		var failing []string
		for _, q := range p.Inequalities() {
			if !q.Holds {
				failing = append(failing, q.Name)
			}
			if q.Left == "" || q.Op == "" || q.Right == "" || q.Why == "" || q.Keys == "" || q.Fault == "" {
				t.Errorf("says too little: %+v", q)
			}
		}
		// Without a round no timeout and no burst can be below it.
		if len(failing) != 1 && c.name != "round-above-zero" || failing[0] != c.name {
			t.Errorf("%s: failing %q", c.fault, failing)
		}
		seen[c.name] = true
		errs := p.Validate()
		if len(errs) == 0 || !strings.HasPrefix(errs[0].Error(), c.fault) {
			t.Errorf("%s: %v", c.fault, errs)
		}
	}
	p := testPolicy()
	p.Count.Window, p.Count.Ratio = 20, 0.5
	for _, q := range p.Inequalities() {
		if !seen[q.Name] {
			t.Errorf("no case breaks %s", q.Name)
		}
	}
}

// TestWorstLossNeverPromisesWhatNobodyKnows.
func TestWorstLossNeverPromisesWhatNobodyKnows(t *testing.T) {
	for _, c := range []struct {
		change func(*Policy)
		want   string
	}{
		{nil, "unbounded: nothing is replicated"},
		{func(p *Policy) { p.Replicated = true }, "unbounded: rpo is none"},
		{func(p *Policy) { p.Replicated, p.RPO = true, RPO{RPOBounded, 30 * time.Second} }, "at most 30s of writes"},
		{func(p *Policy) { p.Replicated, p.RPO = true, RPO{Kind: RPOZero} }, "nothing: a failover waits"},
	} {
		if got := worstPolicy(t, PresetTablestore, c.change).WorstLoss(); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
