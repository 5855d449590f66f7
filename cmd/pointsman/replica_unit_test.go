package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
	reporting "pointsman/internal/report"
	"pointsman/replication"
)

// filled sets every field of a value to something, so that one which is not
// handed on is seen.
func filled(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("s" + strings.Repeat("x", *n%7))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		filled(v.Index(0), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, item := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(key, n)
		filled(item, n)
		v.SetMapIndex(key, item)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(int64(*n), 0).UTC()))
			return
		}
		for i := range v.NumField() {
			filled(v.Field(i), n)
		}
	}
}

// TestTheAPISaysAllThatReplicationSays: whatever the room has, the API has
// under the same key.
func TestTheAPISaysAllThatReplicationSays(t *testing.T) {
	asMap := func(v any) map[string]any {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	var st replication.Status
	n := 0
	filled(reflect.ValueOf(&st).Elem(), &n)
	want, got := asMap(st), asMap(statusOf(&st))
	for k, w := range want {
		if g := got[k]; !reflect.DeepEqual(g, w) {
			t.Errorf("%s: the room says %v, the API %v", k, w, g)
		}
	}
	var l replication.DeadLetter
	filled(reflect.ValueOf(&l).Elem(), &n)
	if want, got := asMap(l), asMap(api.DeadLetter(l)); !reflect.DeepEqual(want, got) {
		t.Errorf("a refused row: %v and %v", want, got)
	}
	var r replication.LostRow
	filled(reflect.ValueOf(&r).Elem(), &n)
	if want, got := asMap(r), asMap(api.LostRow(r)); !reflect.DeepEqual(want, got) {
		t.Errorf("a lost row: %v and %v", want, got)
	}
}

func carriedWell(at time.Time) api.ReplicationStatus {
	return api.ReplicationStatus{
		Instance: "orders", Mode: "stream", From: "a", To: "b", At: at, Doing: "following 1 table", Standby: failover.StandbySynced,
		Exposure: api.ReplicationExposure{Known: true, Lag: time.Second, Rows: 2, About: 30, At: at, Why: "items: shard 1"},
		Tables:   []api.ReplicationTable{{Table: "items", Phase: string(replication.PhaseFollowing)}},
	}
}

// TestPeopleAreCalledOnceForEachThing, and again when it is another one.
func TestPeopleAreCalledOnceForEachThing(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	rpo := failover.RPO{Kind: failover.RPOBounded, Bound: 30 * time.Second}
	for name, c := range map[string]struct {
		bend func(*api.ReplicationStatus)
		kind string
		text string
		late bool // only after a while
	}{
		"a gap": {func(s *api.ReplicationStatus) { s.Exposure.Gap = "items: trimmed" }, pageGap, "what b lacks of a is unknown: items: trimmed", false},
		"an answer": {func(s *api.ReplicationStatus) {
			s.Tables[0].Phase, s.Tables[0].Hint = "gap", "pointsman replication resync orders items"
		}, pageResync, "a table waits to be copied anew from a", false},
		"copied":  {func(s *api.ReplicationStatus) { s.Tables[0].Phase, s.Tables[0].Exposure.Gap = "copying", "trimmed" }, pageResync, "a table is copied anew from a to b after a gap: items; b stays as it was", false},
		"refused": {func(s *api.ReplicationStatus) { s.Refused = 3 }, pageRefused, "b refuses 3 rows of a", false},
		"lost":    {func(s *api.ReplicationStatus) { s.Lost = &api.LossSummary{Op: "orders-1.2", From: "b", Rows: 5} }, pageLost, "orders-1.2 left at least 5 writes of b behind", false},
		"over":    {func(s *api.ReplicationStatus) { s.Exposure.Lag = 31 * time.Second }, pageExposed, "a switch would lose at most the last 31s, about 30 rows", true},
		"unknown": {func(s *api.ReplicationStatus) { s.Exposure.Known, s.Exposure.Why = false, "items: not read" }, pageExposed, "a switch would lose an unknown part: items: not read", true},
		"bare": {func(s *api.ReplicationStatus) {
			s.Standby, s.Why = failover.StandbyUnprotected, []string{"items: ttl differs"}
		}, pageBare, "b could not take over: items: ttl differs", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := exposureWatch{}
			said := func(at time.Time, bend func(*api.ReplicationStatus)) []string {
				st := carriedWell(at)
				if bend != nil {
					bend(&st)
				}
				var out []string
				for _, p := range w.calls(&st, rpo, at) {
					if p.Kind == c.kind {
						out = append(out, p.Text)
					}
				}
				return out
			}
			if got := said(now, nil); len(got) > 0 {
				t.Fatalf("of a healthy one it says %q", got)
			}
			first, at := said(now.Add(time.Second), c.bend), now.Add(time.Second)
			if c.late {
				if len(first) > 0 {
					t.Errorf("at once: %q", first)
				}
				at = at.Add(overFor)
				first = said(at, c.bend)
			}
			if len(first) != 1 || !strings.Contains(first[0], c.text) {
				t.Fatalf("said %q", first)
			}
			if again := said(at.Add(time.Second), c.bend); len(again) > 0 {
				t.Errorf("said again: %q", again)
			}
			if over := said(at.Add(2*time.Second), nil); len(over) > 0 {
				t.Errorf("at its end: %q", over)
			}
			late := at.Add(3 * time.Second)
			anew := said(late, c.bend)
			if c.late {
				anew = said(late.Add(overFor), c.bend)
			}
			if len(anew) != 1 && c.kind != pageLost { // of one operation it is told once
				t.Errorf("the second time: %q", anew)
			}
		})
	}
}

