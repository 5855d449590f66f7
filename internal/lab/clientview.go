package lab

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// ClientView is what the client that writes saw of one story.
type ClientView struct {
	Acknowledged int     `json:"acknowledged"`
	Errors       int     `json:"errors"`
	PauseMS      float64 `json:"pause_ms"` // the longest time without an acknowledgement
	Missed       int     `json:"missed"`   // acknowledged rows that were not there when they were read back
	// Old is how many writes the old cluster acknowledged after the name had
	// shown the new one, OldErrors how many failed there, and OldMS for how long
	// that went on: connections that a client has are not moved by a name.
	Old       int     `json:"old,omitempty"`
	OldErrors int     `json:"old_errors,omitempty"`
	OldMS     float64 `json:"old_ms,omitempty"`
	// Rebuilt is true where the client had to be built anew to leave the old
	// cluster: nothing in it would have made it look the name up again.
	Rebuilt bool `json:"rebuilt,omitempty"`
}

// viewOf judges the rows that were written from begin to end. moved is when
// the name showed the new cluster, zero where it did not; old is the place of
// the old one among the sites, from 1.
func viewOf(log []Entry, begin, end, moved time.Time, old uint8) ClientView {
	var v ClientView
	last, pause := begin, time.Duration(0)
	for _, e := range log {
		at := time.Unix(0, e.At)
		late := !moved.IsZero() && e.To == old && at.After(moved)
		if late {
			v.OldMS = tenths(at.Sub(moved))
		}
		switch {
		case e.By > 0:
			v.Acknowledged++
			pause = max(pause, at.Sub(last))
			last = at
			if late {
				v.Old++
			}
		default:
			v.Errors++
			if late {
				v.OldErrors++
			}
		}
	}
	v.PauseMS = tenths(max(pause, end.Sub(last)))
	return v
}

// tenths is a duration in milliseconds, to a tenth.
func tenths(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}

// written is where the client was when a story began.
type written struct {
	at     time.Time
	next   int64 // number of the next row
	counts WriterCounts
}

func (st *stage) mark() written {
	if st.writer == nil {
		return written{}
	}
	c := st.writer.Counts()
	return written{time.Now(), int64(c.Written) + 1, c}
}

// view is what the client saw since then.
func (st *stage) view(since written) *ClientView {
	if st.writer == nil {
		return nil
	}
	v := viewOf(st.writer.Log(since.next), since.at, time.Now(), st.answered, st.writer.place(st.from))
	v.Missed, v.Rebuilt = st.writer.Counts().less(since.counts).Missed, st.rebuilt
	return &v
}

// write starts the client that writes, where there is one; the function ends
// it and returns when it has ended.
func (l *Lab) write(ctx context.Context, g *errgroup.Group) (stop func()) {
	if l.writer == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		return l.writer.Run(ctx)
	})
	return func() {
		cancel()
		<-ended
	}
}

// onActive lets the client write to the active cluster when a story begins: as
// the application of people does that is built anew after a move.
func (st *stage) onActive(ctx context.Context) error {
	if st.writer == nil {
		return nil
	}
	if last := st.writer.Last(); last.By != st.from || last.Err != nil {
		st.writer.Rebuild()
	}
	return st.writes(ctx, time.Now(), st.from)
}

// writes waits for a write, begun since, that the cluster acknowledges.
func (st *stage) writes(ctx context.Context, since time.Time, cluster string) error {
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	err := st.writer.Until(bctx, since, func(w Write) bool { return w.Err == nil && w.By == cluster })
	if errors.Is(err, ErrNotReady) && ctx.Err() == nil {
		st.broken("the client did not write to %s within %s; its last write: %s", cluster, Bound, st.writer.Last().Outcome())
		return nil
	}
	return err
}

// pinnedFor is how long a client is watched that stays with the old cluster.
const pinnedFor = 2 * time.Second

// follow waits for the client to write to the new cluster. Where its
// connections to the old one live on it never will, for as long as it is busy:
// then that is shown for a while, and it is built anew.
func (st *stage) follow(ctx context.Context, pinned bool) error {
	if pinned {
		if err := pause(ctx, pinnedFor); err != nil {
			return err
		}
		if last := st.writer.Last(); last.By == st.from {
			st.rebuilt = true
			st.writer.Rebuild()
		}
	}
	return st.writes(ctx, st.fault, st.to)
}

// settleWrites heals everything, ends the client and counts what is where.
func settleWrites(ctx context.Context, l *Lab, stop func()) (*WriteReport, error) {
	if err := l.Heal(ctx); err != nil {
		return nil, err
	}
	stop()
	if !l.World.Tune.Replicate {
		return l.CountWrites(ctx)
	}
	restless, err := l.rest(ctx)
	if err != nil {
		return nil, err
	}
	r, err := l.CountWrites(ctx)
	if err != nil {
		return nil, err
	}
	if restless != "" {
		r.Why = append(r.Why, restless)
		return r, nil
	}
	return r, l.judgeReplicated(ctx, r)
}

// CountWrites reads what each cluster holds of what the client wrote. A cluster
// that cannot be read is named. While the client goes on it speaks of what had
// been written when it began.
func (l *Lab) CountWrites(ctx context.Context) (*WriteReport, error) {
	if l.writer == nil {
		return nil, errNoWriter
	}
	in := l.World.Instances[0]
	log, over := l.writer.Log(1), l.writer.Ended()
	r := &WriteReport{WriterCounts: l.writer.Counts(), PauseMS: tenths(l.writer.Pause())}
	held, unread := map[string][]Held{}, map[string]string{}
	var names []string
	for _, c := range l.World.Clusters {
		names = append(names, c.Name)
		rows, err := ReadRows(ctx, c, in.Names[0], in.Name, l.World.keys[keyOfService])
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			unread[c.Name] = err.Error()
			continue
		}
		if !over {
			rows = slices.DeleteFunc(rows, func(h Held) bool { return h.N > int64(len(log)) })
		}
		held[c.Name] = rows
	}
	r.Sides, r.Why = JudgeWrites(log, names, held)
	if r.Replicated = in.Tune.Replicate; r.Replicated {
		r.Why = nil // a cluster that is filled anew loses what the other one never saw
	}
	for i, s := range r.Sides {
		if s.Unread != "" {
			r.Sides[i].Unread = cmp.Or(unread[s.Cluster], s.Unread)
		}
	}
	return r, nil
}

// errNoWriter is returned where the clusters take no writes.
var errNoWriter = errors.New("nothing is written in this lab: its clusters are web servers")

// Writer is the client that writes; nil where none does.
func (l *Lab) Writer() *Writer { return l.writer }
