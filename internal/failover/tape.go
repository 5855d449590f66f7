package failover

import (
	"slices"
	"time"
)

// Tape is a stretch of recorded votes of one instance, from which its decisions
// can be made again, under another policy too. A calm instance makes none: a
// vantage of which no note is there goes on saying what it said, every round,
// until a note says that it fell silent. The first notes are a picture of what
// every vantage had said before.
type Tape struct {
	Version  int            `json:"v"` // TapeVersion
	Instance InstanceName   `json:"instance"`
	Life     int64          `json:"life"` // start of the life that recorded it, in milliseconds since 1970
	Seq      int            `json:"seq"`  // of the tapes of a life, from 1: a missing number is a lost tape
	From     time.Time      `json:"from"` // to the millisecond
	Until    time.Time      `json:"until"`
	Policy   string         `json:"policy"` // hash of the policy that ran
	Clusters [2]ClusterName `json:"clusters"`
	Vantages []VantageName  `json:"vantages"` // notes name them by their place here
	Standing Standing       `json:"standing"` // at From
	Notes    []string       `json:"notes"`    // see [TapeNote]
	Changes  []Standing     `json:"changes,omitempty"`
	Reasons  []string       `json:"reasons,omitempty"`
}

// TapeVersion is the newest form that this program reads. It writes the oldest
// that has room for what is on the tape: classes of faults are since the second.
const (
	TapeVersion = 2
	firstTape   = 1
	faultTape   = 2
)

// Standing is what a record says that decisions hang on.
type Standing struct {
	Active      ClusterName           `json:"active"`
	Mode        Mode                  `json:"mode,omitempty"`
	Op          *StandingOp           `json:"op,omitempty"`      // in hand
	LastOp      *StandingOp           `json:"last_op,omitempty"` // the newest that ended
	Stops       []Stop                `json:"stops,omitempty"`
	Moves       []time.Time           `json:"moves,omitempty"`
	Proofs      map[ClusterName]Proof `json:"proofs,omitempty"`
	Standby     StandbyState          `json:"standby,omitempty"`
	ConfigSince time.Time             `json:"config_since,omitzero"`
}

// StandingOp is what of an operation matters to those who look back.
type StandingOp struct {
	ID      string      `json:"id"`
	Kind    OpKind      `json:"kind"`
	From    ClusterName `json:"from"`
	To      ClusterName `json:"to"`
	Auto    bool        `json:"auto,omitempty"`
	By      string      `json:"by,omitempty"`
	Since   time.Time   `json:"since"`
	MovedAt time.Time   `json:"moved_at,omitzero"`
	Outcome Outcome     `json:"outcome,omitempty"`
}

func standingOp(o *Op, outcome Outcome) *StandingOp {
	return &StandingOp{ID: o.ID, Kind: o.Kind, From: o.From, To: o.To, Auto: o.byItself(), By: o.By, Since: o.Since, MovedAt: o.MovedAt, Outcome: outcome}
}

// StandingOf picks it out of a record.
func StandingOf(r *Record) Standing {
	s := Standing{
		Active: r.Active, Mode: r.Mode, Stops: slices.Clone(r.Stops), Moves: slices.Clone(r.Moves), Proofs: cloned(r.Proofs),
		Standby: r.Standby.State, ConfigSince: r.ConfigSince,
	}
	if r.Op != nil {
		s.Op = standingOp(r.Op, "")
	}
	if r.LastOp != nil {
		s.LastOp = standingOp(&r.LastOp.Op, r.LastOp.Outcome)
	}
	return s
}

// differs says whether the change from one record to another is worth a note.
// Proofs are renewed by themselves.
func differs(a, b *Record) bool {
	return a.Active != b.Active || a.Mode != b.Mode || a.Standby.State != b.Standby.State || !a.ConfigSince.Equal(b.ConfigSince) ||
		opID(a.Op) != opID(b.Op) || lastID(a) != lastID(b) || len(a.Stops) != len(b.Stops) || !slices.Equal(a.Stops, b.Stops) || len(a.Moves) != len(b.Moves)
}

func opID(o *Op) string {
	if o == nil {
		return ""
	}
	return o.ID
}

func lastID(r *Record) string {
	if r.LastOp == nil {
		return ""
	}
	return r.LastOp.Op.ID
}