// TestACourseLastsNoLongerThanTheLead: a lease that ends sooner than the leave to
// write ends it.
func TestACourseLastsNoLongerThanTheLead(t *testing.T) {
	now := time.Now()
	p := &failover.Policy{Clusters: [2]failover.ClusterName{"a", "b"}}
	for name, c := range map[string]struct {
		lead failover.Lead
		want time.Time
	}{
		"a file lock":   {failover.Lead{Leading: true, Term: 1, Until: now.Add(farAway)}, now.Add(courseLife)},
		"a lease":       {failover.Lead{Leading: true, Term: 1, Until: now.Add(2 * time.Second)}, now.Add(2 * time.Second)},
		"one that ends": {failover.Lead{Leading: true, Term: 1, Until: now.Add(-time.Second)}, now.Add(-time.Second)},
		"none":          {failover.Lead{Why: "another leads"}, now},
	} {
		got := courseOf(&failover.Record{Term: 1, Active: "a"}, p, c.lead, now)
		if !got.Until.Equal(c.want) || got.Leading != c.lead.Leading || got.Standby != "b" {
			t.Errorf("%s: %+v, want until %s", name, got, c.want)
		}
	}
}

// TestAReplicatorThatPanickedIsStartedAgain: the process goes on, people see
// that nothing is carried and why, and after a while another is there.
func TestAReplicatorThatPanickedIsStartedAgain(t *testing.T) {
	p := manyOf(t, 1, 10)
	p.log = slog.New(slog.DiscardHandler)
	name := p.ctl.Instances()[0]
	w := wantedReplica{data: t.TempDir(), by: "test", cfg: &config.Replication{
		Mode: replication.ModeExternal, External: &config.External{Command: []string{"/bin/true"}, Every: time.Second, Timeout: time.Second},
	}}
	x := &replicas{p: p, of: map[failover.InstanceName]*replica{}}
	rep := x.make(name, w)
	x.of[name] = rep
	cfg, err := replicatorConfig(p, name, w)
	if err != nil {
		t.Fatal(err)
	}
	cfg.TellExposure = func(failover.Exposure) { panic("of a test") }
	bad, err := replication.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	bad.Follow(replication.Course{Token: failover.Token{Term: 9, Epoch: 1}, Leading: true, Active: "a", Standby: "b"})
	rep.r = bad
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.keep(ctx, name, rep)
	}()
	defer func() { stop(); <-done }()
	const fell = "it ended by itself and is started again: a fault of this program: of a test"
	within(t, patience, "the fault", func() bool { return rep.status(name).Idle == fell })
	if why := idleWhy(&failover.View{Instance: name, Leading: true, Mode: failover.ModeAuto.String()}, rep.down); why != fell {
		t.Errorf("the next look at the record forgets that it does not run: %q", why)
	}
	within(t, patience, "another one", func() bool { return rep.replicator() != bad })
	rep.mu.Lock()
	defer rep.mu.Unlock()
	if rep.down != "" {
		t.Errorf("it runs, and is said to be down: %q", rep.down)
	}
}

