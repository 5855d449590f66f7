package report

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/ledger"
)

// One that is off now warns of now, one that was off of then, and one that may
// be off by no more than its way leaves open of nothing.
func TestAClockThatIsOffWarns(t *testing.T) {
	h := Head{Name: "x", Zone: "UTC", From: at("2026-11-27T00:00:00Z"), To: at("2026-11-28T00:00:00Z"), MadeAt: at("2026-11-28T00:00:01Z")}
	within := func(off, within time.Duration) *ClockAt { return &ClockAt{At: h.MadeAt, Offset: off, Within: within} }
	for name, c := range map[string]struct {
		now   *ClockAt
		worst time.Duration
		warn  string
	}{
		"well":             {within(time.Millisecond, time.Millisecond), 0, ""},
		"unknown":          {nil, 0, ""},
		"a wide way":       {within(-2*time.Second, 1900*time.Millisecond), 0, ""},
		"at the limit":     {within(ClockLimit+time.Millisecond, time.Millisecond), 0, ""},
		"beyond the limit": {within(ClockLimit+2*time.Millisecond, time.Millisecond), 0, "the clock of vantage van-2 is 502ms ahead, to within 1ms"},
		"behind":           {within(-time.Minute, time.Millisecond), -time.Hour, "the clock of vantage van-2 is 1m behind, to within 1ms"},
		"it was":           {within(0, time.Millisecond), -time.Hour, "the clock of vantage van-2 was 1h behind, to within 1ms, at 2026-11-27 05:30:00 UTC"},
		"it was, and now?": {nil, time.Hour, "the clock of vantage van-2 was 1h ahead, to within 1ms, at 2026-11-27 05:30:00 UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &tape{}
			p.life(h.From.Add(-time.Hour), h.To)
			seen := h.From.Add(5*time.Hour + 30*time.Minute)
			x := ClockAt{At: seen, Offset: c.worst, Within: time.Millisecond}
			p.add(seen, "", KindClock, ClockHour{Vantage: "van-2", Hour: seen.Truncate(time.Hour), Latest: x, Worst: x})
			b := NewBuilder(h, all)
			b.Lives(p.told())
			for _, s := range p.newestFirst() {
				b.Sample(s)
			}
			f := healthy("orders", h.MadeAt)
			b.Instance(&f)
			b.Clocks([]ClockNow{{Vantage: "van-2", Now: c.now, Why: "it is silent"}})
			r := b.Report(nil)
			got := strings.Join(r.ClockWarnings(), "; ")
			if got != c.warn || r.Counts.Warnings != len(r.ClockWarnings()) || slices.Contains(r.Verdict.Why, c.warn) != (c.warn != "") {
				t.Errorf("warns %q, counts %d, verdict %q; want %q", got, r.Counts.Warnings, r.Verdict.Why, c.warn)
			}
			if c.warn != "" && r.Verdict.Level == Good {
				t.Error("a clock that is off is called good")
			}
			if r.Instances[0].Ready != ByItself {
				t.Errorf("a clock decides: %s", r.Instances[0].Ready)
			}
			unknown := strings.Join(r.NotKnown, "; ")
			if !strings.Contains(unknown, "van-2 was off in 23 of the 24 hours") || strings.Contains(unknown, "is off now: it is silent") != (c.now == nil) {
				t.Errorf("not known: %s", unknown)
			}
			if v := r.Vantages[0]; v.Known != 1 || v.Hours != 24 || v.Worst.Offset != c.worst {
				t.Errorf("%+v", v)
			}
		})
	}
}

// Damaged samples of clocks are unread, and no more.
func FuzzClock(f *testing.F) {
	good, _ := json.Marshal(ClockHour{Vantage: "van-2", Hour: at("2026-11-27T05:00:00Z"), Worst: ClockAt{Offset: time.Second, Within: 1}})
	f.Add(good)
	f.Add([]byte(`{"vantage":"v","hour":"2026-11-27T05:00:00Z","worst":{"offset_ns":-9223372036854775808,"within_ns":9223372036854775807}}`))
	f.Add([]byte(`{"vantage":"v","hour":"9999-11-27T05:00:00Z","worst":{"offset_ns":1e400}}`))
	f.Add([]byte(`null`))
	h := Head{Name: "x", Zone: "UTC", From: at("2026-11-27T00:00:00Z"), To: at("2026-11-28T00:00:00Z"), MadeAt: at("2026-11-28T00:00:01Z")}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := NewBuilder(h, all)
		b.Lives(nil)
		b.Sample(ledger.Sample{ID: 1, At: h.From.Add(time.Hour), Kind: KindClock, Data: data})
		b.Clocks([]ClockNow{{Vantage: "v"}, {Vantage: "van-2"}})
		r := b.Report(nil)
		for i := range r.Vantages {
			if w := r.Vantages[i].Worst; w != nil && (w.Least() < 0 || w.Least() == math.MaxInt64) {
				t.Fatalf("%+v", w)
			}
		}
		if md := r.Markdown(); !strings.Contains(md, "Clocks of vantages") {
			t.Fatal(md)
		}
		if _, err := r.HTML(false); err != nil {
			t.Fatal(err)
		}
	})
}
