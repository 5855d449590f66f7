package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/config"
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
		for range 4 {
			st := carriedWell(now)
			bend(&st)
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