// TestPeopleAreCalledForOneThatDoesNotRun, although it should.
func TestPeopleAreCalledForOneThatDoesNotRun(t *testing.T) {
	w, now := exposureWatch{down: true}, time.Now()
	rpo := failover.RPO{Kind: failover.RPOBounded, Bound: time.Second}
	var said []string
	for range 3 {
		st := carriedWell(now)
		st.Idle, st.Exposure.Known, st.Exposure.Why, st.Tables = "it ended by itself", false, "it ended by itself", nil
		for _, pg := range w.calls(&st, rpo, now) {
			said = append(said, pg.Kind+": "+pg.Text)
		}
		now = now.Add(overFor)
	}
	if len(said) != 1 || !strings.Contains(said[0], "replication-exposure: a switch would lose an unknown part: it ended by itself") {
		t.Errorf("%q", said)
	}
}

// TestWhatAPersonOrderedWakesNobody: who has a table copied anew, or pauses,
// knows; but a pause may be forgotten, and a copy may stand still.
func TestWhatAPersonOrderedWakesNobody(t *testing.T) {
	rpo := failover.RPO{Kind: failover.RPOBounded, Bound: time.Second}
	paused := time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)
	anew := func(s *api.ReplicationStatus, rows int64) {
		s.Exposure.Known, s.Exposure.Gap = false, "items: it is copied anew, as alice ordered: x"
		s.Tables[0] = api.ReplicationTable{Table: "items", Phase: "copying", Ordered: true, Exposure: s.Exposure, Copy: &api.CopyProgress{Rows: rows}}
	}
	for name, c := range map[string]struct {
		every time.Duration
		bend  func(st *api.ReplicationStatus, round int64)
		want  []string
	}{
		"an ordered copy": {overFor / 2, anew, nil},
		"an ordered copy that stands still": {overFor, func(st *api.ReplicationStatus, round int64) {
			anew(st, 7)
			st.Tables = append(st.Tables, api.ReplicationTable{Table: "stock", Phase: "following", Applied: round})
		}, []string{
			"replication-exposure: a switch would lose an unknown part: items: it is copied anew, as alice ordered: x, for longer than 2m0s now; an automatic failover may lose 1s",
		}},
		"a gap beside it": {overFor / 2, func(st *api.ReplicationStatus, round int64) {
			anew(st, round)
			st.Tables = append(st.Tables, api.ReplicationTable{Table: "stock", Phase: "gap", Exposure: api.ReplicationExposure{Gap: "stock: trimmed"}})
		}, []string{"replication-gap: what b lacks of a is unknown: stock: trimmed"}},
		"a pause": {overFor, func(st *api.ReplicationStatus, _ int64) {
			st.Paused, st.Exposure.Lag = &api.ReplicationPause{By: "alice", Reason: "CHG-1", Since: st.At.Add(-time.Hour)}, time.Hour
		}, nil},
		"a forgotten pause": {overFor, func(st *api.ReplicationStatus, round int64) {
			st.Paused = &api.ReplicationPause{By: "alice", Reason: "CHG-1", Since: paused}
			st.Exposure.Lag = 5 * time.Hour
		}, []string{"replication-paused: replication is paused since " + stamp(paused) + ", by alice: CHG-1; a switch would lose at most the last 5h0m, about 30 rows, and a pause beyond the memory of the streams wants a copy anew (pointsman replication resume orders)"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, now := exposureWatch{}, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
			var said []string
			for round := range int64(5) {
				st := carriedWell(now)
				c.bend(&st, round)
				for _, pg := range w.calls(&st, rpo, now) {
					said = append(said, pg.Kind+": "+pg.Text)
				}
				now = now.Add(c.every)
			}
			if !slices.Equal(said, c.want) {
				t.Errorf("said %q, want %q", said, c.want)
			}
		})
	}
}

