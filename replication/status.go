package replication

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// Status says what is going on.
func (r *Replicator) Status() Status {
	now := time.Now()
	r.mu.Lock()
	c, s, g, doing := r.course, r.session, r.gauge, r.doing
	r.mu.Unlock()
	st := Status{
		Instance: r.cfg.Instance, Mode: r.cfg.Mode, From: c.Active, To: c.Standby,
		At: now, Doing: doing, Standby: c.State, Tables: []TableStatus{},
		Exposure: ExposureNow{At: now, Why: doing}, Units: r.units(),
	}
	switch {
	case s != nil:
		s.status(&st, now)
	case g != nil:
		b := g.bound()
		st.Doing, st.Exposure, st.Why = "somebody else replicates: only the lag is read", b.now(now), g.standby().Why
	}
	st.Lost = r.losses.summary(r.cfg.Instance, c)
	return st
}

// units sums up what all clients have consumed.
func (r *Replicator) units() (u Units) {
	add := func(c *ots.Client, read, write *int64) {
		rd, wr := c.Units()
		*read, *write = *read+rd, *write+wr
	}
	for _, c := range r.clients {
		add(c.source, &u.SourceRead, &u.SourceWrite)
		add(c.target, &u.TargetRead, &u.TargetWrite)
		add(c.control, &u.TargetRead, &u.TargetWrite)
	}
	return u
}

// status adds what the session knows.
func (s *session) status(st *Status, now time.Time) {
	w := s.sum(now)
	st.Exposure = w.total.now(now)
	st.Why, st.Warnings = w.standby.Why, w.warnings
	st.Tables = w.tables
	st.Doing = s.phrase(w)
	for i := range w.tables {
		st.Refused += w.tables[i].Refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.pause; o != nil {
		st.Paused = &Pause{By: o.By, Reason: o.Reason, Since: o.At}
	}
}

// whole is one look at all tables of a session.
type whole struct {
	total    bound
	standby  failover.StandbyChanged // its State is empty where nothing can be said
	warnings []string
	tables   []TableStatus
}

// sum sums up all tables.
func (s *session) sum(now time.Time) whole {
	s.mu.Lock()
	listed, trouble, paused := s.listed, s.trouble, s.pause
	doing, unsaved, left := s.doing, s.unsaved, s.left
	s.mu.Unlock()
	var w whole
	var bounds []bound
	var blocking, filling []string
	refused := s.refused()
	for _, r := range s.runners() {
		t, b := r.status(now, refused[r.table])
		w.tables = append(w.tables, t)
		if b != nil {
			bounds = append(bounds, *b)
		}
		state, why := r.standing()
		switch state {
		case failover.StandbyRefilling:
			filling = append(filling, why)
		case failover.StandbyUnprotected:
			blocking = append(blocking, why)
		}
		for _, warning := range r.warns() {
			w.warnings = append(w.warnings, r.table+": "+warning)
		}
	}
	slices.Sort(w.warnings)
	if left > 0 {
		w.warnings = append(w.warnings, fmt.Sprintf("the configuration leaves out %s of %s: what a switch would lose of them is not known", tables(left), s.way.From))
	}
	if trouble != "" {
		w.warnings = append(w.warnings, trouble)
	}
	if unsaved != nil {
		w.warnings = append(w.warnings, "positions cannot be saved: "+unsaved.Error())
	}
	if listed.IsZero() {
		w.total = bound{why: phrase(doing, trouble)}
		return w
	}
	if !s.cfg.open() {
		listed = time.Time{}
	}
	w.total = sum(bounds, listed, now)
	if left > 0 && len(w.tables) == 0 {
		why := "no table is replicated: the configuration leaves out all of " + string(s.way.From)
		w.total, blocking = bound{why: why}, append(blocking, why)
	}
	if paused != nil {
		w.total.why = phrase(fmt.Sprintf("paused by %s", paused.By), w.total.why)
	}
	switch {
	case len(blocking) > 0:
		w.standby = failover.StandbyChanged{State: failover.StandbyUnprotected, Why: reasons(append(blocking, filling...))}
	case len(filling) > 0:
		w.standby = failover.StandbyChanged{State: failover.StandbyRefilling, Why: reasons(filling)}
	default:
		w.standby = failover.StandbyChanged{State: failover.StandbySynced}
	}
	return w
}

// phrase says in a few words what is going on.
func (s *session) phrase(w whole) string {
	s.mu.Lock()
	doing, paused := s.doing, s.pause
	s.mu.Unlock()
	switch {
	case paused != nil:
		return fmt.Sprintf("paused by %s: %s", paused.By, paused.Reason)
	case doing != "":
		return doing
	}
	n := map[Phase]int{}
	for i := range w.tables {
		n[w.tables[i].Phase]++
	}
	var parts []string
	for _, p := range []struct {
		phase Phase
		words string
	}{
		{PhaseFollowing, "following %s"},
		{PhaseCatchUp, "catching up with %s"},
		{PhaseCopying, "copying %s"},
		{PhaseGap, "%s with a gap"},
		{PhaseWaiting, "%s waiting"},
		{PhaseRefused, "%s refused"},
		{PhaseCut, "%s cut"},
	} {
		if n[p.phase] > 0 {
			parts = append(parts, fmt.Sprintf(p.words, tables(n[p.phase])))
		}
	}
	if len(parts) == 0 {
		return "no table to follow"
	}
	return strings.Join(parts, ", ")
}

func tables(n int) string {
	if n == 1 {
		return "1 table"
	}
	return fmt.Sprintf("%d tables", n)
}

// status is what people see of one table, and what it adds to the exposure; nil
// is nothing.
func (r *runner) status(now time.Time, refused refused) (TableStatus, *bound) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := TableStatus{Table: r.table, Phase: r.phase(), Why: r.why, Hint: r.hint, Refused: refused.rows, Stream: r.source.Stream}
	if t.Why == "" {
		t.Why = r.row.Why
	}
	if t.Why == "" && len(r.blocks) > 0 {
		t.Why = first(r.blocks)
	}
	if t.Hint == "" && len(r.blocks) > 0 {
		t.Hint = r.mends
	}
	if trouble := r.troubleNow(); trouble != nil && t.Why == "" {
		t.Why = trouble.Error()
		if t.Hint == "" {
			t.Hint = troubleHint(trouble)
		}
	}
	t.Ordered = strings.HasPrefix(r.row.Why, orderedWhy)
	if r.copy != nil {
		p := r.copy.progress(now)
		t.Copy = &p
	}
	if r.gone {
		return t, nil
	}
	b := bound{table: r.table, why: r.table + ": " + phrase(string(t.Phase), t.Why), rows: refused.rows, about: refused.rows}
	var m mark
	if r.track != nil {
		m = r.track.mark(now)
		t.Shards, t.Applied, t.Rate, t.Units = m.shards, m.total, m.went, m.units
	}
	if r.row.followed() && r.track != nil {
		b = boundOf(r.table, m, refused.rows, refused.oldest, now)
		t.Oldest = b.upto
	}
	if r.row.Phase == PhaseGap || r.row.Why != "" {
		b.gap = r.table + ": " + r.row.Why
	}
	t.Exposure = b.now(now)
	return t, &b
}

