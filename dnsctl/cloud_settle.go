package dnsctl

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// settling knows which requests, of an earlier leader or of ours, may still
// take effect although nobody waits for them any more. Such an API has no
// condition that would refuse them, so the only protection is to let them pass
// before the next write:
//
//   - The first write under a term waits, from when this provider first hears
//     of the term, unless a record already bears a mark of that term: then
//     another write of it has waited. The controller claims every name as soon
//     as it leads, so the wait is over before a failover asks for it, unless
//     the lead changed within that time.
//   - A write that wants something else than a request of ours that was given
//     up without an answer waits until that request can no longer land.
type settling struct {
	wait time.Duration
	now  func() time.Time

	mu     sync.Mutex
	heard  map[uint64]time.Time // of terms that have not settled, the first time
	passed uint64               // every term up to this one has settled
	late   map[failover.RecordName][]lateRequest
}

// lateRequest is one that was given up without an answer.
type lateRequest struct {
	value failover.Target // empty: it does not set the value
	ttl   uint32          // seconds, set with the value
	mark  string          // empty: it does not set the mark
	until time.Time
}

func newSettling(wait time.Duration, now func() time.Time) *settling {
	return &settling{wait: wait, now: now, heard: make(map[uint64]time.Time), late: make(map[failover.RecordName][]lateRequest)}
}

// until returns from when on the change may be written, the zero time for now.
// lines are what stands at the name.
func (s *settling) until(c Change, term uint64, lines []cloudRecord) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var until time.Time
	if term > s.passed {
		for _, r := range lines {
			if m, err := failover.ParseMark(r.mark); err == nil && m.Token.Term == term {
				s.pass(term)
			}
		}
	}
	if term > s.passed {
		first, ok := s.heard[term]
		if !ok {
			first = now
			s.heard[term] = now
		}
		if until = first.Add(s.wait); !now.Before(until) {
			s.pass(term)
			until = time.Time{}
		}
	}
	for _, l := range s.late[c.Name] {
		differs := l.value != "" && (l.value != c.Value || l.ttl != c.TTL) || l.mark != "" && l.mark != c.Mark
		if differs && now.Before(l.until) && until.Before(l.until) {
			until = l.until
		}
	}
	return until
}

// sleep waits until then, or says at once that ctx does not last so long and
// for what is done after it. The error is ErrSettling.
func (s *settling) sleep(ctx context.Context, until time.Time, after time.Duration) error {
	left := until.Sub(s.now())
	end, ends := ctx.Deadline()
	if ends && time.Until(end) < left+after || sleep(ctx, left) != nil {
		return fmt.Errorf("%w: %s left", ErrSettling, left.Round(100*time.Millisecond))
	}
	return nil
}

func (s *settling) pass(term uint64) {
	s.passed = term
	for t := range s.heard {
		if t <= term {
			delete(s.heard, t)
		}
	}
}

// gaveUp notes a request whose fate is not known.
func (s *settling) gaveUp(n failover.RecordName, l lateRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	l.until = now.Add(s.wait)
	kept := s.late[n][:0:0]
	for _, o := range s.late[n] {
		if now.Before(o.until) && (o.value != l.value || o.ttl != l.ttl || o.mark != l.mark) {
			kept = append(kept, o)
		}
	}
	s.late[n] = append(kept, l)
}