// TestPeopleAreCalledForACopyThatFailsOverAndOver: what it copies once more is
// not news; what it copies beyond that is.
func TestPeopleAreCalledForACopyThatFailsOverAndOver(t *testing.T) {
	rpo := failover.RPO{Kind: failover.RPOBounded, Bound: time.Second}
	again := func(s *api.ReplicationStatus, round, rows int64) {
		s.Exposure.Known, s.Standby = false, failover.StandbyRefilling
		s.Tables[0] = api.ReplicationTable{Table: "items", Phase: "copying", Why: "row refused"}
		if round%2 == 0 {
			s.Tables[0].Copy = &api.CopyProgress{Rows: rows, RangesDone: 1}
		}
	}
	for name, c := range map[string]struct {
		bend func(w *exposureWatch, st *api.ReplicationStatus, round int64)
		want []string
	}{
		"at the same row": {func(_ *exposureWatch, st *api.ReplicationStatus, round int64) {
			again(st, round, 7)
		}, []string{pageExposed, pageBare}},
		"with the whole replicator": {func(w *exposureWatch, st *api.ReplicationStatus, round int64) {
			again(st, 0, 7)
			if w.down = round%2 == 1; w.down {
				st.Idle, st.Tables = "it ended by itself", nil
			}
		}, []string{pageExposed, pageBare}},
		"further on each time": {func(_ *exposureWatch, st *api.ReplicationStatus, round int64) {
			again(st, round, 7+round)
		}, nil},
		"and is another copy then": {func(_ *exposureWatch, st *api.ReplicationStatus, round int64) {
			if round == 0 {
				again(st, 0, 1000)
			} else if round > 1 { // it was followed in between
				again(st, 0, round)
			}
		}, nil},
		"and is led by another meanwhile": {func(_ *exposureWatch, st *api.ReplicationStatus, round int64) {
			switch round {
			case 0:
				again(st, 0, 1000)
			case 1:
				st.Idle = "not leading"
			default:
				again(st, 0, round)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w, now := exposureWatch{}, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
			var said []string
			for round := range int64(60) { // half an hour
				st := carriedWell(now)
				c.bend(&w, &st, round)
				for _, pg := range w.calls(&st, rpo, now) {
					said = append(said, pg.Kind)
				}
				now = now.Add(overFor / 4)
			}
			if !slices.Equal(said, c.want) {
				t.Errorf("called for %q, want %q", said, c.want)
			}
		})
	}
}

// TestPeopleAreCalledForAnOrderedCopyThatStandsStillWithoutAnRPO: no exposure is
// too much then, so the gap is what they hear of.
func TestPeopleAreCalledForAnOrderedCopyThatStandsStillWithoutAnRPO(t *testing.T) {
	for name, c := range map[string]struct {
		rows   func(round int64) int64
		paused bool
		want   []string
	}{
		"it gets on":      {func(round int64) int64 { return round }, false, nil},
		"it stands still": {func(int64) int64 { return 7 }, false, []string{"replication-gap: what b lacks of a is unknown: items: it is copied anew, as alice ordered: x"}},
		"it is paused":    {func(int64) int64 { return 7 }, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w, now := exposureWatch{}, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
			var said []string
			for round := range int64(20) {
				st := carriedWell(now)
				st.Exposure.Known, st.Exposure.Gap = false, "items: it is copied anew, as alice ordered: x"
				st.Tables[0] = api.ReplicationTable{Table: "items", Phase: "copying", Ordered: true, Exposure: st.Exposure, Copy: &api.CopyProgress{Rows: c.rows(round)}}
				if c.paused {
					st.Paused = &api.ReplicationPause{By: "alice", Reason: "x", Since: now}
				}
				for _, pg := range w.calls(&st, failover.RPO{Kind: failover.RPONone}, now) {
					said = append(said, pg.Kind+": "+pg.Text)
				}
				if got := w.told[pageGap] != ""; got && now.Sub(w.copiedAt) < overFor {
					t.Error("called before it is borne for long enough")
				}
				now = now.Add(overFor / 4)
			}
			if !slices.Equal(said, c.want) {
				t.Errorf("said %q, want %q", said, c.want)
			}
		})
	}
}

