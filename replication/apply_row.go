package replication

import (
	"errors"
	"fmt"
	"time"

	"pointsman/replication/ots"
)

// rowFault is why the target cannot take a row, with a hint for people.
type rowFault struct {
	cause error
	hint  string
}

func (f *rowFault) Error() string { return f.cause.Error() }
func (f *rowFault) Unwrap() error { return f.cause }
func (f *rowFault) Hint() string  { return f.hint }

// errZeroVersion: a version that the vendor's clients cannot tell from none.
var errZeroVersion = errors.New("a version that is not after 1970")

// serverNow bounds the clock of the target.
type serverNow struct{ low, high time.Time }

func (a *applier) now() (n serverNow, known bool) {
	low, high, known := a.cfg.Client.Offset()
	now := time.Now()
	return serverNow{now.Add(low), now.Add(high)}, known
}

// change is what a record does at the target; nothing where ok is not set: all
// that it has to say is over its time to live there. expired is how many
// versions are. err is why it cannot be sent.
//
// Versions that are over before cutoff (in seconds) are dead on both sides and
// refused by the target.
func change(table string, rec *ots.Record, cutoff int64) (m ots.Mutation, expired int64, ok bool, err error) {
	m = ots.Mutation{Table: table, Action: rec.Action, Key: rec.Key, Cells: rec.Cells}
	for i, c := range rec.Cells {
		if c.Op != ots.DeleteAll && c.Version <= 0 {
			return m, 0, false, &rowFault{
				fmt.Errorf("column %q has the version %d: %w", c.Name, c.Version, errZeroVersion),
				"write the row at the source with a version of today; then accept this one",
			}
		}
		dead := c.Op == ots.Put && c.Version/1000 < cutoff
		if dead && expired == 0 {
			m.Cells = append(make([]ots.Cell, 0, len(rec.Cells)), rec.Cells[:i]...)
		}
		if dead {
			expired++
		} else if expired > 0 {
			m.Cells = append(m.Cells, c)
		}
	}
	switch {
	case len(m.Cells) > 0, m.Action == ots.DeleteRow:
	case m.Action == ots.UpdateRow:
		return m, expired, false, nil
	case expired > 0:
		m.Action = ots.DeleteRow // a row of which nothing lives is none
	}
	return m, expired, true, nil
}

// cutoff is the second before which versions of a table are over, for sure; the
// least number where that is not known.
func cutoff(t ots.Table, now serverNow, known bool) int64 {
	if t.TTL <= 0 || !known {
		return -1 << 62
	}
	return now.low.Unix() - int64(t.TTL)
}

// lateCutoff is cutoff for a row that was refused: what may have been over when
// it was looked at there.
func lateCutoff(t ots.Table, now serverNow, known bool) int64 {
	if t.TTL <= 0 || !known {
		return -1 << 62
	}
	return now.high.Add(time.Minute).Unix() - int64(t.TTL)
}

// explain adds to the refusal of a record what can be done about it.
func explain(err error, rec *ots.Record, t ots.Table, now serverNow) *rowFault {
	hint := "see what the row has that the target does not take; then retry it, or accept that the standby lacks it"
	for _, c := range rec.Cells {
		far := time.UnixMilli(c.Version).Sub(now.low).Abs()
		if c.Op == ots.Put && t.Deviation > 0 && far/time.Second+1 >= time.Duration(t.Deviation) {
			hint = fmt.Sprintf("column %q has a version that is %s from now, and the table at the target takes %s: widen its deviation (pointsman replication prepare), then retry",
				c.Name, far.Round(time.Second), time.Duration(t.Deviation)*time.Second)
			break
		}
	}
	return &rowFault{err, hint}
}
