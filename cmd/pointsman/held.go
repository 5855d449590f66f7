package main

import (
	"pointsman/healthcheck"
)

// held is how the held-open connections of our own vantage fare.
func (r reading) held(s healthcheck.Stats) {
	r.gauge("held_connections", float64(s.Held.Open))
	r.gauge("held_resting", float64(s.Held.Resting))
	r.count("held_set_aside_total", s.Held.SetAside)
	for _, why := range healthcheck.Losses {
		r.count("held_lost_total", s.Held.Lost[why], string(why))
	}
	r.count("canary_capacity_units_total", uint64(s.Units.Read), "read")
	r.count("canary_capacity_units_total", uint64(s.Units.Write), "write")
	r.gauge("front_resting", float64(s.Front.Resting))
	r.count("front_looks_total", s.Front.Well, "well")
	r.count("front_looks_total", s.Front.Missed, "missed")
	r.count("front_looks_total", s.Front.Own, "own-fault")
	for _, end := range healthcheck.NudgeEnds {
		r.count("nudges_total", s.Nudges[end], string(end))
	}
}

// unwatched says why no connection is held although there should be some.
func (p *process) unwatched() string {
	if p.prober == nil {
		return ""
	}
	s := p.prober.Stats()
	return orElse(s.Held.Off, s.Front.Off)
}
