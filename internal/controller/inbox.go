package controller

import (
	"slices"
	"sync"

	"pointsman/internal/failover"
)

const (
	leastReports = 16 // reports that may wait; more with many vantages
	mostCommands = 32 // commands that may wait
)

// answer is what became of one errand.
type answer struct {
	id    uint64
	event failover.Event
	// err: why a load brought nothing; there is no event then.
	err error
	// reload: the ledger holds something that we have not seen, or may.
	reload bool
	// poisoned: why nothing can be written any more.
	poisoned error
	// receipt of a commit that succeeded.
	receipt *Receipt
}

// item is one thing in the inbox: an event from outside, or the answer to an
// errand.
type item struct {
	event  failover.Event
	answer *answer
}

// inbox holds what waits for the owner, in the order of its arrival. It is
// bounded in every kind: reports by dropping the older of the same vantage,
// facts by replacing the older of the same kind, commands by refusing, answers
// by the number of open errands. Quiet reports wait apart, one of each vantage,
// and wake nobody.
type inbox struct {
	wake func() // the owner is to take; nil in tests

	mu         sync.Mutex
	maxReports int
	woken      bool // since the last take
	items      []item
	quiet      []failover.Report
	reports    int
	commands   int
}

func newInbox(vantages int) *inbox {
	b := &inbox{}
	b.fit(vantages)
	return b
}

// fit makes room for the reports of a number of vantages, more than one for
// each: when it is full, some vantage has two, so there is always an older one
// to drop. Reports that wait already are kept.
func (b *inbox) fit(vantages int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.maxReports = max(leastReports, 2*vantages, b.reports)
}

// take empties the inbox. Quiet reports came before everything else: where
// something waited already, none was held back.
func (b *inbox) take() (items []item, quiet []failover.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	items, quiet = b.items, b.quiet
	b.items, b.quiet, b.woken, b.reports, b.commands = nil, nil, false, 0, 0
	return items, quiet
}

// hold keeps a quiet report back, unless something waits that it would
// overtake. It says whether it did, and whether nothing was held before.
func (b *inbox) hold(r failover.Report) (held, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) > 0 {
		return false, false
	}
	if i := slices.IndexFunc(b.quiet, func(q failover.Report) bool { return q.Vantage == r.Vantage }); i >= 0 {
		b.quiet[i] = r // says the same, and is newer
		return true, false
	}
	b.quiet = append(b.quiet, r)
	return true, len(b.quiet) == 1
}

// holds says whether a report is held back of which f is true.
func (b *inbox) holds(f func(failover.Report) bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.quiet, f)
}

func (b *inbox) pushLocked(it item) {
	b.items = append(b.items, it)
	if !b.woken && b.wake != nil {
		b.woken = true
		b.wake()
	}
}

func (b *inbox) putAnswer(a answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pushLocked(item{answer: &a})
}

// putCommand says false when too many wait.
func (b *inbox) putCommand(c failover.Command) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.commands >= mostCommands {
		return false
	}
	b.commands++
	b.pushLocked(item{event: c})
	return true
}

// putReport says false when it had to drop an older report to make room.
func (b *inbox) putReport(r failover.Report) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := b.reports >= b.maxReports
	if full {
		i := b.supersededLocked(r.Vantage)
		b.items = slices.Delete(b.items, i, i+1)
		b.reports--
	}
	b.reports++
	b.pushLocked(item{event: r})
	return !full
}

// supersededLocked returns the place of the oldest report that can be spared: one of
// the same vantage, else one that its own vantage has followed up.
func (b *inbox) supersededLocked(v failover.VantageName) int {
	later := make(map[failover.VantageName]int)
	spare, oldest := -1, -1
	for i := len(b.items) - 1; i >= 0; i-- {
		r, ok := b.items[i].event.(failover.Report)
		if !ok {
			continue
		}
		if r.Vantage == v || later[r.Vantage] > 0 {
			spare = i
		}
		later[r.Vantage]++
		oldest = i
	}
	for i, it := range b.items {
		if r, ok := it.event.(failover.Report); ok && r.Vantage == v {
			return i
		}
	}
	if spare < 0 {
		return oldest // of a vantage that a reload took away, while others joined
	}
	return spare
}

// putFact replaces a waiting fact of the same kind that it makes pointless.
func (b *inbox) putFact(e failover.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.items) - 1; i >= 0; i-- {
		same, pointless := compareFacts(b.items[i].event, e)
		if pointless {
			b.items[i].event = e
			return
		}
		if same {
			break
		}
	}
	b.pushLocked(item{event: e})
}

// compareFacts says whether older is of the same kind as newer, and whether it
// is pointless once newer is known.
func compareFacts(older, newer failover.Event) (same, pointless bool) {
	switch n := newer.(type) {
	case failover.Exposure:
		_, same = older.(failover.Exposure)
		return same, same
	case failover.StandbyChanged:
		_, same = older.(failover.StandbyChanged)
		return same, same
	case failover.WritePath:
		o, ok := older.(failover.WritePath)
		same = ok && o.Provider == n.Provider
		return same, same
	case failover.Lead:
		// A loss between two gains must not be skipped over, nor a new term.
		o, ok := older.(failover.Lead)
		return ok, ok && o.Leading == n.Leading && o.Term == n.Term
	default:
		return false, false
	}
}
