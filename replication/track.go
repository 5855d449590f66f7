package replication

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// shardID names a shard of one table; its stream is part of it, since a stream
// that is re-enabled may use the old names again.
type shardID struct{ stream, shard string }

func (p *position) id() shardID { return shardID{p.Stream, p.Shard} }

// track is how far one table is: per shard what is applied, and what was read
// and is on its way to the target. A position advances over a delivery only
// when all of its rows, and all deliveries before it, are acknowledged.
type track struct {
	mu     sync.Mutex
	shards map[shardID]*shardTrack
	rows   int64 // on their way
	total  int64 // applied, since the start
	units  int64 // of reading
	came   lastMinute
	went   lastMinute
	fresh  time.Time
	dirty  bool      // positions moved over records since they were taken
	taken  time.Time // when that was
}

type shardTrack struct {
	at    position // applied up to here
	read  position // read up to here
	queue []*flight
}

// flight is one delivery on its way.
type flight struct {
	after    position
	children []position
	rows     int64
	done     bool
}

func newTrack(start []position) *track {
	t := &track{shards: make(map[shardID]*shardTrack, len(start))}
	for _, p := range start {
		t.shards[p.id()] = &shardTrack{at: p, read: p}
	}
	return t
}

// begin notes a delivery and returns what must be called, once, when all of its
// rows are acknowledged or kept aside. Deliveries of one shard begin in order.
func (t *track) begin(after position, children []position, rows int, units int64, at time.Time) (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.shards[after.id()]
	if s == nil { // a child that was told by its follower only now
		s = &shardTrack{at: position{Stream: after.Stream, Shard: after.Shard, Parents: after.Parents}}
		t.shards[after.id()] = s
	}
	f := &flight{after: after, children: children, rows: int64(rows)}
	s.read = after
	s.queue = append(s.queue, f)
	t.rows += f.rows
	t.units += units
	t.came.add(at, f.rows)
	return func() { t.land(s, f) }
}

func (t *track) land(s *shardTrack, f *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.done = true
	t.rows -= f.rows
	t.total += f.rows
	t.went.add(time.Now(), f.rows)
	t.advance(s)
}

// advance moves a shard over what has landed. A child stays where its parents
// end until all of them is applied: after a restart they would be applied once
// more, over what had come of the child.
func (t *track) advance(s *shardTrack) {
	if s.at.unread() || !t.applied(s.at.Parents, s.at.Stream) {
		return
	}
	n := 0
	for ; n < len(s.queue) && s.queue[n].done; n++ {
		t.dirty = t.dirty || s.queue[n].rows > 0 || s.queue[n].after.Done
		s.at = s.queue[n].after
		for _, c := range s.queue[n].children {
			t.inherit(c)
		}
	}
	s.queue = slices.Delete(s.queue, 0, n)
	if !s.at.Done {
		return
	}
	for _, c := range t.shards {
		if len(c.queue) > 0 && slices.Contains(c.at.Parents, s.at.Shard) {
			t.advance(c)
		}
	}
}

// applied says whether these are applied to their ends, or none of ours.
func (t *track) applied(shards []string, stream string) bool {
	return !slices.ContainsFunc(shards, func(id string) bool {
		s := t.shards[shardID{stream, id}]
		return s != nil && !s.at.Done
	})
}

// inherit gives a child its place, now that one of its parents is applied.
func (t *track) inherit(c position) {
	s := t.shards[c.id()]
	if s == nil {
		t.shards[c.id()] = &shardTrack{at: c, read: c}
	} else if s.at.unread() {
		s.at = c
		t.advance(s)
	}
}

// unread says whether it is only the name of a shard.
func (p *position) unread() bool { return !p.Done && p.Iterator == "" }

// proved are the moments at which open shards were last shown to be empty, of
// what is applied.
func (t *track) proved() map[shardID]time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[shardID]time.Time, len(t.shards))
	for id, s := range t.shards {
		if !s.at.Done && !s.at.unread() {
			out[id] = s.at.Proved
		}
	}
	return out
}

// stream is the one that the shards are of; empty without any.
func (t *track) stream() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.shards {
		return id.stream // of one, a follower sees to that
	}
	return ""
}

// noteFresh remembers that the source took a write at that moment.
func (t *track) noteFresh(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at.After(t.fresh) {
		t.fresh = at
	}
}

// quietFor is how long positions that moved over nothing are not saved.
const quietFor = 30 * time.Second

// positions returns what is applied, ordered, and whether that is news since it
// was taken the last time: it moved over records, or that was long ago, or every
// word is wanted. Shards that were done before forget are left out: the service
// does not list them any more.
func (t *track) positions(forget time.Time, every bool) (all []position, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if news = t.dirty || every || now.Sub(t.taken) >= quietFor; !news {
		return nil, false
	}
	t.dirty, t.taken = false, now
	for id, s := range t.shards {
		if s.at.Done && s.at.Upto.Before(forget) {
			delete(t.shards, id)
			continue
		}
		if s.at.unread() {
			continue // its parent, which is still here, stands for it
		}
		all = append(all, s.at)
	}
	slices.SortFunc(all, func(a, b position) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Shard, b.Shard))
	})
	return all, true
}

// unsaved has the positions taken again.
func (t *track) unsaved() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty = true
}

// anew is a track that begins where this one is applied. What is still on its
// way to the target is read and applied once more.
func (t *track) anew() *track {
	all, _ := t.positions(time.Time{}, true)
	n := newTrack(all)
	t.mu.Lock()
	defer t.mu.Unlock()
	n.total, n.units, n.came, n.went, n.fresh, n.dirty = t.total, t.units, t.came, t.went, t.fresh, true
	return n
}

// mark is a moment up to which everything is at the target.
type mark struct {
	upto   time.Time // zero: unknown
	shard  string    // that it hangs on
	unread time.Time // up to when everything was read
	rows   int64     // on their way
	total  int64     // applied
	units  int64
	came   float64 // records per second that were read
	went   float64 // and applied
	fresh  time.Time
	shards int // open ones
}

// mark sums up the shards. It is unknown while there is none.
func (t *track) mark(now time.Time) mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := mark{rows: t.rows, total: t.total, units: t.units, came: t.came.perSecond(now), went: t.went.perSecond(now), fresh: t.fresh}
	first := true
	for _, s := range t.shards {
		if s.at.Done || s.at.unread() {
			continue
		}
		m.shards++
		if first || s.at.Upto.Before(m.upto) {
			m.upto, m.shard = s.at.Upto, s.at.Shard
		}
		if first || s.read.Upto.Before(m.unread) {
			m.unread = s.read.Upto
		}
		first = false
	}
	return m
}

// rateWindow is how far back a lastMinute looks.
const rateWindow = time.Minute

// lastMinute counts things per second over the last minute, in buckets of a second.
type lastMinute struct {
	since   time.Time // the first thing
	buckets [int(rateWindow / time.Second)]struct {
		second int64
		n      int64
	}
}

func (r *lastMinute) add(at time.Time, n int64) {
	if n == 0 {
		return
	}
	if r.since.IsZero() {
		r.since = at
	}
	s := at.Unix()
	b := &r.buckets[int(s)%len(r.buckets)]
	if b.second != s {
		b.second, b.n = s, 0
	}
	b.n += n
}

func (r *lastMinute) perSecond(now time.Time) float64 {
	if r.since.IsZero() {
		return 0
	}
	var n int64
	for _, b := range r.buckets {
		if now.Unix()-b.second < int64(len(r.buckets)) {
			n += b.n
		}
	}
	over := min(max(now.Sub(r.since), time.Second), rateWindow)
	return float64(n) / over.Seconds()
}
