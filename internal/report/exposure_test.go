package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// exposedWorld is six hours of one replicated instance: calm, above its rpo for
// a while, not known for a while, and an hour that nobody recorded.
func exposedWorld() (Head, *tape, []Facts) {
	to := at("2026-11-28T06:00:00Z")
	from := to.Add(-6 * time.Hour)
	p := &tape{}
	p.life(from.Add(-time.Hour), to)
	for h := range 6 {
		if h == 4 {
			continue
		}
		hour := ExposureHour{Hour: from.Add(time.Duration(h) * time.Hour), RPO: 30_000, Rows: int64(10 * h)}
		for s := range ExposureSlots {
			ms := int64(1200)
			switch {
			case h == 1 && s < 12:
				ms = 45_000 + int64(s)
			case h == 2 && s >= 350:
				ms = ExposureUnknown
			}
			when := hour.Hour.Add(time.Duration(s) * ExposureEvery)
			if !hour.Note(when, ms) {
				panic("a slot of the hour is none of it")
			}
			if ms >= hour.WorstKnown() {
				hour.At, hour.Why = when, fmt.Sprintf("items: shard %d", h)
			}
		}
		if h == 2 {
			hour.Gap = "the stream of items was trimmed"
		}
		p.add(hour.Hour, "orders", KindExposure, hour)
	}
	f := healthy("orders", to)
	f.View.Exposure = failover.ExposureView{Applies: true, Known: true, Bound: 1200 * time.Millisecond}
	f.Rows = "stream from a to b: following 3 tables; the standby is synced"
	return Head{Name: "daily", Controller: "ctl-1", MadeAt: to, From: from, To: to, Zone: "UTC"}, p, []Facts{f, healthy("plain", to)}
}

func built(h Head, p *tape, fs []Facts) *Report {
	b := NewBuilder(h, all)
	b.Lives(p.told())
	for _, s := range p.newestFirst() {
		if !b.Sample(s) {
			break
		}
	}
	for i := range fs {
		b.Instance(&fs[i])
	}
	return b.Report(nil)
}

func instanceOf(t *testing.T, r *Report, name failover.InstanceName) *Instance {
	t.Helper()
	i := slices.IndexFunc(r.Instances, func(x Instance) bool { return x.Name == name })
	if i < 0 {
		t.Fatalf("there is no %s", name)
	}
	return &r.Instances[i]
}

func TestExposureOverAWindow(t *testing.T) {
	r := built(exposedWorld())
	in := instanceOf(t, r, "orders")
	x := in.Exposed
	if x == nil || instanceOf(t, r, "plain").Exposed != nil {
		t.Fatalf("of orders %+v, of one that is not replicated %+v", x, instanceOf(t, r, "plain").Exposed)
	}
	if *x.Max != 45_011*time.Millisecond || x.Why != "items: shard 1" || !x.At.Equal(r.From.Add(time.Hour+110*time.Second)) {
		t.Errorf("the worst is %s at %s, %q", *x.Max, x.At, x.Why)
	}
	if x.Over != 2*time.Minute || x.Unknown != 100*time.Second || x.Missing != time.Hour || x.Seen != 5*time.Hour-100*time.Second {
		t.Errorf("over %s, unknown %s, missing %s, seen %s", x.Over, x.Unknown, x.Missing, x.Seen)
	}
	if x.RPO != 30*time.Second || x.Rows != 50 || x.Gap != "the stream of items was trimmed" {
		t.Errorf("rpo %s, rows %d, gap %q", x.RPO, x.Rows, x.Gap)
	}
	if p := *x.P99; p < 1200*time.Millisecond || p > 1260*time.Millisecond {
		t.Errorf("99 %% are at most %s", p)
	}
	// Gaps are drawn as gaps, and what was not known as that: neither as nothing.
	if len(x.Points) != exposurePoints || x.Points[4*exposurePoints/6+1] != ExposureUnseen || x.Points[3*exposurePoints/6-1] != ExposureUnknown || x.Points[0] != 1200 {
		t.Errorf("the chart has %v", x.Points)
	}
	warned := strings.Join(in.Warnings, "; ")
	for _, want := range []string{"for 2m a failover would have lost more than the rpo allows: 45s at worst", "for 1m40s nobody knew", "a stream had a gap: the stream of items was trimmed"} {
		if !strings.Contains(warned, want) {
			t.Errorf("no warning %q in %q", want, warned)
		}
	}
	if r.Verdict.Level != Look {
		t.Errorf("the verdict is %s", r.Verdict.Level)
	}
}

