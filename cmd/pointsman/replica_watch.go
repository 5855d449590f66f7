package main

import (
	"fmt"
	"strings"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	reporting "pointsman/internal/report"
	"pointsman/replication"
)

const (
	// keepExposure is how often the hour in hand is put into the history.
	keepExposure = time.Minute
	// overFor is how long an exposure above the rpo, or one that is not known, is
	// borne before people are called. A copy takes its time and says so.
	overFor = 2 * time.Minute
)

// Kinds of calls for people about replication.
const (
	pageGap     = "replication-gap"         // part of a stream was not read and is gone
	pageResync  = "replication-resync"      // tables are copied anew, or wait for a person
	pageRefused = "replication-refused"     // the target refuses rows
	pageExposed = "replication-exposure"    // too much would be lost, for too long
	pageBare    = "replication-unprotected" // the standby could not take over
	pageLost    = "replication-lost"        // an operation left rows behind
)

// replicationPages lists them.
var replicationPages = []string{pageExposed, pageGap, pageLost, pageRefused, pageResync, pageBare}

// exposureWatch is what was seen of one instance, for the history and for calls.
type exposureWatch struct {
	hour reporting.ExposureHour
	kept time.Time

	overSince, bareSince time.Time
	told                 map[string]string // call to what it was about
	refill               bool              // somebody ordered that the standby be filled
}

// look notes the exposure of every instance and calls people where one wants
// them.
func (x *replicas) look(now time.Time) {
	x.mu.Lock()
	all := make(map[failover.InstanceName]*replica, len(x.of))
	for i, rep := range x.of {
		all[i] = rep
	}
	x.mu.Unlock()
	for i, rep := range all {
		st := rep.status(i)
		rep.mu.Lock()
		rpo := rep.made.rpo
		sample := rep.watch.note(&st, rpo, now)
		rep.watch.refill = rep.rec.Standby.Refill != ""
		calls := rep.watch.calls(&st, rpo, now)
		rep.mu.Unlock()
		if sample != nil {
			x.p.keep(fmt.Sprintf("exposure/%s/%d/%d", i, sample.Hour.Unix(), x.began.UnixMilli()), sample.Hour, i, reporting.KindExposure, sample)
		}
		for _, pg := range calls {
			x.p.page(i, pg)
		}
	}
}

// note takes one look, and gives back what the history should have now.
func (w *exposureWatch) note(st *api.ReplicationStatus, rpo failover.RPO, now time.Time) *reporting.ExposureHour {
	var keep *reporting.ExposureHour
	ms := int64(reporting.ExposureUnknown)
	if lag, known := lagNow(st, now); known {
		ms = lag.Milliseconds()
	}
	if !w.hour.Note(now, ms) {
		if !w.hour.Hour.IsZero() {
			whole := w.hour
			keep = &whole
		}
		w.hour = reporting.ExposureHour{Hour: now.UTC().Truncate(time.Hour)}
		w.hour.Note(now, ms)
		w.kept = now
	}
	w.hour.RPO = -1
	switch rpo.Kind {
	case failover.RPOZero:
		w.hour.RPO = 0
	case failover.RPOBounded:
		w.hour.RPO = rpo.Bound.Milliseconds()
	}
	w.hour.Rows = max(w.hour.Rows, st.Exposure.Rows)
	if worst := w.hour.WorstKnown(); ms >= 0 && (w.hour.At.IsZero() || ms >= worst) {
		w.hour.At, w.hour.Why = now.UTC(), st.Exposure.Why
	}
	if st.Exposure.Gap != "" {
		w.hour.Gap = st.Exposure.Gap
	}
	if keep == nil && now.Sub(w.kept) >= keepExposure {
		part := w.hour
		keep, w.kept = &part, now
	}
	return keep
}

// lagNow is the exposure with the age of its sample: an old one is no smaller.
func lagNow(st *api.ReplicationStatus, now time.Time) (time.Duration, bool) {
	e := &st.Exposure
	if st.Idle != "" || !e.Known || e.Gap != "" {
		return 0, false
	}
	return e.Lag + max(now.Sub(e.At), 0), true
}

