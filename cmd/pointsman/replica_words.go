package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	reporting "pointsman/internal/report"
)

// exposureWords is what a switch would lose, in a few words.
func exposureWords(st *api.ReplicationStatus, now time.Time) string {
	e := &st.Exposure
	lag, known := lagNow(st, now)
	switch {
	case e.Gap != "":
		return "an unknown part: " + e.Gap
	case !known:
		return strings.TrimSuffix("an unknown part: "+orElse(e.Why, st.Idle), ": ")
	}
	s := "at most the last " + age(lag)
	if n := max(e.About, e.Rows); n > 0 {
		s += fmt.Sprintf(", about %d rows", n)
	}
	return s
}

// exposureLine says what would be lost if the active cluster failed now.
func exposureLine(st *api.ReplicationStatus, now time.Time) string {
	s := fmt.Sprintf("if %s failed now you would lose %s", orElse(string(st.From), "the active cluster"), exposureWords(st, now))
	if _, known := lagNow(st, now); known && st.Exposure.Why != "" {
		s += "; it hangs on " + st.Exposure.Why
	}
	return s
}

// lines are those of explain, beside what the core says of the exposure and of
// the standby.
func (x *replicas) lines(i failover.InstanceName, now time.Time) []string {
	st, ok := x.ReplicationStatus(i)
	if !ok {
		return nil
	}
	out := []string{"replication: " + orElse(st.Idle, st.Doing), "  " + exposureLine(&st, now)}
	if st.Lost != nil {
		out = append(out, "  "+lossWords(st.Lost))
	}
	return out
}

// words is how the rows of an instance fare in one line, empty where nothing is
// replicated.
func (x *replicas) words(i failover.InstanceName, now time.Time) string {
	st, ok := x.ReplicationStatus(i)
	if !ok {
		return ""
	}
	s := fmt.Sprintf("%s from %s to %s: %s; %s; the standby is %s", st.Mode, orElse(string(st.From), "?"), orElse(string(st.To), "?"), orElse(st.Idle, st.Doing), exposureLine(&st, now), st.Standby)
	if len(st.Why) > 0 {
		s += ": " + strings.Join(st.Why, "; ")
	}
	return s
}

// lossWords is what an operation left behind.
func lossWords(l *api.LossSummary) string {
	window := fmt.Sprintf("from %s on", stamp(l.Begins))
	switch {
	case l.Begins.IsZero():
		window = "in an unknown window"
	case !l.Ends.IsZero():
		window = fmt.Sprintf("from %s to %s", stamp(l.Begins), stamp(l.Ends))
	}
	s := fmt.Sprintf("%s left %d writes of %s behind, made %s", l.Op, l.Rows, l.From, window)
	switch {
	case l.Rows == 0 && l.Exact:
		s = fmt.Sprintf("%s left no write of %s behind, made %s", l.Op, l.From, window)
	case l.Rows == 0:
		s = fmt.Sprintf("whether %s left writes of %s behind, made %s, is not known yet", l.Op, l.From, window)
		if l.Why != "" {
			s += ": " + l.Why
		}
	case !l.Exact:
		s = fmt.Sprintf("%s left at least %d writes of %s behind, made %s", l.Op, l.Rows, l.From, window)
		if l.Why != "" {
			s += " (not counted to the end: " + l.Why + ")"
		}
	}
	if !l.Read.IsZero() {
		s += "; the old side was read up to " + stamp(l.Read)
	}
	if parts := counted(l.ByTable); parts != "" {
		s += "; by table: " + parts
	}
	if parts := counted(l.ByClass); parts != "" {
		s += "; " + parts
	}
	if !l.Until.IsZero() && (l.Rows > 0 || !l.Exact) {
		s += "; they can be read until " + stamp(l.Until)
	}
	return s
}

// counted writes counts by name, the names in order.
func counted(by map[string]int64) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(by)) {
		out = append(out, fmt.Sprintf("%s %d", k, by[k]))
	}
	return strings.Join(out, ", ")
}

// exposureHourWords is an hour of the history in one line.
func exposureHourWords(h *reporting.ExposureHour) string {
	known, unknown, over := 0, 0, 0
	for _, ms := range h.Worst {
		switch {
		case ms == reporting.ExposureUnknown:
			unknown++
		case ms >= 0:
			known++
			if h.RPO >= 0 && ms > h.RPO {
				over++
			}
		}
	}
	s := fmt.Sprintf("exposure from %s", stamp(h.Hour))
	if known > 0 {
		s += fmt.Sprintf(": at most %s", age(time.Duration(h.WorstKnown())*time.Millisecond))
		if h.Why != "" {
			s += ", at " + stamp(h.At) + " by " + h.Why
		}
	}
	if over > 0 {
		s += fmt.Sprintf("; above the rpo of %s for %s", age(time.Duration(h.RPO)*time.Millisecond), age(time.Duration(over)*reporting.ExposureEvery))
	}
	if unknown > 0 {
		s += fmt.Sprintf("; unknown for %s", age(time.Duration(unknown)*reporting.ExposureEvery))
	}
	if h.Rows > 0 {
		s += fmt.Sprintf("; at most %d rows", h.Rows)
	}
	if h.Gap != "" {
		s += "; a gap: " + h.Gap
	}
	return s
}
