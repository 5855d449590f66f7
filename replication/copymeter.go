package replication

import (
	"sync"
	"time"
)

// copyMeter counts what a full copy of one table does.
type copyMeter struct {
	mu      sync.Mutex
	since   time.Time
	rows    int64
	bytes   int64
	removed int64
	ranges  int
	done    int
	total   int64
	refused int64
	equal   int64
	rate    slope
	waiting int // calls that wait because a service was busy
	from    time.Time
	waited  time.Duration
	trouble error
}

func newCopyMeter() *copyMeter { return &copyMeter{} }

// begin starts or resumes the count.
func (m *copyMeter) begin(now time.Time, c *savedCopy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since, m.rows, m.bytes, m.removed = c.Since, c.Rows, c.Bytes, c.Removed
	m.rate = slope{}
	m.rate.note(now, m.rows)
}

// add counts rows that are at the target or kept aside, and rows that were
// removed there.
func (m *copyMeter) add(now time.Time, d copied) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows += d.rows
	m.bytes += d.bytes
	m.removed += d.removed
	m.refused += d.refused
	m.equal += d.equal
	m.rate.note(now, m.rows)
}

// copied is what became of some rows of the source.
type copied struct {
	rows    int64 // of the source, done with; those below are some of them
	equal   int64 // that the target had already
	refused int64 // kept aside
	bytes   int64
	removed int64 // rows of the target alone
}

func (d *copied) add(o copied) {
	d.rows += o.rows
	d.equal += o.equal
	d.refused += o.refused
	d.bytes += o.bytes
	d.removed += o.removed
}

func (m *copyMeter) setRanges(all, done int, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ranges, m.done, m.total = all, done, total
}

// busy says that a call waits because a service was busy or out of reach; the
// returned function, that it goes on.
func (m *copyMeter) busy(err error) (over func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting == 0 {
		m.from = time.Now()
	}
	m.waiting++
	m.trouble = err
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.waiting--; m.waiting == 0 {
			m.waited += time.Since(m.from)
			m.trouble = nil
		}
	}
}

// Trouble is the last fault of calls that wait to be tried again; nil when none
// does.
func (m *copyMeter) Trouble() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trouble
}

// progress is how far the copy is.
func (m *copyMeter) progress(now time.Time) CopyProgress {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := CopyProgress{
		Since: m.since, Ranges: m.ranges, RangesDone: m.done, Rows: m.rows, Bytes: m.bytes, Removed: m.removed,
		TotalRows: m.total, Rate: m.rate.perSecond(now), Throttled: m.waited,
	}
	if m.waiting > 0 {
		p.Throttled += now.Sub(m.from)
	}
	if p.TotalRows > 0 {
		p.TotalRows = max(p.TotalRows, p.Rows)
	}
	if left := p.TotalRows - p.Rows; left > 0 && p.Rate > 0 {
		p.Left = time.Duration(float64(left) / p.Rate * float64(time.Second))
	}
	return p
}

// slope is how fast a count grows, over about the last ten seconds.
type slope struct {
	points [11]point
	n      int
}

type point struct {
	at    time.Time
	count int64
}

// note takes a count at most once a second; the last of them moves on until
// then.
func (s *slope) note(now time.Time, count int64) {
	if s.n > 1 && now.Sub(s.points[s.n-2].at) < time.Second {
		s.points[s.n-1] = point{now, count}
		return
	}
	if s.n == len(s.points) {
		copy(s.points[:], s.points[1:])
		s.n--
	}
	s.points[s.n] = point{now, count}
	s.n++
}

// perSecond also counts the time since the last growth: what stands, slows down.
func (s *slope) perSecond(now time.Time) float64 {
	if s.n < 2 {
		return 0
	}
	over := now.Sub(s.points[0].at)
	if over <= 0 {
		return 0
	}
	return float64(s.points[s.n-1].count-s.points[0].count) / over.Seconds()
}