// TestLossesAreToldOnceAndOnceMoreWhenAllAreKnown, and not again by every start.
func TestLossesAreToldOnceAndOnceMoreWhenAllAreKnown(t *testing.T) {
	read := time.Date(2026, 11, 29, 11, 0, 0, 0, time.UTC)
	part := &api.LossSummary{Op: "orders-1.2", Rows: 2}
	all := &api.LossSummary{Op: "orders-1.2", Rows: 2, Exact: true, Read: read}
	again := &api.LossSummary{Op: "orders-1.2", Rows: 2, Read: read, Why: "not since this process began"}
	for name, c := range map[string]struct {
		seen []*api.LossSummary
		want []bool
	}{
		"as it is found":           {[]*api.LossSummary{nil, part, part, all, again, all}, []bool{false, true, false, true, false, false}},
		"after a start":            {[]*api.LossSummary{again, all, again, all}, []bool{false, true, false, false}},
		"after a start, and dead":  {[]*api.LossSummary{again, again, again}, []bool{false, true, false}},
		"of another operation too": {[]*api.LossSummary{all, {Op: "orders-1.3", Rows: 1}}, []bool{true, true}},
		"of none":                  {[]*api.LossSummary{{Op: "orders-1.2", Exact: true}}, []bool{false}},
	} {
		w, now := exposureWatch{}, read
		var got []bool
		for _, l := range c.seen {
			got = append(got, w.lost(l, now))
			now = now.Add(overFor)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: told %v, want %v", name, got, c.want)
		}
	}
}

// TestNobodyIsCalledForWhatIsUnderWay: a copy, a pause, a cluster that a
// failover left, a process that may not replicate.
func TestNobodyIsCalledForWhatIsUnderWay(t *testing.T) {
	rpo := failover.RPO{Kind: failover.RPOBounded, Bound: time.Second}
	for name, bend := range map[string]func(*api.ReplicationStatus){
		"copy": func(s *api.ReplicationStatus) {
			s.Exposure.Known, s.Tables[0].Phase, s.Standby = false, "copying", failover.StandbyRefilling
		},
		"idle": func(s *api.ReplicationStatus) {
			s.Idle, s.Exposure.Known, s.Standby = "not leading", false, failover.StandbyPlain
		},
		"refill": func(s *api.ReplicationStatus) {
			s.Exposure.Known, s.Exposure.Gap, s.Standby = false, "items: it was cut", failover.StandbyRefilling
			s.Tables[0].Phase, s.Tables[0].Exposure.Gap = "copying", "items: it was cut"
		},
		"none": func(s *api.ReplicationStatus) {},
	} {
		w, now := exposureWatch{refill: name == "refill"}, time.Now()
		for round := range int64(4) {
			st := carriedWell(now)
			bend(&st)
			st.Tables[0].Copy = &api.CopyProgress{Rows: round} // it gets on
			if got := w.calls(&st, rpo, now); len(got) > 0 {
				t.Errorf("%s: %v", name, got)
			}
			now = now.Add(overFor)
		}
	}
}

// TestTheHourIsKeptAsItGoes, and the whole of it once it is over.
func TestTheHourIsKeptAsItGoes(t *testing.T) {
	w, now := exposureWatch{}, time.Date(2026, 11, 29, 12, 58, 0, 0, time.UTC)
	rpo := failover.RPO{Kind: failover.RPOBounded, Bound: 30 * time.Second}
	var kept []reporting.ExposureHour
	for range 240 {
		st := carriedWell(now)
		switch now.Sub(time.Date(2026, 11, 29, 12, 59, 0, 0, time.UTC)).Truncate(10 * time.Second) {
		case 0:
			st.Exposure.Known = false
		case 20 * time.Second:
			st.Exposure.Lag, st.Exposure.Why = 45*time.Second, "items: shard 9"
		}
		if h := w.note(&st, rpo, now); h != nil {
			kept = append(kept, *h)
		}
		now = now.Add(time.Second)
	}
	if len(kept) < 3 {
		t.Fatalf("kept %d times", len(kept))
	}
	i := slices.IndexFunc(kept, func(h reporting.ExposureHour) bool { return h.Hour.Hour() == 13 })
	if i < 1 {
		t.Fatalf("%+v", kept)
	}
	h := kept[i-1] // the last of the hour before
	if h.Hour.Hour() != 12 || len(h.Worst) != reporting.ExposureSlots || h.Worst[0] != reporting.ExposureUnseen || h.Worst[348] != 1000 || h.Worst[354] != reporting.ExposureUnknown || h.Worst[356] != 45_000 ||
		h.RPO != 30_000 || h.Rows != 2 || h.Why != "items: shard 9" || h.At.Minute() != 59 {
		t.Errorf("%+v", h)
	}
	wantIn(t, exposureHourWords(&h), "at most 45s, at ", "by items: shard 9", "above the rpo of 30s for 10s", "unknown for 20s", "at most 2 rows")
}

