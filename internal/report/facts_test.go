package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// TestCouldItFailOver: each answer, and why.
func TestCouldItFailOver(t *testing.T) {
	now := at("2026-11-28T00:00:00Z")
	for _, c := range []struct {
		name string
		make func(f *Facts)
		want Readiness
		says string
	}{
		{"nothing refuses", func(*Facts) {}, ByItself, "could fail over by itself"},
		{"automation alone is refused", func(f *Facts) { f.Auto = allow(failover.GuardLockout) }, ByPerson, "a person could move it; automation could not: lockout (lockout says no)"},
		{"a guard that binds automation only", func(f *Facts) {
			f.Hand[slices.Index(failover.Guards(), failover.GuardFlood)] = failover.Verdict{Guard: failover.GuardFlood, Why: "no leave"}
		}, ByItself, "could fail over by itself"},
		{"the target is down", func(f *Facts) { f.Hand, f.Auto = allow(failover.GuardTarget), allow(failover.GuardTarget) }, Not, "could not fail over: target (target says no)"},
		{"only not armed", func(f *Facts) {
			f.Hand, f.Auto = allow(failover.GuardShadow), allow(failover.GuardShadow, failover.GuardDomains)
		}, WhenArmed, "in shadow: could fail over if it were armed; automation would still be refused: domains (domains says no)"},
		{"not armed, and more", func(f *Facts) { f.Hand = allow(failover.GuardShadow, failover.GuardDrift) }, Not, "could not fail over: shadow (shadow says no); drift (drift says no)"},
		{"no record", func(f *Facts) { f.Hand, f.Auto, f.View.Waiting = nil, nil, "no record yet: pointsman adopt orders" }, Unsure, "not known: adopting (no record yet: pointsman adopt orders)"},
		{"its loop stands", func(f *Facts) { f.Old, f.View.At = 30*time.Second, now.Add(-5*time.Minute) }, Unsure, "not known: its state is 5m old: its loop does not turn"},
		{"with data that cross late", func(f *Facts) {
			f.View.Exposure = failover.ExposureView{Applies: true, Known: true, Bound: 3 * time.Second, Rows: 40}
		}, ByItself, "could fail over by itself; switching now would lose: up to 3s, 40 rows"},
		{"with data of which nothing is known", func(f *Facts) { f.View.Exposure = failover.ExposureView{Applies: true} }, ByItself, "could fail over by itself; switching now would lose: not known"},
	} {
		f := healthy("orders", now)
		c.make(&f)
		in := build(Head{Name: "x", MadeAt: now, From: now.Add(-time.Hour), To: now}, &tape{}, []Facts{f}, nil).Instances[0]
		if in.Ready != c.want || in.sentence() != c.says {
			t.Errorf("%s: %s, %q", c.name, in.Ready, in.sentence())
		}
	}
}