// phase is what the table is shown in. mu is held.
func (r *runner) phase() Phase {
	switch {
	case r.gone, len(r.blocks) > 0 && !r.row.followed():
		return PhaseRefused
	case r.row.Phase == "" || r.row.Phase == PhaseWaiting || r.row.Phase == PhaseRefused:
		return PhaseWaiting
	}
	return r.row.Phase
}

// troubleNow is the fault that stands in the way now. mu is held.
func (r *runner) troubleNow() error {
	if r.follower != nil {
		if _, err := r.follower.Trouble(); err != nil {
			return err
		}
		if err := r.s.applier.Trouble(r.table); err != nil {
			return fmt.Errorf("rows wait: %w", err)
		}
	}
	if r.copy != nil {
		return r.copy.Trouble()
	}
	return r.trouble
}

// troubleHint is what a person can do about a fault; nothing where it passes by
// itself.
func troubleHint(err error) string {
	switch ots.ClassOf(err) {
	case ots.ClassRights:
		return "grant what the key lacks: pointsman doctor --only replication tries each right"
	case ots.ClassOwn:
		return "look at the key, the clock and the instance of the cluster: pointsman doctor --only cluster,clock,replication"
	}
	if _, fault := errors.AsType[*faultError](err); fault {
		return "keep the log for a report of the fault; the table is tried again"
	}
	return ""
}

// warns are what does no harm yet.
func (r *runner) warns() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.warnings)
}

// asks says whether the table waits for the word of a person to be copied.
func (r *runner) asks() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.HasPrefix(r.hint, resyncVerb)
}

// refused are the rows of a table that the target refused and nobody accepted.
type refused struct {
	rows   int64
	oldest time.Time // of our clock, at the earliest; zero is unknown
}

// refused are they of all tables.
func (s *session) refused() map[string]refused {
	s.mu.Lock()
	dead := s.dead
	s.mu.Unlock()
	if dead == nil {
		return nil // not opened yet
	}
	_, high, known := s.source.Offset()
	out := map[string]refused{}
	for table, l := range dead.counts() {
		r := refused{rows: l.Count}
		if known && !l.Oldest.IsZero() {
			r.oldest = l.Oldest.Add(-high - s.cfg.Visibility)
		}
		out[table] = r
	}
	return out
}
