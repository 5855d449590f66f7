package main

import (
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/replication"
)

// tableSeries is how many tables of an instance have time series of their own:
// twice what an instance of Tablestore may hold.
const tableSeries = 128

var allPhases = []replication.Phase{
	replication.PhaseWaiting, replication.PhaseCopying, replication.PhaseCatchUp, replication.PhaseFollowing,
	replication.PhaseGap, replication.PhaseRefused, replication.PhaseCut,
}

// replication shows how the rows of an instance fare. What is not known has no
// value: it is not 0.
func (r reading) replication(x *replicas, i failover.InstanceName) {
	if st, ok := x.ReplicationStatus(i); ok {
		r.carried(&st, string(i), time.Now())
	}
}

func (r reading) carried(st *api.ReplicationStatus, name string, now time.Time) {
	r.gauge("replication_running", one(st.Idle == ""), name)
	r.gauge("replication_paused", one(st.Paused != nil), name)
	r.gauge("replication_gap", one(st.Exposure.Gap != ""), name)
	r.gauge("standby_protected", one(st.Standby == failover.StandbySynced), name)
	lag, known := lagNow(st, now)
	r.gauge("exposure_known", one(known), name)
	if known {
		r.gauge("exposure_seconds", lag.Seconds(), name)
		r.gauge("exposure_rows", float64(max(st.Exposure.About, st.Exposure.Rows)), name)
	}
	r.gauge("replication_refused_rows", float64(st.Refused), name)
	if st.Lost != nil {
		r.gauge("replication_lost_rows", float64(st.Lost.Rows), name)
	}
	for _, u := range []struct {
		side, kind string
		n          int64
	}{{"source", "read", st.Units.SourceRead}, {"source", "write", st.Units.SourceWrite}, {"target", "read", st.Units.TargetRead}, {"target", "write", st.Units.TargetWrite}} {
		r.count("replication_units_total", uint64(max(u.n, 0)), name, u.side, u.kind)
	}
	r.gauge("replication_tables", float64(len(st.Tables)), name)
	for n := range st.Tables[:min(len(st.Tables), tableSeries)] {
		t := &st.Tables[n]
		for _, p := range allPhases {
			r.gauge("replication_phase", one(t.Phase == string(p)), name, t.Table, string(p))
		}
		if e := t.Exposure; st.Idle == "" && e.Known && e.Gap == "" {
			r.gauge("table_exposure_seconds", (e.Lag + max(now.Sub(e.At), 0)).Seconds(), name, t.Table)
		}
		r.count("replication_applied_rows_total", uint64(max(t.Applied, 0)), name, t.Table)
		if c := t.Copy; c != nil {
			r.gauge("replication_copied_rows", float64(c.Rows), name, t.Table)
			r.gauge("replication_copied_bytes", float64(c.Bytes), name, t.Table)
			if c.TotalRows > 0 {
				r.gauge("replication_copy_rows", float64(c.TotalRows), name, t.Table)
			}
			if c.Left > 0 {
				r.gauge("replication_copy_left_seconds", c.Left.Seconds(), name, t.Table)
			}
		}
	}
}
