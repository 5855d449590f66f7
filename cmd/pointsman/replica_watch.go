package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
	reporting "pointsman/internal/report"
	"pointsman/replication"
)

const (
	// keepExposure is how often the hour in hand is put into the history.
	keepExposure = time.Minute
	// overFor is how long an exposure above the rpo, or one that is not known, is
	// borne before people are called. A copy takes its time and says so.
	overFor = 2 * time.Minute
	// forgotten is how long somebody's pause is nobody's surprise.
	forgotten = 4 * time.Hour
)

// Kinds of calls for people about replication.
const (
	pageGap     = "replication-gap"         // part of a stream was not read and is gone
	pageResync  = "replication-resync"      // tables are copied anew, or wait for a person
	pageRefused = "replication-refused"     // the target refuses rows
	pageExposed = "replication-exposure"    // too much would be lost, for too long
	pageBare    = "replication-unprotected" // the standby could not take over
	pageLost    = "replication-lost"        // an operation left rows behind
	pagePaused  = "replication-paused"      // somebody's pause may be forgotten
)

// replicationPages lists them.
var replicationPages = []string{pageExposed, pageGap, pageLost, pagePaused, pageRefused, pageResync, pageBare}

// exposureWatch is what was seen of one instance, for the history and for calls.
type exposureWatch struct {
	hour reporting.ExposureHour
	kept time.Time

	overSince, bareSince time.Time
	told                 map[string]string // call to what it was about
	refill               bool              // somebody ordered that the standby be filled
	down                 bool              // it ended by itself, and is to be started again

	copied     map[copyStep]int64 // the furthest that each copy was
	copiedAt   time.Time          // when one last got further than ever
	lostOp     string             // the operation whose losses are known
	lostExact  bool               // they were told to be all
	lostsSince time.Time          // since when a list of an earlier start is not exact
}

// copyStep is a part of the copy of one table.
type copyStep struct {
	table string
	phase replication.Phase
}

// look notes the exposure of every instance and calls people where one wants
// them.
func (x *replicas) look(ctx context.Context, now time.Time) {
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
		rep.watch.refill, rep.watch.down = rep.rec.Standby.Refill != "", rep.down != ""
		calls := rep.watch.calls(&st, rpo, now)
		rep.mu.Unlock()
		if sample != nil {
			x.p.keep(fmt.Sprintf("exposure/%s/%d/%d", i, sample.Hour.Unix(), x.began.UnixMilli()), sample.Hour, i, reporting.KindExposure, sample)
		}
		for _, pg := range calls {
			x.p.page(i, pg)
			if pg.Kind == pageLost {
				x.auditLoss(ctx, i, rep, *st.Lost)
			}
		}
	}
}