// TestAnOldSampleIsNoSmaller: what is shown grows while nobody measures.
func TestAnOldSampleIsNoSmaller(t *testing.T) {
	now := time.Now()
	st := carriedWell(now.Add(-time.Minute))
	if lag, known := lagNow(&st, now); !known || lag != 61*time.Second {
		t.Errorf("%s, %t", lag, known)
	}
	st.Idle = "not leading"
	if _, known := lagNow(&st, now); known {
		t.Error("an idle process knows what would be lost")
	}
}

// TestACopyHasABarOnATerminal, and figures everywhere.
func TestACopyHasABarOnATerminal(t *testing.T) {
	st := carriedWell(time.Now())
	st.Tables[0].Phase = string(replication.PhaseCopying)
	st.Tables[0].Copy = &api.CopyProgress{
		Ranges: 8, RangesDone: 3, Rows: 25_000, Bytes: 3_500_000, TotalRows: 100_000, Rate: 1234, Left: time.Minute, Removed: 7, Throttled: 2 * time.Second,
	}
	for tty, want := range map[bool]string{
		true:  "[#####...............] 25% 25k of about 100k rows 3.5MB 1234 rows/s 1m0s left 7 removed throttled for 2s",
		false: " 25% 25k of about 100k rows 3.5MB 1234 rows/s 1m0s left 7 removed throttled for 2s",
	} {
		var out bytes.Buffer
		a := &app{stdout: &out, stdoutTTY: tty, noColor: true, env: func(string) string { return "" }}
		if err := a.replicationPicture([]api.ReplicationStatus{st}, []string{"orders"}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, strings.TrimSpace(want)) || strings.Contains(got, "[#") != tty {
			t.Errorf("terminal %t:\n%s", tty, out.String())
		}
		if cleared := strings.HasPrefix(out.String(), "\x1b[H\x1b[2J"); cleared != tty {
			t.Errorf("terminal %t: the screen is cleared: %t", tty, cleared)
		}
	}
	st.Tables[0].Copy.TotalRows = 0
	a := &app{env: func(string) string { return "" }}
	if got := a.copyWords(&st.Tables[0]); !strings.HasPrefix(got, "37% 25k rows 3.5MB") {
		t.Errorf("by ranges: %s", got)
	}
}

func TestQuantities(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 9999: "9999", 12_345: "12.3k", 1e6: "1M", 2.55e9: "2.5G"} {
		if got := quantity(n); got != want && !(n == 2.55e9 && got == "2.6G") {
			t.Errorf("%v is %s", n, got)
		}
	}
	for word, want := range map[string]string{"12": "12", "items/2026-x": "items/2026-x", "a b": "'a b'", "it's": `'it'\''s'`, "": "''"} {
		if got := shellWord(word); got != want {
			t.Errorf("%q is %s", word, got)
		}
	}
}

// TestMetricsOfReplicationHaveNoValueForTheUnknown: it is absent, not 0.
func TestMetricsOfReplicationHaveNoValueForTheUnknown(t *testing.T) {
	p := manyOf(t, 1, 10)
	name := p.ctl.Instances()[0]
	scraped := func(rep *replica) map[string]float64 {
		p.replicas = &replicas{p: p, of: map[failover.InstanceName]*replica{name: rep}}
		return read(t, p)
	}
	rep := &replica{made: wantedReplica{cfg: &config.Replication{Mode: replication.ModeStream}}, why: "this controller does not lead"}
	m := scraped(rep)
	if _, there := m["pointsman_exposure_seconds{instance="+string(name)+"}"]; there || m["pointsman_exposure_known{instance="+string(name)+"}"] != 0 {
		t.Error("an exposure that is not known has a value")
	}
	if _, there := m["pointsman_replication_running{instance="+string(name)+"}"]; !there {
		t.Errorf("nothing says that it does not run: %v", m)
	}
}