const (
	// exactFor is for how long an unrest is recorded report by report. After it
	// only what is news: every decision that waits for time alone was made, or
	// waits for news.
	exactFor = 10 * time.Minute
	// tapeNotes and tapeTime bound one tape, and a change of the record ends it. A
	// process that is killed loses the tape in hand.
	tapeNotes = 256
	tapeTime  = 30 * time.Second
	// mostReasons bounds the different words of one tape.
	mostReasons = 32
)

// Recorder makes tapes of one instance. It is fed beside Step, with the state
// before and after; nothing of it comes back into a decision. The zero value has
// recorded nothing. Life names the life of the process.
type Recorder struct {
	Life int64

	on    bool
	since time.Time // of the unrest
	news  time.Time // the newest
	seq   int
	tape  *Tape
	words map[wordKey]string        // as last written on this tape
	said  map[VantageName]time.Time // the newest sight of each on this tape
	mute  map[VantageName]time.Time // when those were last heard that are known to be silent
}

type wordKey struct {
	v VantageName
	c ClusterName
}

// Note takes one step, and returns a tape that is full, or nil. In a calm time
// it returns at once.
func (r *Recorder) Note(prev, next *State, p *Policy, e Event, now time.Time) *Tape {
	if !next.found || !next.adopted {
		return r.Flush(now)
	}
	if !r.on && !Stirs(prev, next, p, e) {
		return nil
	}
	if !prev.found {
		prev = next // its record was made just now
	}
	if !r.on {
		r.on, r.since, r.news = true, now, now
	}
	if _, ok := e.(PolicyChanged); ok {
		out := r.Flush(now)
		return out
	}
	r.write(prev, next, p, e, now)
	var out *Tape
	if next.still && now.Sub(r.news) > p.settled() {
		r.on = false
		out = r.Flush(now)
	} else if t := r.tape; t != nil && (len(t.Notes) >= tapeNotes || now.Sub(t.From) >= tapeTime || len(t.Changes) > 0) {
		// With the record's change go the votes that led to it: a process that is
		// killed next has handed them on.
		out = r.Flush(now)
	}
	return out
}

// Flush ends the tape in hand and returns it, or nil.
func (r *Recorder) Flush(now time.Time) *Tape {
	t := r.tape
	r.tape, r.words, r.said = nil, nil, nil
	if t != nil && t.Until.Before(now) {
		t.Until = now.Truncate(time.Millisecond)
	}
	return t
}

// Stirs says whether a step ends a calm time, so that a Recorder is needed. What
// a Quiet report or a tick brings shows in what Step counted.
func Stirs(prev, next *State, p *Policy, e Event) bool {
	if !next.found || !next.adopted {
		return false
	}
	if !prev.adopted {
		return !next.still // before it everybody was heard for the first time
	}
	if next.lost != prev.lost || next.blind != prev.blind {
		return true
	}
	switch e := e.(type) {
	case Tick, Reports:
		return false
	case Report:
		was, ok := prev.sights[e.Vantage]
		is := next.sights[e.Vantage]
		return ok && (was.news(&is) || is.at.Sub(was.at) > p.Stale())
	case Tilted, Lead:
		return true
	}
	return prev.rec.Rev != next.rec.Rev && differs(&prev.rec, &next.rec)
}

// news says whether the second sight says something else than the first.
func (x *sight) news(y *sight) bool {
	if x.Sick != y.Sick || (x.Generation == x.Want) != (y.Generation == y.Want) || len(x.Clusters) != len(y.Clusters) {
		return true
	}
	for c, a := range x.Clusters {
		b, ok := y.Clusters[c]
		if !ok || a.Vote != b.Vote || a.Fault != b.Fault || a.Identity != b.Identity || a.Canary != b.Canary || a.Client != b.Client {
			return true
		}
	}
	return false
}

