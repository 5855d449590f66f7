package main

import (
	"encoding/json"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// TestAReportTellsTheScore: of the instances and the time that it is about, and
// what cannot be read is said.
func TestAReportTellsTheScore(t *testing.T) {
	h, err := ledger.OpenHistory(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	now := time.Now().Truncate(time.Second)
	add := func(kind string, i failover.InstanceName, at time.Time, v any) {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Add(t.Context(), ledger.Sample{At: at, Instance: i, Kind: kind, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	add(recordingKind, "", now.Add(-3*time.Hour), failover.Recording{Controller: "ctl", From: now.Add(-3 * time.Hour), Until: now})
	for n, i := range []failover.InstanceName{"orders", "orders", "other"} {
		began := now.Add(-time.Duration(n+1) * time.Hour)
		e := failover.Episode{
			ID: string(i) + began.Format("-150405"), Instance: i, Active: "a", Began: began, RideOut: 15 * time.Second,
			DownAt: began, WouldAt: began.Add(15 * time.Second), End: failover.EndRecovered, EndedAt: began.Add(10 * time.Minute), SeenTo: now, Watched: true, UpAt: began.Add(10 * time.Minute),
		}
		add(episodeKind, i, began, e)
	}
	add(episodeKind, "orders", now.Add(-time.Minute), "no episode")
	s, err := judge{h}.Score(t.Context(), func(i failover.InstanceName) bool { return i == "orders" }, now.Add(-90*time.Minute), now)
	if err != nil {
		t.Fatal(err)
	}
	if s.Counts["needed"] != 1 || s.Counts["needless"] != 0 || s.Counts["missed"] != 0 || s.Unread != 1 || len(s.Incidents) != 1 || s.Incidents[0].Judgement != "needed" || s.Gained == 0 {
		t.Errorf("%+v", s)
	}
}
