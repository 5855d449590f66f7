package main

import (
	"pointsman/internal/api"
	"pointsman/replication"
)

// The API has values of its own, which hold the same: a test compares them.

func statusOf(s *replication.Status) api.ReplicationStatus {
	out := api.ReplicationStatus{
		Instance: s.Instance, Mode: string(s.Mode), From: s.From, To: s.To, At: s.At, Doing: s.Doing, Exposure: exposureOf(s.Exposure),
		Standby: s.Standby, Why: s.Why, Warnings: s.Warnings, Units: api.ReplicationUnits(s.Units), Refused: s.Refused,
		Tables: make([]api.ReplicationTable, len(s.Tables)),
	}
	if s.Paused != nil {
		p := api.ReplicationPause(*s.Paused)
		out.Paused = &p
	}
	if s.Lost != nil {
		l := api.LossSummary(*s.Lost)
		out.Lost = &l
	}
	for i, t := range s.Tables {
		out.Tables[i] = api.ReplicationTable{
			Table: t.Table, Phase: string(t.Phase), Why: t.Why, Hint: t.Hint, Ordered: t.Ordered, Exposure: exposureOf(t.Exposure), Shards: t.Shards, Applied: t.Applied,
			Rate: t.Rate, Refused: t.Refused, Stream: t.Stream, Oldest: t.Oldest, Units: t.Units,
		}
		if t.Copy != nil {
			c := api.CopyProgress(*t.Copy)
			out.Tables[i].Copy = &c
		}
	}
	return out
}

func exposureOf(e replication.ExposureNow) api.ReplicationExposure { return api.ReplicationExposure(e) }