func (r *Recorder) write(prev, next *State, p *Policy, e Event, now time.Time) {
	switch e := e.(type) {
	case Report:
		r.sight(prev, next, p, e.Vantage, now)
	case Reports:
		for _, x := range e {
			r.sight(prev, next, p, x.Vantage, now)
		}
	case Tilted:
		r.open(prev, p, now).put(TapeNote{At: now, Kind: NoteTilt, Stall: e.Stall})
		r.news = now
	case Lead:
		if e.Leading != prev.lead.Leading {
			r.open(prev, p, now).put(TapeNote{At: now, Kind: NoteLead, Leading: e.Leading})
			r.news = now
		}
	}
	if prev.rec.Rev != next.rec.Rev && differs(&prev.rec, &next.rec) {
		t := r.open(prev, p, now)
		// What led to it need not have been news: time alone had to pass, too.
		for _, v := range p.Vantages {
			if x, ok := next.sights[v.Name]; ok && x.at.After(r.said[v.Name]) {
				r.say(t, &x, p)
			}
		}
		t.Changes = append(t.Changes, StandingOf(&next.rec))
		t.put(TapeNote{At: now, Kind: NoteRecord, Change: len(t.Changes) - 1})
		r.news = now
	}
	r.listen(prev, next, p, now)
}

// sight writes down what one vantage said: everything in the first minutes of
// an unrest, later what is news.
func (r *Recorder) sight(prev, next *State, p *Policy, v VantageName, now time.Time) {
	is, ok := next.sights[v]
	was, had := prev.sights[v]
	if !ok || had && is.at.Equal(was.at) {
		return
	}
	if had && is.at.Sub(was.at) > p.Stale() {
		r.silent(prev, p, v, was.at, now)
	}
	delete(r.mute, v)
	news := !had || was.news(&is)
	if news {
		r.news = now
	}
	if news || now.Sub(r.since) < exactFor {
		r.say(r.open(prev, p, now), &is, p)
	}
}

// listen writes down which vantages have fallen silent.
func (r *Recorder) listen(prev, next *State, p *Policy, now time.Time) {
	for _, v := range p.Vantages {
		if x, ok := next.sights[v.Name]; ok && now.Sub(x.at) > p.Stale() {
			r.silent(prev, p, v.Name, x.at, now)
		}
	}
}

func (r *Recorder) silent(prev *State, p *Policy, v VantageName, heard, now time.Time) {
	if at, ok := r.mute[v]; ok && at.Equal(heard) {
		return
	}
	set(&r.mute, v, heard)
	t := r.open(prev, p, now)
	t.put(TapeNote{At: heard, Kind: NoteSilent, Vantage: v})
	r.news = now
}

// open returns the tape in hand, or begins one with a picture of what was said
// before.
func (r *Recorder) open(prev *State, p *Policy, now time.Time) *Tape {
	if r.tape != nil {
		r.tape.Until = now.Truncate(time.Millisecond)
		return r.tape
	}
	r.seq++
	from := now.Truncate(time.Millisecond)
	r.tape = &Tape{
		Version: firstTape, Instance: p.Instance, Life: r.Life, Seq: r.seq, From: from, Until: from, Policy: p.Expected,
		Clusters: p.Clusters, Standing: StandingOf(&prev.rec),
	}
	for _, v := range p.Vantages {
		r.tape.Vantages = append(r.tape.Vantages, v.Name)
	}
	r.words, r.said = nil, nil
	for _, v := range p.Vantages {
		if x, ok := prev.sights[v.Name]; ok {
			r.say(r.tape, &x, p)
			if at, mute := r.mute[v.Name]; mute && at.Equal(x.at) {
				r.tape.put(TapeNote{At: x.at, Kind: NoteSilent, Vantage: v.Name})
			}
		}
	}
	return r.tape
}

// say writes down one sight, with the words that are new on this tape.
func (r *Recorder) say(t *Tape, x *sight, p *Policy) {
	set(&r.said, x.Vantage, x.at)
	n := TapeNote{At: x.at, Kind: NoteReport, Vantage: x.Vantage, Foreign: x.Generation != x.Want, Sick: cut(x.Sick)}
	for i, c := range p.Clusters {
		s, ok := x.Clusters[c]
		if !ok {
			continue
		}
		k := wordKey{x.Vantage, c}
		if w := cut(s.Reason); r.words[k] != w {
			set(&r.words, k, w)
			s.Reason = w
		} else {
			s.Reason = ""
		}
		n.Seen[i] = &s
	}
	t.put(n)
}

func (t *Tape) put(n TapeNote) { t.Notes = append(t.Notes, t.encode(&n)) }