// calls are the news for people: each once, until it is over.
func (w *exposureWatch) calls(st *api.ReplicationStatus, rpo failover.RPO, now time.Time) []failover.Page {
	if w.told == nil {
		w.told = map[string]string{}
	}
	var out []failover.Page
	say := func(kind, about, format string, args ...any) {
		if about == "" {
			delete(w.told, kind)
			return
		}
		if w.told[kind] != about {
			w.told[kind] = about
			out = append(out, failover.Page{Kind: kind, Text: fmt.Sprintf(format, args...)})
		}
	}
	if st.Idle != "" {
		w.overSince, w.bareSince = time.Time{}, time.Time{}
		return nil // what keeps the process from it is told by itself
	}
	gap := st.Exposure.Gap
	if w.refill {
		gap = "" // the standby is being filled, as somebody ordered
	}
	say(pageGap, gap, "what %s lacks of %s is unknown: %s", st.To, st.From, st.Exposure.Gap)

	anew, waits := resyncs(st)
	switch {
	case w.refill:
		say(pageResync, "", "")
	case len(waits) > 0:
		say(pageResync, "waits "+strings.Join(waits, " "), "%s to be copied anew from %s, and nothing is done until a person says so (pointsman replication resync %s): %s", tables(len(waits), "waits", "wait"), st.From, st.Instance, strings.Join(waits, ", "))
	case len(anew) > 0:
		say(pageResync, "copied "+strings.Join(anew, " "), "%s copied anew from %s to %s after a gap: %s; %s stays as it was until that is done", tables(len(anew), "is", "are"), st.From, st.To, strings.Join(anew, ", "), st.To)
	default:
		say(pageResync, "", "")
	}

	refused := ""
	if st.Refused > 0 {
		refused = "some"
	}
	say(pageRefused, refused, "%s refuses %d rows of %s: they are kept aside, with what was said of them: pointsman replication dead-letters %s", st.To, st.Refused, st.From, st.Instance)

	lost := ""
	if l := st.Lost; l != nil && (l.Rows > 0 || l.Exact) {
		lost = fmt.Sprintf("%s %t", l.Op, l.Exact)
		if l.Exact && l.Rows == 0 {
			lost = ""
		}
		say(pageLost, lost, "%s", lossWords(l))
	}

	over := ""
	if w.over(st, rpo, now) {
		over = "over"
	}
	say(pageExposed, over, "a switch would lose %s, for longer than %s now; an automatic failover may lose %s", exposureWords(st, now), overFor, rpo)

	bare := ""
	if w.bare(st, now) {
		bare = "bare"
	}
	say(pageBare, bare, "%s could not take over: %s", st.To, orElse(strings.Join(st.Why, "; "), "it is "+string(st.Standby)))
	return out
}

// over says that more than the rpo would be lost, or nobody knows how much, for
// some time.
func (w *exposureWatch) over(st *api.ReplicationStatus, rpo failover.RPO, now time.Time) bool {
	limit := rpo.Bound
	if rpo.Kind == failover.RPOZero {
		limit = time.Minute // nothing at all is never reached while clients write
	}
	lag, known := lagNow(st, now)
	if rpo.Kind == failover.RPONone || known && lag <= limit || st.Paused != nil || copying(st) || st.Standby == failover.StandbyInvalidated {
		w.overSince = time.Time{}
		return false
	}
	if w.overSince.IsZero() {
		w.overSince = now
	}
	return now.Sub(w.overSince) >= overFor
}

// bare says that the standby could not take over, for some time, although
// nothing is under way that would mend it.
func (w *exposureWatch) bare(st *api.ReplicationStatus, now time.Time) bool {
	if st.Standby == failover.StandbySynced || copying(st) {
		w.bareSince = time.Time{}
		return false
	}
	if w.bareSince.IsZero() {
		w.bareSince = now
	}
	return now.Sub(w.bareSince) >= overFor
}

// copying says that a copy is under way.
func copying(st *api.ReplicationStatus) bool {
	for i := range st.Tables {
		if p := replication.Phase(st.Tables[i].Phase); p == replication.PhaseCopying || p == replication.PhaseCatchUp {
			return true
		}
	}
	return false
}

// resyncs are the tables that are copied anew after a gap, and those that wait
// for a person.
func resyncs(st *api.ReplicationStatus) (anew, waits []string) {
	for i := range st.Tables {
		t := &st.Tables[i]
		switch p := replication.Phase(t.Phase); {
		case p == replication.PhaseGap, p == replication.PhaseWaiting && strings.Contains(t.Hint, "replication resync"):
			waits = append(waits, t.Table)
		case p == replication.PhaseCopying && t.Exposure.Gap != "":
			anew = append(anew, t.Table)
		}
	}
	return anew, waits
}

func tables(n int, does, do string) string {
	if n == 1 {
		return "a table " + does
	}
	return fmt.Sprintf("%d tables %s", n, do)
}

// troubled says that a call stands: the incident is not over.
func (x *replicas) troubled(i failover.InstanceName) bool {
	rep := x.get(i)
	if rep == nil {
		return false
	}
	rep.mu.Lock()
	defer rep.mu.Unlock()
	for _, kind := range []string{pageGap, pageResync, pageExposed, pageBare, pageRefused} {
		if rep.watch.told[kind] != "" {
			return true
		}
	}
	return false
}

// page calls people, as the controller does.
func (p *process) page(i failover.InstanceName, pg failover.Page) {
	p.news.metrics.pages.WithLabelValues(p.label(i), pg.Kind).Inc()
	p.remember(i, "page", pageNote{pg.Kind, pg.Text})
	p.log.Warn("people are called", "instance", i, "kind", pg.Kind, "reason", pg.Text)
	p.notices.paged(i, pg)
}