// TestWarnings: each thing that a person should look at before it hurts.
func TestWarnings(t *testing.T) {
	now := at("2026-11-28T00:00:00Z")
	name := func(f *Facts) *failover.NameView { return &f.View.Names[0] }
	for _, c := range []struct {
		make func(f *Facts)
		want string
	}{
		{func(*Facts) {}, ""},
		{func(f *Facts) { f.View.Clusters[0].Votes[0].CertificateEnds = now.Add(29 * 24 * time.Hour) }, "a: the certificate that ctl-1 saw ends 2026-12-27 00:00 UTC (in 29d)"},
		{func(f *Facts) { f.View.Clusters[0].Votes[0].CertificateEnds = now.Add(-2 * time.Hour) }, "a: the certificate that ctl-1 saw ends 2026-11-27 22:00 UTC (2h ago)"},
		{func(f *Facts) { f.View.Clusters[0].Votes[0].CertificateEnds = now.Add(31 * 24 * time.Hour) }, ""},
		{func(f *Facts) { f.View.Clusters[1].Votes[1].Warnings = []string{"slow: 812 ms"} }, "b, seen from van-2: slow: 812 ms"},
		{func(f *Facts) { name(f).TTL = 300 }, "orders.lab.test. carries a TTL of 300 s, the policy says 30 s"},
		{func(f *Facts) { name(f).TTL = 5; f.View.Op = &failover.Op{} }, ""}, // lowered for a move
		{func(f *Facts) { name(f).Published = &failover.NameAgreement{Dissent: []string{"192.0.2.1 udp: x"}} }, "orders.lab.test. is not shown by every authority: 192.0.2.1 udp: x"},
		{func(f *Facts) { name(f).Published = &failover.NameAgreement{Agree: true, MaxTTL: 600} }, "an authority answers orders.lab.test. with a TTL of 600 s, the policy says 30 s"},
		{func(f *Facts) { name(f).Published = &failover.NameAgreement{Agree: true, MaxTTL: 30} }, ""},
		{func(f *Facts) { name(f).SeenErr = "connection refused" }, "orders.lab.test. cannot be read: connection refused"},
		{func(f *Facts) { f.View.Notices = []string{"vantage van-3 has not reported"} }, "vantage van-3 has not reported"},
	} {
		f := healthy("orders", now)
		c.make(&f)
		if got := strings.Join(f.warnings(now), "; "); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestProofsGetStale(t *testing.T) {
	now := at("2026-11-28T00:00:00Z")
	f := healthy("orders", now)
	for i := range f.View.Clusters {
		for k := range f.View.Clusters[i].Votes {
			f.View.Clusters[i].Votes[k].Identity = false
		}
	}
	f.View.Clusters[0].Proof = &failover.Proof{At: now.Add(-6 * 24 * time.Hour)}
	f.Drill = now.Add(-93 * 24 * time.Hour)
	var got []string
	for _, p := range f.proofs(now, nil) {
		got = append(got, p.sentence())
	}
	want := "move to a: 6d ago; move to b: never; drill: 93d ago, stale, it counts for 92d"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
	f.Proved = false // waived
	if ps := f.proofs(now, nil); len(ps) != 1 {
		t.Errorf("%+v", ps)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 1500 * time.Microsecond: "1.5ms", 120 * time.Millisecond: "120ms", 3450 * time.Millisecond: "3.5s", 60 * time.Second: "1m",
		200 * time.Second: "3m20s", 2*time.Hour + 5*time.Minute + 3*time.Second: "2h5m", 24 * time.Hour: "1d", 76*time.Hour + 20*time.Minute: "3d4h", 47*time.Hour + 50*time.Minute: "2d",
		59*time.Minute + 59900*time.Millisecond: "1h",
	} {
		if got := span(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
	for part, want := range map[float64]string{1: "100 %", 0: "0 %", 0.9999999: "99.999 %", 0.0000001: "0.001 %", 0.5: "50 %", 0.98765: "98.765 %"} {
		if got := percent(part); got != want {
			t.Errorf("%v: %s, want %s", part, got, want)
		}
	}
}

// A settled operation is a rehearsal: it is shown that the way can be gone. One
// that was unwound shows nothing.
func TestASettledOperationIsADrill(t *testing.T) {
	now := at("2026-11-28T12:00:00Z")
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	for _, x := range []struct {
		name  string
		last  *failover.OpSummary
		moved []Switch
		want  time.Time
	}{
		{"nothing was ever moved", nil, nil, time.Time{}},
		{"the record has one", &failover.OpSummary{Outcome: failover.Settled, At: ago(40 * day)}, nil, ago(40 * day)},
		{"the record has one that was unwound", &failover.OpSummary{Outcome: failover.Unwound, At: ago(day)}, nil, time.Time{}},
		{"the history has one before that", &failover.OpSummary{Outcome: failover.Unwound, At: ago(day)}, []Switch{
			{Outcome: failover.Unwound, At: ago(day)}, {Outcome: failover.Settled, At: ago(5 * day)}, {Outcome: failover.Settled, At: ago(6 * day)},
		}, ago(5 * day)},
	} {
		f := healthy("orders", now)
		f.Drill, f.View.LastOp = time.Time{}, x.last
		ps := f.proofs(now, x.moved)
		if p := ps[len(ps)-1]; p.What != "drill" || !p.At.Equal(x.want) || p.Stale != x.want.IsZero() {
			t.Errorf("%s: %+v", x.name, p)
		}
	}
}
