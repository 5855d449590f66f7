package simulate

import (
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// forever is the end of a lease in a replay.
const forever = 100 * 365 * 24 * time.Hour

// world is one instance in a world that obeys.
type world struct {
	p     failover.Policy
	s     failover.State
	now   time.Time
	watch failover.Watch

	record   failover.Record
	rev      uint64
	told     []failover.Episode
	moves    []Move
	depth    int
	overflow bool
	steps    int                                                   // that are left
	seen     func(before, after *failover.State, e failover.Event) // after each step; may be nil
}

// Move is one start of a move by automation.
type Move struct {
	At   time.Time            `json:"at"`
	From failover.ClusterName `json:"from"`
	To   failover.ClusterName `json:"to"`
}

// armed turns a policy into one that a replay can answer: armed, every name one
// that obeys, and without what no tape has.
func armed(p failover.Policy) failover.Policy {
	p.ForceShadow, p.Auto = false, failover.AutoAuto
	p.Generation, p.Replicated, p.Gated, p.ClientProbes, p.CanCut = "", false, false, false, false
	p.RPO, p.Fence, p.GateDriver, p.Approvals = failover.RPO{Kind: failover.RPONone}, failover.FenceNone, failover.FenceNone, 0
	p.Names = slices.Clone(p.Names)
	for i := range p.Names {
		p.Names[i].Provider, p.Names[i].Embedded = "replay", true
	}
	p.Hooks, p.HookRetry = nil, 0
	p.Maintenance, p.Freeze = located(p.Maintenance), located(p.Freeze)
	return p
}

// located gives windows that were read from a history the place that their
// zone names; one that is not known here is read in UTC.
func located(ws []failover.Window) []failover.Window {
	ws = slices.Clone(ws)
	for i := range ws {
		if w := &ws[i]; w.Location == nil && w.Zone != "" {
			w.Location, _ = time.LoadLocation(w.Zone)
		}
	}
	return ws
}

// begin starts a life of the controller with the record as it really stood,
// early enough that adopting is over at the first note.
func (w *world) begin(at time.Time, st failover.Standing, epoch uint64) {
	w.now = at.Add(-4 * w.p.Round)
	w.s = failover.New(w.now)
	if w.record.Instance == "" || epoch == 0 {
		w.record = failover.Record{Version: failover.RecordVersion, Instance: w.p.Instance, ConfigHash: w.p.Expected, Standby: failover.Standby{State: failover.StandbyPlain}}
	}
	w.record.Op = nil
	w.record.Stops = slices.DeleteFunc(slices.Clone(w.record.Stops), func(s failover.Stop) bool { return !ours(s.Kind) })
	for _, s := range st.Stops {
		if !ours(s.Kind) || epoch == 0 {
			w.record.Stops = append(w.record.Stops, s)
		}
	}
	if epoch == 0 {
		w.record.Moves = slices.Clone(st.Moves)
	}
	w.record.Mode, w.record.Proofs, w.record.ConfigSince = failover.ModeAuto, st.Proofs, st.ConfigSince
	w.place(st.Active)
	w.feed(failover.Lead{Leading: true, Term: 1, Until: w.now.Add(forever)})
	w.feed(failover.Loaded{Record: w.record, Found: true})
	w.now = at
}

// ours says that stops of the kind follow from moves, so that a replay has its own.
func ours(k failover.StopKind) bool {
	return k == failover.StopCooldown || k == failover.StopUnacknowledged || k == failover.StopLockout
}

// place makes the record say that a cluster is active.
func (w *world) place(c failover.ClusterName) {
	w.record.Active, w.record.Names = c, nil
	for _, n := range w.p.Names {
		w.record.Names = append(w.record.Names, failover.NameRecord{Name: n.Name, Provider: n.Provider, Zone: n.Zone, Embedded: true, Value: n.Targets[c], TTL: w.p.TTL})
	}
}

// edit changes the record from outside, as a person does, and has it read again.
func (w *world) edit(change func(*failover.Record)) {
	r := w.record.Clone()
	change(&r)
	w.rev++
	r.Rev = w.rev
	w.record = r
	w.feed(failover.Loaded{Record: r.Clone(), Found: true})
}

// deepest is how many answers may follow from one event. A step asks for a few;
// more would be a loop.
const deepest = 200

// feed gives one event to the core, watches, and answers what is asked for.
func (w *world) feed(e failover.Event) {
	if w.steps--; w.steps < 0 {
		return
	}
	if w.depth++; w.depth > deepest {
		w.overflow = true
		w.depth--
		return
	}
	defer func() { w.depth-- }()
	var actions []failover.Action
	before, was := w.record.Op, w.s
	w.s, actions = failover.Step(w.s, &w.p, e, w.now)
	if w.seen != nil {
		w.seen(&was, &w.s, e)
	}
	var told []failover.Episode
	w.watch, told = w.watch.See(&w.s, &w.p, w.now)
	w.told = append(w.told, told...)
	for _, a := range actions {
		switch a := a.(type) {
		case failover.Commit:
			w.rev++
			w.record = a.Record
			w.record.Rev = w.rev
			if op := w.record.Op; op != nil && op.Auto && (before == nil || before.ID != op.ID) {
				w.moves = append(w.moves, Move{w.now, op.From, op.To})
			}
			w.feed(failover.Committed{Rev: w.rev})
		case failover.AskFlood:
			w.feed(failover.FloodVerdict{OK: true, Wanting: 1, Limit: 1})
		case failover.ReadName:
			w.feed(w.read(a.Name.Name))
		case failover.Verify:
			w.feed(w.verify(a.Names))
		}
	}
}

func (w *world) read(n failover.RecordName) failover.NameRead {
	r := failover.NameRead{Name: n, Absent: true}
	if x := w.record.Name(n); x != nil {
		r.Absent, r.Value, r.TTL, r.Mark = false, x.Value, x.TTL, x.Mark.String()
	}
	return r
}

func (w *world) verify(names []failover.NameRecord) failover.Verified {
	v := failover.Verified{Names: map[failover.RecordName]failover.NameAgreement{}}
	for _, n := range names {
		v.Names[n.Name] = failover.NameAgreement{Agree: true, Asked: 1, Agreeing: 1, Wanted: n.Value, AskedAt: w.now, LastAgree: w.now}
	}
	return v
}

// until lets time pass up to a moment, with ticks as the core wants them.
func (w *world) until(end time.Time) {
	for w.now.Before(end) && w.steps >= 0 {
		next := failover.NextWake(&w.s, &w.p, w.now)
		if most := w.now.Add(w.p.Round); next.After(most) {
			next = most
		}
		if least := w.now.Add(time.Millisecond); next.Before(least) {
			next = least
		}
		if next.After(end) {
			w.now = end
			return
		}
		w.now = next
		w.feed(failover.Tick{})
	}
}

func (w *world) fault() error {
	if w.steps < 0 {
		return fmt.Errorf("%w: the replay of %s came as far as %s", ErrTooLong, w.p.Instance, w.now.UTC().Format(time.RFC3339))
	}
	if w.overflow {
		return fmt.Errorf("replay of %s: the core asked for more than %d things at %s", w.p.Instance, deepest, w.now.UTC().Format(time.RFC3339))
	}
	return nil
}