// onlyCarried scrapes one status and nothing else.
type onlyCarried struct {
	*scrape
	st  api.ReplicationStatus
	now time.Time
}

func (c onlyCarried) Collect(out chan<- prometheus.Metric) {
	reading{c.descs, out}.carried(&c.st, "orders", c.now)
}

// TestMetricsOfReplicationAreThoseOfItsStatus: the bound with its age, each table,
// and how far a copy is.
func TestMetricsOfReplicationAreThoseOfItsStatus(t *testing.T) {
	now := time.Now()
	st := carriedWell(now.Add(-time.Second))
	st.Refused, st.Units = 3, api.ReplicationUnits{SourceRead: 9, TargetWrite: 8}
	st.Paused, st.Lost = &api.ReplicationPause{}, &api.LossSummary{Rows: 5}
	st.Tables[0].Exposure, st.Tables[0].Applied = st.Exposure, 77
	st.Tables = append(st.Tables, api.ReplicationTable{Table: "stock", Phase: "copying", Copy: &api.CopyProgress{Rows: 25, Bytes: 350, TotalRows: 100, Left: time.Minute}})
	m := gathered(t, onlyCarried{newScrape(manyOf(t, 1, 10)), st, now})
	for series, want := range map[string]float64{
		"exposure_known{instance=orders}": 1, "exposure_seconds{instance=orders}": 2, "exposure_rows{instance=orders}": 30, "standby_protected{instance=orders}": 1,
		"replication_paused{instance=orders}": 1, "replication_refused_rows{instance=orders}": 3, "replication_lost_rows{instance=orders}": 5, "replication_tables{instance=orders}": 2,
		"replication_units_total{instance=orders,kind=read,side=source}": 9, "replication_units_total{instance=orders,kind=write,side=target}": 8,
		"table_exposure_seconds{instance=orders,table=items}": 2, "replication_applied_rows_total{instance=orders,table=items}": 77,
		"replication_phase{instance=orders,phase=following,table=items}": 1, "replication_phase{instance=orders,phase=copying,table=stock}": 1, "replication_phase{instance=orders,phase=following,table=stock}": 0,
		"replication_copied_rows{instance=orders,table=stock}": 25, "replication_copied_bytes{instance=orders,table=stock}": 350,
		"replication_copy_rows{instance=orders,table=stock}": 100, "replication_copy_left_seconds{instance=orders,table=stock}": 60,
	} {
		if got, there := m["pointsman_"+series]; !there || got != want {
			t.Errorf("%s is %v (%t), want %v", series, got, there, want)
		}
	}
	for _, absent := range []string{"table_exposure_seconds{instance=orders,table=stock}", "replication_copied_rows{instance=orders,table=items}"} {
		if got, there := m["pointsman_"+absent]; there {
			t.Errorf("%s is %v, and nothing is known", absent, got)
		}
	}
}

