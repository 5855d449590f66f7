package healthcheck

import (
	"container/heap"
	"time"
)

// lineup holds the probes that are due and wait until there is room for them.
// Who was looked at longest ago goes first, so that under overload everybody
// has his turn, though a later one; who has waited too long leaves as late.
type lineup struct {
	turns  pile[*waiting] // by when the target was looked at last
	leaves pile[*waiting] // by when the wait is too long
	n      int
}

// waiting is a flight in a lineup. It is in both piles and leaves the one that
// it was not taken from when it comes to the top there.
type waiting struct {
	flight
	last, until time.Time
	gone        bool
}

func newLineup() lineup {
	return lineup{
		turns:  pile[*waiting]{less: func(a, b *waiting) bool { return a.last.Before(b.last) }},
		leaves: pile[*waiting]{less: func(a, b *waiting) bool { return a.until.Before(b.until) }},
	}
}

func (l *lineup) put(f flight) {
	w := &waiting{flight: f, last: f.watch.launched, until: f.due.Add(startSlack(*f.target) + 1)}
	heap.Push(&l.turns, w)
	heap.Push(&l.leaves, w)
	l.n++
}

// next takes the flight whose turn it is.
func (l *lineup) next() (f flight, ok bool) { return l.pop(&l.turns) }

// peek shows the flight whose turn it is.
func (l *lineup) peek() (f flight, ok bool) {
	l.sweep(&l.turns)
	if len(l.turns.items) == 0 {
		return f, false
	}
	return l.turns.items[0].flight, true
}

// late takes a flight that waits too long.
func (l *lineup) late(now time.Time) (f flight, ok bool) {
	if at := l.due(); at.IsZero() || at.After(now) {
		return f, false
	}
	return l.pop(&l.leaves)
}

// due is when the first wait is too long; zero when nobody waits.
func (l *lineup) due() time.Time {
	l.sweep(&l.leaves)
	if len(l.leaves.items) == 0 {
		return time.Time{}
	}
	return l.leaves.items[0].until
}

// leave takes the flights of targets that are gone out.
func (l *lineup) leave() {
	for _, w := range l.turns.items {
		if w.watch.gone && !w.gone {
			w.gone = true
			l.n--
		}
	}
	l.sweep(&l.turns)
}

func (l *lineup) pop(p *pile[*waiting]) (f flight, ok bool) {
	l.sweep(p)
	if len(p.items) == 0 {
		return f, false
	}
	w := heap.Pop(p).(*waiting)
	w.gone = true
	l.n--
	if l.n == 0 { // nothing but what has left
		l.turns.items, l.leaves.items = l.turns.items[:0], l.leaves.items[:0]
	}
	return w.flight, true
}

func (*lineup) sweep(p *pile[*waiting]) {
	for len(p.items) > 0 && p.items[0].gone {
		heap.Pop(p)
	}
}

// pile is a heap for container/heap.
type pile[T any] struct {
	items []T
	less  func(a, b T) bool
}

func (p *pile[T]) Len() int           { return len(p.items) }
func (p *pile[T]) Less(i, j int) bool { return p.less(p.items[i], p.items[j]) }
func (p *pile[T]) Swap(i, j int)      { p.items[i], p.items[j] = p.items[j], p.items[i] }
func (p *pile[T]) Push(x any)         { p.items = append(p.items, x.(T)) }

func (p *pile[T]) Pop() any {
	last := len(p.items) - 1
	x := p.items[last]
	var none T
	p.items[last] = none
	p.items = p.items[:last]
	return x
}
