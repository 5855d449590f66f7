package tablestore

import (
	"sync/atomic"
	"time"
)

// streamSettings are what the streams of all instances have in common.
type streamSettings struct {
	delay       atomic.Int64 // ns until a record can be read
	tokens      atomic.Int64 // how many tokens come before an iterator
	pageRecords atomic.Int64 // the most that GetStreamRecord returns
	pageBytes   atomic.Int64 // about the same in bytes
}

// lateness is which records of a shard are not readable yet because the server
// was told to be late with them. It is of time that passes, not of the server's
// clock, which may be set; a restart ends it.
type lateness struct {
	seen  uint64 // the records before it are readable
	marks []mark
}

// mark says when the records before a number, and from the mark before, were
// written: between two times.
type mark struct {
	from, to time.Time
	before   uint64
}

// add takes note of a record.
func (l *lateness) add(number uint64, now time.Time, delay time.Duration) {
	l.pass(now, delay)
	if len(l.marks) == 0 {
		l.seen = number
	} else if m := &l.marks[len(l.marks)-1]; now.Sub(m.from) < delay/1000 { // bounds their number
		m.to, m.before = now, number+1
		return
	}
	l.marks = append(l.marks, mark{now, now, number + 1})
}

// pass forgets what is readable by now.
func (l *lateness) pass(now time.Time, delay time.Duration) {
	n := 0
	for n < len(l.marks) && now.Sub(l.marks[n].to) >= delay {
		l.seen = l.marks[n].before
		n++
	}
	l.marks = append(l.marks[:0], l.marks[n:]...)
}

// readable is the number before which the records of a shard can be read.
func (sh *shard) readable(st *store) uint64 {
	sh.late.pass(time.Now(), time.Duration(st.streams.delay.Load()))
	if len(sh.late.marks) == 0 {
		return sh.next
	}
	return sh.late.seen
}
