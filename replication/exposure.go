package replication

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// bound is what one table adds to the exposure of the instance.
type bound struct {
	table string
	known bool
	upto  time.Time // everything acknowledged before it is at the target
	why   string    // what it hangs on, or why it is unknown
	gap   string
	rows  int64 // at least
	about int64
	fresh time.Time
}

// now turns a bound into what people see.
func (b *bound) now(at time.Time) ExposureNow {
	e := ExposureNow{Known: b.known && b.gap == "", Rows: b.rows, About: b.about, At: at, Gap: b.gap, Why: b.why}
	if e.Known {
		e.Lag = max(at.Sub(b.upto), 0)
	}
	return e
}

// boundOf says how far a table is that is followed. Refused rows that nobody
// has accepted were never applied: from the oldest of them on, nothing is
// claimed.
func boundOf(table string, m mark, refused int64, oldest time.Time, now time.Time) bound {
	b := bound{table: table, known: m.shards > 0 && !m.upto.IsZero(), upto: m.upto, rows: m.rows + refused, fresh: m.fresh}
	b.about = b.rows
	switch {
	case m.shards == 0:
		b.why = table + ": no shard is known"
		return b
	case !b.known:
		b.why = fmt.Sprintf("%s: shard %s was not read", table, m.shard)
		return b
	}
	b.why = fmt.Sprintf("%s: shard %s", table, m.shard)
	b.about += int64(m.came * max(now.Sub(m.unread), 0).Seconds())
	if refused > 0 && (oldest.IsZero() || oldest.Before(b.upto)) {
		b.upto = oldest
		b.known = !oldest.IsZero()
		b.why = fmt.Sprintf("%s: %d refused rows that nobody has accepted", table, refused)
	}
	return b
}

// sum is the exposure of the instance: as late as its latest table, unknown when
// that of one is. Tables that were made since the last list of them are unknown
// too, so that it is never later than that list; a zero one is no limit.
func sum(tables []bound, listed time.Time, at time.Time) (total bound) {
	total = bound{known: true, upto: at, why: "there is no table"}
	var unknown, gaps []string
	first := true
	for _, b := range tables {
		total.rows += b.rows
		total.about += b.about
		if b.fresh.After(total.fresh) {
			total.fresh = b.fresh
		}
		switch {
		case b.gap != "":
			gaps = append(gaps, b.gap)
		case !b.known:
			unknown = append(unknown, b.why)
		case first || b.upto.Before(total.upto):
			total.upto, total.why, first = b.upto, b.why, false
		}
	}
	if !listed.IsZero() && listed.Before(total.upto) {
		total.upto, total.why = listed, "the list of tables, read "+at.Sub(listed).Round(time.Millisecond).String()+" ago"
	}
	if len(unknown) > 0 {
		total.known, total.why = false, several(unknown)
	}
	if len(gaps) > 0 {
		total.known, total.gap = false, several(gaps)
	}
	return total
}

// several is the first of some reasons, with the number of the others.
func several(why []string) string {
	slices.Sort(why)
	if len(why) == 1 {
		return why[0]
	}
	return fmt.Sprintf("%s (and %d more)", why[0], len(why)-1)
}

// event is what the core is told.
func (b *bound) event(from failover.ClusterName, at time.Time) failover.Exposure {
	e := b.now(at)
	ev := failover.Exposure{
		From: from, Known: e.Known, Lag: e.Lag, Rows: e.Rows, About: e.About,
		Sampled: at, Gap: e.Gap, Why: e.Why, FromOld: b.fresh,
	}
	if e.Known {
		ev.Watermark = b.upto.UTC().Format(time.RFC3339Nano)
	}
	return ev
}

// tellEvery and tellAtLeast bound how often the core hears of the exposure.
const (
	tellEvery   = 250 * time.Millisecond // when it changed
	tellAtLeast = time.Second
)

// teller tells the core exposure and standby, each when it changed and now and
// then.
type teller struct {
	exposure     func(failover.Exposure)
	standby      func(failover.StandbyChanged)
	lastExposure failover.Exposure
	lastStandby  failover.StandbyChanged
	standbyAt    time.Time
}

// standbyAgain is when the same word on the standby is said again: whoever
// heard it may have been started anew.
const standbyAgain = 10 * time.Second

func (t *teller) tellExposure(e failover.Exposure) {
	l := t.lastExposure
	same := e.Known == l.Known && e.Watermark == l.Watermark && e.Rows == l.Rows && e.Gap == l.Gap && e.FromOld.Equal(l.FromOld)
	if same && e.Sampled.Sub(l.Sampled) < tellAtLeast {
		return
	}
	t.lastExposure = e
	t.exposure(e)
}

func (t *teller) tellStandby(s failover.StandbyChanged, now time.Time) {
	if s.Cluster == t.lastStandby.Cluster && s.State == t.lastStandby.State && slices.Equal(s.Why, t.lastStandby.Why) && now.Sub(t.standbyAt) < standbyAgain {
		return
	}
	t.lastStandby, t.standbyAt = s, now
	t.standby(s)
}

// maxReasons bounds a list of reasons that is kept in the record.
const maxReasons = 5

// reasons sorts, removes doubles and bounds.
func reasons(why []string) []string {
	slices.Sort(why)
	why = slices.Compact(why)
	if n := len(why) - maxReasons; n > 0 {
		why = append(slices.Clone(why[:maxReasons]), fmt.Sprintf("and %d more", n))
	}
	return why
}

// phrase joins parts that are not empty.
func phrase(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}