func TestExposureIsOnEveryForm(t *testing.T) {
	r := built(exposedWorld())
	page, err := r.HTML(false)
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range map[string]string{"html": string(page), "markdown": r.Markdown()} {
		for _, want := range []string{"What a failover would have lost", "45s", "1m40s", "following 3 tables"} {
			if !strings.Contains(strings.ReplaceAll(text, `\`, ""), want) {
				t.Errorf("%s lacks %q", form, want)
			}
		}
	}
	if n := strings.Count(string(page), "a3152b"); n == 0 {
		t.Error("nothing is drawn as above the rpo")
	}
	none := built(sampleWorld())
	if strings.Contains(none.Markdown(), "What a failover would have lost") {
		t.Error("a report without replication has the section")
	}
}

// TestWhatIsNotRecordedIsNotCalm: of a replicated instance without a line
// nothing is known.
func TestWhatIsNotRecordedIsNotCalm(t *testing.T) {
	h, p, fs := exposedWorld()
	p.samples = nil
	x := instanceOf(t, built(h, p, fs), "orders").Exposed
	if x == nil || x.Max != nil || x.P99 != nil || x.Missing != 6*time.Hour || x.RPO != -1 {
		t.Errorf("%+v", x)
	}
	if got := strings.Join(x.cells(), "|"); got != "not known|not known|any|0s|0s|6h" {
		t.Error(got)
	}
}

// TestAnHourThatAWindowCuts counts with the part that lies in it.
func TestAnHourThatAWindowCuts(t *testing.T) {
	h, p, fs := exposedWorld()
	h.From, h.To = h.From.Add(time.Hour+time.Minute), h.From.Add(90*time.Minute)
	x := instanceOf(t, built(h, p, fs), "orders").Exposed
	if x.Over != time.Minute || x.Seen != 29*time.Minute || x.Missing != 0 {
		t.Errorf("over %s, seen %s, missing %s", x.Over, x.Seen, x.Missing)
	}
}

func TestDamagedLinesOfExposureAreUnread(t *testing.T) {
	h, p, fs := exposedWorld()
	for _, data := range []string{`{"hour":"2026-11-28T01:00:00Z","worst_ms":[-3]}`, `{"hour":"2026-11-28T01:00:00Z","worst_ms":[9223372036854775807]}`, `{"worst_ms":[1]}`, `[]`, `{"hour":"2026-11-28T01:00:00Z","worst_ms":[1],"rows":-1}`} {
		p.add(h.From.Add(time.Hour), "orders", KindExposure, json.RawMessage(data))
	}
	r := built(h, p, fs)
	if r.Coverage.Unread != 5 {
		t.Errorf("%d lines are unread", r.Coverage.Unread)
	}
	if x := instanceOf(t, r, "orders").Exposed; *x.Max != 45_011*time.Millisecond {
		t.Errorf("the worst is %s", *x.Max)
	}
}

// TestAShareIsNeverSaidTooSmall: against a plain count of all values.
func TestAShareIsNeverSaidTooSmall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 100_000), 1, ExposureSlots).Draw(t, "ms")
		from := at("2026-11-28T00:00:00Z")
		e := newExposurePast()
		if !e.take(&ExposureHour{Hour: from, Worst: slices.Clone(values), RPO: -1}, from, from.Add(time.Hour)) {
			t.Fatal("refused")
		}
		slices.Sort(values)
		exact := values[min(int(0.99*float64(len(values))), len(values)-1)]
		got := e.share(0.99).Milliseconds()
		if got < exact || float64(got) > exposureGrowth*float64(exact)+2 {
			t.Fatalf("99 %% are at most %d, it says %d", exact, got)
		}
	})
}

// TestAnUnknownMomentIsNotMadeKnown by another look at the same 10 s.
func TestAnUnknownMomentIsNotMadeKnown(t *testing.T) {
	h := ExposureHour{Hour: at("2026-11-28T00:00:00Z")}
	for _, ms := range []int64{5, ExposureUnknown, 7} {
		h.Note(h.Hour.Add(25*time.Second), ms)
	}
	if !slices.Equal(h.Worst, []int64{ExposureUnseen, ExposureUnseen, ExposureUnknown}) {
		t.Errorf("%v", h.Worst)
	}
	if h.Note(h.Hour.Add(-time.Second), 1) || h.Note(h.Hour.Add(time.Hour), 1) {
		t.Error("a moment of another hour was taken")
	}
}
