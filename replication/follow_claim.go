package replication

import (
	"time"

	"pointsman/replication/ots"
)

// offset bounds how far the service's clock is before ours.
type offset struct {
	low, high time.Duration
	known     bool
}

// claim turns a page into the next position and what may be said of it.
//
// Two things show how far a shard was read. An empty read with an unchanged
// iterator shows that whatever was acknowledged more than visibility before it
// was sent is before the iterator. A record shows that what the service wrote
// before it, by the service's clock, is too; it is taken with the worst offset
// that the clocks had since the last such read, less visibility, since a service
// may set the times of records a little forward to keep their order. No page
// shows more than an empty one would have.
type claim struct {
	visibility time.Duration
	// stepped: the epoch of records changed and no empty read came since. Which
	// clock gave the times is not known then.
	stepped bool
}

// next is the position after a page, and whether the page was an empty read
// that shows something.
func (c *claim) next(p position, page ots.Page, clock offset) (position, bool) {
	most := page.Sent.Add(-c.visibility)
	// Our own clock may have been set back since, or visibility made longer.
	p.Upto, p.Proved = minTime(p.Upto, most), minTime(p.Proved, most)
	empty := len(page.Records) == 0 && page.Next == p.Iterator && page.Next != ""
	p.Iterator, p.Done = page.Next, page.Next == ""
	if empty {
		p.Upto, p.Proved, c.stepped = most, most, false
		if clock.known {
			p.Ahead = clock.high
		}
		return p, true
	}
	if clock.known {
		p.Ahead = max(p.Ahead, clock.high)
	}
	if len(page.Records) == 0 {
		return p, false
	}
	if !inOrder(p.Seq, page.Records) {
		// The times so far may be of a clock that was wrong.
		c.stepped = true
		p.Upto = p.Proved
	}
	p.Seq = page.Records[len(page.Records)-1].Seq
	if c.stepped || !clock.known {
		return p, false
	}
	shown := time.UnixMicro(p.Seq.Time).Add(-p.Ahead - c.visibility)
	p.Upto = maxTime(p.Upto, minTime(shown, most))
	return p, false
}

// inOrder says whether records of one epoch follow each other, and the last
// one before them if there was one.
func inOrder(last ots.Sequence, records []ots.Record) bool {
	for i := range records {
		s := records[i].Seq
		if last != (ots.Sequence{}) && (s.Epoch != last.Epoch || s.Compare(last) < 0) {
			return false
		}
		last = s
	}
	return true
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
