package failover

import (
	"fmt"
	"time"
)

// readNames keeps reading the names of an instance without a record.
func (t *turn) readNames() {
	for _, np := range t.p.Names {
		if !np.Embedded {
			t.readName(NameRecord{Name: np.Name, Provider: np.Provider, Zone: np.Zone})
		}
	}
}

func (t *turn) readName(n NameRecord) {
	f := t.s.names[n.Name]
	every := t.p.ReadEvery
	switch {
	case !f.fresh || f.read.Err != "":
		every = 0
	case n.Want != nil:
		every = t.p.VerifyEvery
	}
	if t.now.Before(f.nextTry) || !f.readAt.IsZero() && t.now.Sub(f.readAt) < every {
		return
	}
	t.do("name:"+string(n.Name), ReadName{Name: n, Urgent: n.Want != nil || t.moveWaits()})
}

// moveWaits says whether an operation is under way or about to begin: what it
// needs to know must not queue behind the routine of ten thousand others.
func (t *turn) moveWaits() bool {
	return t.rec.Op != nil || !t.s.wanted.IsZero() && t.now.Sub(t.s.wanted) <= time.Minute
}

// namesFresh says whether every name that lives elsewhere was read since a move
// is wanted, or just before, and has it read where it was not: a point of no
// return is not passed over an edit that stands there already. A provider that
// answers slowly or one by one makes the move late and never impossible, so the
// reads need not be of one moment.
func (t *turn) namesFresh() bool {
	s := t.s
	life := max(time.Minute, 4*time.Duration(len(t.rec.Names))*t.p.LongestCall)
	if s.wanted.IsZero() || t.now.Sub(s.wanted) > life {
		s.wanted = t.now
	}
	since, ok := s.wanted.Add(-max(t.p.Round, time.Second)), true
	for _, n := range t.rec.Names {
		f := s.names[n.Name]
		if n.Embedded || f.fresh && !f.readAt.Before(since) {
			continue
		}
		ok = false
		if f.fresh {
			f.fresh = false
			set(&s.names, n.Name, f)
		}
	}
	switch waited := t.now.Sub(s.wanted); {
	case ok: // and stays so while the last questions are asked
		t.unpage("slow-reads")
	case waited > 2*t.p.LongestCall:
		t.pageOnce("slow-reads", "", fmt.Sprintf("%s: a move has waited for %s until its names are read at their provider", t.p.Instance, waited.Round(time.Second)))
	}
	return ok
}

func (t *turn) nameRead(e NameRead) {
	s := t.s
	delete(s.busy, "name:"+string(e.Name))
	f := s.names[e.Name]
	f.read, f.readAt, f.fresh = e, t.now, true
	if e.Err != "" {
		f.failures++
		f.nextTry = t.now.Add(backoff(f.failures))
	} else {
		f.nextTry = time.Time{}
		s.noteServed(e.Name, e.Value, e.TTL, t.now)
	}
	set(&s.names, e.Name, f)
}