// auditLoss writes what an operation left behind into the audit, as people are
// told: the record knows only the bound. What a start tells once more is not
// written twice.
func (x *replicas) auditLoss(ctx context.Context, i failover.InstanceName, rep *replica, l api.LossSummary) {
	l.Read = time.Time{} // goes on and on
	rep.mu.Lock()
	e := failover.AuditEntry{
		At: time.Now(), Instance: i, Kind: replicationAudit, By: rep.made.by, Text: "replication: " + lossWords(&l),
		Token: failover.Token{Term: rep.rec.Term, Epoch: rep.rec.Epoch},
	}
	rep.mu.Unlock()
	last, err := x.p.store.Audit(ctx, ledger.AuditFilter{Instance: i, Limit: 1000})
	if err == nil && !slices.ContainsFunc(last, func(was ledger.Entry) bool { return was.Text == e.Text }) {
		err = x.p.store.Note(ctx, []failover.AuditEntry{e})
	}
	if err != nil {
		x.p.log.Warn("what an operation left behind is not in the audit", "instance", i, "reason", err)
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
	if st.Idle != "" && !w.down {
		w.overSince, w.bareSince, w.copied = time.Time{}, time.Time{}, nil
		return nil // what keeps the process from it is told by itself
	}
	w.progress(st, now)
	gap := w.gap(st, rpo, now)
	say(pageGap, gap, "what %s lacks of %s is unknown: %s", st.To, st.From, gap)

	anew, waits := resyncs(st)
	switch {
	case w.refill:
		say(pageResync, "", "")
	case len(waits) > 0:
		say(pageResync, "waits "+strings.Join(waits, " "), "%s to be copied anew from %s, and nothing is done until a person says so (pointsman replication resync %s --reason TEXT): %s", tables(len(waits), "waits", "wait"), st.From, st.Instance, strings.Join(waits, ", "))
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

	if w.lost(st.Lost, now) {
		out = append(out, failover.Page{Kind: pageLost, Text: lossWords(st.Lost)})
	}

	if p := st.Paused; p != nil && now.Sub(p.Since) >= forgotten {
		say(pagePaused, p.Since.String(), "replication is paused since %s, by %s: %s; a switch would lose %s, and a pause beyond the memory of the streams wants a copy anew (pointsman replication resume %s)", stamp(p.Since), p.By, p.Reason, exposureWords(st, now), st.Instance)
	} else {
		say(pagePaused, "", "")
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
	if rpo.Kind == failover.RPONone || known && lag <= limit || st.Paused != nil || w.copying(st, now) || st.Standby == failover.StandbyInvalidated {
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
	if st.Standby == failover.StandbySynced || w.copying(st, now) {
		w.bareSince = time.Time{}
		return false
	}
	if w.bareSince.IsZero() {
		w.bareSince = now
	}
	return now.Sub(w.bareSince) >= overFor
}

// progress notes how far the copies are: one that fails and begins again gets no
// further until it is beyond where it failed. What is applied of tables that are
// followed is none of it.
func (w *exposureWatch) progress(st *api.ReplicationStatus, now time.Time) {
	if w.copied == nil {
		w.copied, w.copiedAt = map[copyStep]int64{}, now
	}
	for i := range st.Tables {
		t := &st.Tables[i]
		step, n := copyStep{t.Table, replication.Phase(t.Phase)}, int64(0)
		switch step.phase {
		case replication.PhaseCopying:
			if c := t.Copy; c != nil {
				n = c.Rows + c.Removed + int64(c.RangesDone)
			}
		case replication.PhaseCatchUp:
			n = t.Applied
		case replication.PhaseFollowing, replication.PhaseGap: // the next copy is another one
			delete(w.copied, copyStep{t.Table, replication.PhaseCopying})
			delete(w.copied, copyStep{t.Table, replication.PhaseCatchUp})
			continue
		default:
			continue
		}
		if before, known := w.copied[step]; !known || n > before {
			w.copied[step], w.copiedAt = n, now
		}
	}
}

// gap is what nobody can say of the standby, but for what a person ordered: who
// has a table copied anew knows. Without an rpo nothing else would say that such
// a copy stands still.
func (w *exposureWatch) gap(st *api.ReplicationStatus, rpo failover.RPO, now time.Time) string {
	if w.refill || st.Exposure.Gap == "" {
		return ""
	}
	var gaps []string
	ordered := false
	stands := rpo.Kind == failover.RPONone && st.Paused == nil && now.Sub(w.copiedAt) >= overFor
	for i := range st.Tables {
		switch t := &st.Tables[i]; {
		case t.Exposure.Gap == "":
		case t.Ordered && !stands:
			ordered = true
		default:
			gaps = append(gaps, t.Exposure.Gap)
		}
	}
	switch {
	case len(gaps) > 1:
		return fmt.Sprintf("%s (and %d more)", gaps[0], len(gaps)-1)
	case len(gaps) == 1:
		return gaps[0]
	case ordered:
		return ""
	}
	return st.Exposure.Gap
}

// lost says whether what an operation left behind is news: once when something
// is known, and once when all is. A list that was whole before this start is
// read again first.
func (w *exposureWatch) lost(l *api.LossSummary, now time.Time) bool {
	if l == nil || l.Rows == 0 {
		w.lostsSince = time.Time{}
		return false
	}
	if l.Op != w.lostOp {
		w.lostExact = false
		if !l.Exact && !l.Read.IsZero() {
			if w.lostsSince.IsZero() {
				w.lostsSince = now
			}
			if now.Sub(w.lostsSince) < overFor {
				return false
			}
		}
	}
	news := l.Op != w.lostOp || l.Exact && !w.lostExact
	w.lostOp, w.lostExact = l.Op, w.lostExact || l.Exact
	return news
}

// copying says that a copy is under way, and gets on.
func (w *exposureWatch) copying(st *api.ReplicationStatus, now time.Time) bool {
	if now.Sub(w.copiedAt) >= overFor {
		return false
	}
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
		case (p == replication.PhaseGap || p == replication.PhaseWaiting) && strings.Contains(t.Hint, "replication resync"):
			waits = append(waits, t.Table)
		case p == replication.PhaseCopying && t.Exposure.Gap != "" && !t.Ordered:
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