// TestTheWordsOnWhatWasLeftBehind: how much, whether that is all, and up to when
// it was looked for.
func TestTheWordsOnWhatWasLeftBehind(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for want, l := range map[string]api.LossSummary{
		"orders-1.2 left no write of a behind, made from " + stamp(at) + " on; the old side was read up to " + stamp(at.Add(time.Hour)):           {Exact: true, Read: at.Add(time.Hour), Until: at},
		"whether orders-1.2 left writes of a behind, made from " + stamp(at) + " on, is not known yet: no answer":                                 {Why: "no answer"},
		"orders-1.2 left at least 2 writes of a behind, made from " + stamp(at) + " on (not counted to the end: no answer); by table: items 2":    {Rows: 2, Why: "no answer", ByTable: map[string]int64{"items": 2}},
		"orders-1.2 left 3 writes of a behind, made from " + stamp(at) + " on; only-old 3; they can be read until " + stamp(at.Add(24*time.Hour)): {Rows: 3, Exact: true, ByClass: map[string]int64{"only-old": 3}, Until: at.Add(24 * time.Hour)},
	} {
		l.Op, l.From, l.Begins = "orders-1.2", "a", at
		if got := lossWords(&l); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

// TestAnOrderThatWasDoneInPartSaysSo: not as one that was not done.
func TestAnOrderThatWasDoneInPartSaysSo(t *testing.T) {
	do := func(name string) error {
		if name == "good" {
			return nil
		}
		return replication.ErrNotOpen
	}
	for want, names := range map[string][]string{
		"":                            {"good"},
		"the dead letter is not open": {"bad"},
		"1 of 2 are done, the others are not: bad: the dead letter is not open": {"good", "bad"},
		"a: the dead letter is not open\nb: the dead letter is not open":        {"a", "b"},
	} {
		got := ""
		err := each(names, do)
		if err != nil {
			got = err.Error()
			if !errors.Is(err, replication.ErrNotOpen) {
				t.Errorf("%v: what it is, is lost in %v", names, err)
			}
		}
		if got != want {
			t.Errorf("%v: it says %q, want %q", names, got, want)
		}
	}
}

// TestAnOrderThatIsDoneInPartIsToldAsSuch, whatever kept the rest from being
// done: that this controller does not lead would say that nothing was.
func TestAnOrderThatIsDoneInPartIsToldAsSuch(t *testing.T) {
	p := manyOf(t, 1, 10)
	name := p.ctl.Instances()[0]
	x := &replicas{p: p, of: map[failover.InstanceName]*replica{
		name: {made: wantedReplica{cfg: &config.Replication{Mode: replication.ModeStream}}, why: "this controller does not lead"},
	}}
	for _, why := range []error{replication.ErrNotHere, replication.ErrNotOpen, replication.ErrNoTable, replication.ErrNothingWaits, errors.New("no answer")} {
		err := x.refusal(name, each([]string{"good", "bad"}, func(n string) error {
			if n == "good" {
				return nil
			}
			return why
		}))
		want := "1 of 2 are done, the others are not: bad: " + why.Error()
		if r, ok := errors.AsType[*api.OrderRefused](err); !ok || r.Why != want || !strings.Contains(r.Hint, "order the others again") {
			t.Errorf("it says %#v, want %q", err, want)
		}
	}
	if r, ok := errors.AsType[*api.OrderRefused](x.refusal(name, replication.ErrNotHere)); !ok || r.Why != "this controller does not lead" {
		t.Errorf("of an order that was not done at all it says %v", r)
	}
}

// TestDoctorReplicationWarnsOfAnyLagBeyondTheRPO: zero is a limit, none is not,
// and what asking takes is no lag.
func TestDoctorReplicationWarnsOfAnyLagBeyondTheRPO(t *testing.T) {
	for name, c := range map[string]struct {
		rpo  failover.RPO
		says string
		want doctor.Verdict
	}{
		"none":              {failover.RPO{Kind: failover.RPONone}, `{"lag_ms": 90000}`, doctor.OK},
		"bounded, within":   {failover.RPO{Kind: failover.RPOBounded, Bound: 30 * time.Second}, `{"lag_ms": 1}`, doctor.OK},
		"bounded, beyond":   {failover.RPO{Kind: failover.RPOBounded, Bound: 30 * time.Second}, `{"lag_ms": 90000}`, doctor.Warn},
		"zero, level":       {failover.RPO{Kind: failover.RPOZero}, `{"lag_ms": 0}`, doctor.OK},
		"zero, behind":      {failover.RPO{Kind: failover.RPOZero}, `{"lag_ms": 1}`, doctor.Warn},
		"zero, level once":  {failover.RPO{Kind: failover.RPOZero}, `{"lag_ms": 0, "at": "` + time.Now().Add(-time.Minute).UTC().Format(time.RFC3339) + `"}`, doctor.Warn},
		"an answer of once": {failover.RPO{Kind: failover.RPONone}, `{"lag_ms": 0, "at": "2026-01-01T00:00:00Z"}`, doctor.Fail},
	} {
		p := &patient{}
		f := p.lag(t.Context(), config.Instance{
			Policy: failover.Policy{Instance: "orders", Clusters: [2]failover.ClusterName{"a", "b"}, Primary: "a", RPO: c.rpo},
			Replication: &config.Replication{
				Mode: replication.ModeExternal, External: &config.External{Command: []string{"/bin/echo", c.says}, Every: time.Hour, Timeout: time.Minute},
			},
		})
		if f.Verdict != c.want || f.ID != "replication.lag" {
			t.Errorf("%s: %+v, want %v", name, f, c.want)
		}
	}
}
