package report

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// tornPast is a history whose pages stop being readable.
type tornPast struct {
	*desk
	lives, page, tapes []ledger.Sample
	tornLives          bool
	wholePage          bool // nothing is wrong with samples
}

var errTorn = errors.New("database disk image is malformed")

func (b tornPast) List(_ context.Context, f ledger.HistoryFilter) ([]ledger.Sample, error) {
	page := b.page
	switch f.Kind {
	case KindRecording:
		if b.tornLives {
			return b.lives, errTorn
		}
		return b.lives, nil
	case ledger.KindVotes:
		page = b.tapes
	default:
		if b.wholePage {
			return nil, nil
		}
	}
	if f.Below == 0 && len(page) > 0 {
		return page, nil
	}
	return nil, errTorn
}

// TestWhatCannotBeReadIsAGap: of a time of which nothing was read the report
// does not say that it was as it is now, and does not call it good.
func TestWhatCannotBeReadIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		now := d.now()
		p := &tape{}
		p.life(now.Add(-40*24*time.Hour), now)
		full := func(n int, kind string, at time.Time) []ledger.Sample {
			q := &tape{}
			for range n {
				q.add(at, "orders", kind, map[string]int{})
			}
			page := q.newestFirst()
			for i := range page {
				page[i].ID += 5
			}
			return page
		}
		votes := make([]ledger.Sample, tapePage)
		for i := range votes {
			votes[i] = tapeSample(now.Add(-time.Hour), 1, "u")
			votes[i].ID = int64(i + 5)
		}
		day, hour := 24*time.Hour, time.Hour
		for _, c := range []struct {
			name             string
			past             Past
			gap, byVantage   time.Duration
			missing          float64
			trouble, because string
		}{
			{"no history", nil, day, day, 1, "there is no history", "nothing was recorded in 100 % of the window"},
			{"the first page", tornPast{desk: d, lives: p.told()}, day, day, 1, "malformed", "the history is not whole: it cannot be read: database disk image is malformed"},
			{"a later page", tornPast{desk: d, lives: p.told(), page: full(samplePage, "probe", now.Add(-hour))}, day - hour, day, 23.0 / 24, "malformed", "the history is not whole"},
			{"the lives", tornPast{desk: d, lives: p.told(), tornLives: true, page: full(3, "probe", now.Add(-hour))}, day, day, 1, "malformed", "the history is not whole"},
			{"the votes", tornPast{desk: d, lives: p.told(), wholePage: true}, 0, day, 0, "malformed", "the history is not whole"},
			{"a later page of votes", tornPast{desk: d, lives: p.told(), wholePage: true, tapes: votes}, 0, day - hour, 0, "malformed", "the history is not whole"},
			{"a page of after the window", tornPast{desk: d, lives: p.told(), page: full(samplePage, "probe", now.Add(hour))}, day, day, 1, "malformed", "the history is not whole"},
		} {
			v := New(Setup{Dir: t.TempDir(), Source: d, Past: c.past, Log: slog.New(slog.NewTextHandler(d, nil)), Now: d.now}, nil)
			r, err := v.Make(t.Context(), Ask{})
			if err != nil {
				t.Fatal(err)
			}
			got := r.Instances[0].Clusters[0]
			if got.Window.Gap != c.gap || got.Window.Up != day-c.gap {
				t.Errorf("%s: up %s, not recorded %s, want %s", c.name, got.Window.Up, got.Window.Gap, c.gap)
			}
			if w := got.Vantages[1].Window; w.Gap != c.byVantage || w.Up != day-c.byVantage {
				t.Errorf("%s: by vantage up %s, not recorded %s, want %s", c.name, w.Up, w.Gap, c.byVantage)
			}
			if r.Coverage.Missing != c.missing || !strings.Contains(r.Coverage.Trouble, c.trouble) {
				t.Errorf("%s: missing %v, trouble %q", c.name, r.Coverage.Missing, r.Coverage.Trouble)
			}
			if r.Verdict.Level != Look || !strings.Contains(strings.Join(r.Verdict.Why, "\n"), c.because) {
				t.Errorf("%s: %s because of %q", c.name, r.Verdict.Level, r.Verdict.Why)
			}
		}
	})
}

// TestAShortWindowWithoutLivesIsAGap: shorter than the silence of a life that
// goes on, where there was none.
func TestAShortWindowWithoutLivesIsAGap(t *testing.T) {
	to := at("2026-11-28T00:00:00Z")
	f := healthy("orders", to)
	f.View.At = to
	r := build(Head{Name: "x", MadeAt: to, From: to.Add(-10 * time.Minute), To: to}, &tape{}, []Facts{f}, nil)
	if w := r.Instances[0].Clusters[0].Window; w.Gap != 10*time.Minute || r.Coverage.Missing != 1 {
		t.Errorf("%+v, missing %v", w, r.Coverage.Missing)
	}
}

// TestAnUnreadSampleIsLookedAt: it may have been an outage.
func TestAnUnreadSampleIsLookedAt(t *testing.T) {
	to := at("2026-11-28T00:00:00Z")
	for _, kind := range []string{KindVerdict, "probe"} {
		p := &tape{}
		p.life(to.Add(-48*time.Hour), to)
		p.add(to.Add(-time.Hour), "orders", kind, "no transition")
		r := build(Head{Name: "x", MadeAt: to, From: to.Add(-24 * time.Hour), To: to}, p, []Facts{healthy("orders", to)}, nil)
		want, why := Good, ""
		if kind == KindVerdict {
			want, why = Look, "1 sample of the history could not be read"
		}
		if r.Verdict.Level != want || strings.Join(r.Verdict.Why, "\n") != why {
			t.Errorf("%s: %s because of %q", kind, r.Verdict.Level, r.Verdict.Why)
		}
	}
}

type judgeFunc func() (*Score, error)

func (f judgeFunc) Score(context.Context, func(failover.InstanceName) bool, time.Time, time.Time) (*Score, error) {
	return f()
}

// TestWhyNothingWasJudged: a judge that fails is not one that there is none of.
func TestWhyNothingWasJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failed, none = "how good the decisions were: disk I/O error", "nothing judges them yet"
		for _, c := range []struct {
			name         string
			judge        Judge
			failed, none bool
		}{
			{"no judge", nil, false, true},
			{"one that fails", judgeFunc(func() (*Score, error) { return nil, errors.New("disk I/O error") }), true, false},
			{"one that judges", judgeFunc(func() (*Score, error) { return &Score{}, nil }), false, false},
		} {
			d := newDesk(t)
			v := New(Setup{Dir: d.dir, Source: d, Past: d, Judge: c.judge, Log: slog.New(slog.NewTextHandler(d, nil)), Now: d.now}, nil)
			r, err := v.Make(t.Context(), Ask{})
			if err != nil {
				t.Fatal(err)
			}
			page, err := r.HTML(false)
			if err != nil {
				t.Fatal(err)
			}
			for what, text := range map[string]string{"not known": strings.Join(r.NotKnown, "\n"), "markdown": r.Markdown(), "html": string(page)} {
				if strings.Contains(text, failed) != c.failed || strings.Contains(text, none) != c.none {
					t.Errorf("%s, %s:\n%s", c.name, what, text)
				}
			}
			if strings.Contains(d.said(), "disk I/O error") != c.failed {
				t.Errorf("%s: the log says %q", c.name, d.said())
			}
		}
	})
}
