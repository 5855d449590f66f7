package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// surveys looks, after a failover, what the old side holds that did not cross,
// for as long as it is invalidated. Nothing is written to either side.
func (r *Replicator) surveys(ctx context.Context) error {
	wait := waits{least: time.Second, most: 30 * time.Second}
	for {
		c, told := r.look()
		if r.cfg.Mode != ModeStream || !c.left() {
			r.losses.set(nil)
			select {
			case <-told:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err := r.survey(ctx, c)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.isDead():
			return err
		case errors.Is(err, errCourse):
			wait.now = 0
			continue
		}
		r.cfg.Log.Warn("what was left behind cannot be looked at", append([]any{"instance", r.cfg.Instance, "error", err}, Trace(err)...)...)
		r.losses.fails(err)
		if err := sleep(ctx, wait.next()); err != nil {
			return err
		}
	}
}

// left says whether the standby may hold what the active cluster never saw, and
// this process is the one to look.
func (c *Course) left() bool {
	return c.Leading && c.Op == "" && c.State == failover.StandbyInvalidated && c.Active != "" && c.Standby != "" && c.Active != c.Standby
}

// survey looks until the course is another one, or something fails that is no
// table's own fault.
func (r *Replicator) survey(ctx context.Context, c Course) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := bareTeam()
	defer func() {
		cancel(nil)
		_ = watch.Wait()
	}()
	watch.Go(func() error {
		for {
			now, told := r.look()
			if !now.left() || now.Active != c.Active || now.Token.Epoch != c.Token.Epoch {
				cancel(errCourse)
				return nil
			}
			select {
			case <-told:
			case <-ctx.Done():
				return nil
			}
		}
	})
	k, err := r.cutOf(ctx, c)
	if err != nil {
		return cause(ctx, err)
	}
	l, err := openLoss(&r.cfg, k)
	if err != nil {
		return err
	}
	r.losses.set(l)
	defer l.close()
	g, gctx := newTeam(ctx)
	for _, t := range k.Tables {
		g.Go(func() error {
			return (&surveyor{r: r, loss: l, cut: k, table: t}).run(gctx)
		})
	}
	if err := g.Wait(); err != nil {
		return cause(ctx, err)
	}
	<-ctx.Done() // all of it is read that can be
	return context.Cause(ctx)
}

// cause is why ctx ended, if it did.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// cutOf finds where the operation that led to a course ended replication: in the
// folder, or in the control rows of the new side.
func (r *Replicator) cutOf(ctx context.Context, c Course) (ending, error) {
	if k, ok, err := r.newestCut(c); err != nil || ok {
		return k, err
	}
	ctl, err := openControl(ctx, controlConfig{
		Client: r.clients[c.Active].control, Table: r.cfg.ControlTable, Instance: r.cfg.Instance,
		From: c.Standby, To: c.Active, Token: c.Token, By: r.cfg.By,
	})
	if err != nil {
		return ending{}, err
	}
	had, err := ctl.Load(ctx)
	if err != nil {
		return ending{}, err
	}
	k := ending{
		Op: fmt.Sprintf("%s-%s", r.cfg.Instance, c.Token), Kind: failover.Failover, From: c.Standby, To: c.Active,
		Why: "it was ended without a drain", Tables: []cutTable{},
	}
	for name, row := range had {
		if name == "" {
			continue
		}
		t := cutTable{Table: name, Why: row.Why}
		switch {
		case row.Phase == PhaseCut && epochOf(row.Op) != c.Token.Epoch:
			t.Why = "the last that is known of it is of " + row.Op
		case row.followed() || row.Phase == PhaseCut:
			t.Positions = row.Positions
			if row.Phase == PhaseCut {
				k.Op, k.Why = row.Op, ""
			}
			k.At = maxTime(k.At, row.At)
			for _, p := range row.Positions {
				if !p.Done && (k.Begins.IsZero() || p.Upto.Before(k.Begins)) {
					k.Begins = p.Upto
				}
			}
		case t.Why == "":
			t.Why = "it was " + string(row.Phase)
		}
		k.Tables = append(k.Tables, t)
	}
	slices.SortFunc(k.Tables, func(a, b cutTable) int { return cmp.Compare(a.Table, b.Table) })
	if slices.ContainsFunc(k.Tables, func(t cutTable) bool { return len(t.Positions) == 0 }) {
		k.Begins = time.Time{}
	}
	return k, r.cfg.keepCut(k)
}

// newestCut is the cut in the folder that led to the course.
func (r *Replicator) newestCut(c Course) (k ending, ok bool, err error) {
	names, err := filepath.Glob(r.cfg.fileOf("cut", "*") + ".json")
	if err != nil || r.cfg.Dir == "" {
		return ending{}, false, err
	}
	for _, name := range names {
		got, err := readCut(name)
		if err != nil {
			return ending{}, false, err
		}
		if got.From == c.Standby && got.To == c.Active && epochOf(got.Op) == c.Token.Epoch && (!ok || got.At.After(k.At)) {
			k, ok = got, true
		}
	}
	return k, ok, nil
}

// surveyor looks at one table.
type surveyor struct {
	r     *Replicator
	loss  *loss
	cut   ending
	table cutTable

	versions int                   // that a row of the new side may have
	upto     map[shardID]time.Time // of open shards: everything acknowledged before was read; zero: not yet
}

// run reads the stream of the old side from the cut on. It returns when there is
// nothing more to be had, or ctx ends; faults that may pass are waited out.
func (s *surveyor) run(ctx context.Context) error {
	if len(s.table.Positions) == 0 {
		s.loss.cannot(s.table.Table, phrase("where its replication ended is unknown", s.table.Why))
		return nil
	}
	if s.table.Why != "" {
		s.loss.cannot(s.table.Table, s.table.Why)
	}
	wait := waits{least: time.Second, most: 30 * time.Second}
	for {
		err := s.read(ctx)
		var gap *GapError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errLossFile) || errors.Is(err, errDead):
			return err
		case errors.As(err, &gap):
			s.loss.cannot(s.table.Table, gap.Why)
			return nil
		}
		s.loss.trouble(s.table.Table, err)
		if err := sleep(ctx, wait.next()); err != nil {
			return err
		}
	}
}

func (s *surveyor) read(ctx context.Context) error {
	from, to := s.r.clients[s.cut.From].source, s.r.clients[s.cut.To].source
	there, err := describe(ctx, to, s.table.Table)
	if err != nil {
		return fmt.Errorf("describe it at %s: %w", s.cut.To, err)
	}
	s.versions = max(there.MaxVersions, 1)
	old, err := describe(ctx, from, s.table.Table)
	if err != nil {
		return fmt.Errorf("describe it at %s: %w", s.cut.From, err)
	}
	if old.Stream != "" {
		s.loss.keeps(s.table.Table, old.Retention)
	}
	s.upto = map[shardID]time.Time{}
	for _, p := range s.table.Positions {
		if !p.Done {
			s.upto[p.id()] = time.Time{}
		}
	}
	var mu sync.Mutex // shards are delivered side by side
	deliver := func(ctx context.Context, d delivery) error {
		mu.Lock()
		defer mu.Unlock()
		return s.deliver(ctx, d)
	}
	f := newFollower(followConfig{
		Client: from, Table: s.table.Table, Start: slices.Clone(s.table.Positions), Deliver: deliver,
		Visibility: s.r.cfg.Visibility, Busy: s.r.cfg.Busy, Idle: s.r.cfg.Idle, Log: s.r.cfg.Log,
	})
	done := make(chan struct{})
	watch := bareTeam()
	watch.Go(func() error {
		for {
			if _, err := f.Trouble(); err != nil {
				s.loss.trouble(s.table.Table, err)
			}
			t := time.NewTimer(time.Second)
			select {
			case <-t.C:
			case <-done:
				t.Stop()
				return nil
			}
		}
	})
	defer func() {
		close(done)
		_ = watch.Wait()
	}()
	return f.Run(ctx)
}

// deliver judges a page.
func (s *surveyor) deliver(ctx context.Context, d delivery) error {
	if err := s.r.fail("survey"); err != nil {
		return err
	}
	fresh := s.loss.unknown(s.table.Table, d.After.id(), d.Records)
	var writes []judged
	for chunk := range slices.Chunk(fresh, surveyKeys) {
		there, err := s.there(ctx, chunk)
		if err != nil {
			return err
		}
		writes = append(writes, judgeWrites(chunk, there)...)
	}
	if len(writes) > 0 {
		if err := s.loss.add(s.table.Table, d.After.id(), writes); err != nil {
			return err
		}
	}
	id, now := d.After.id(), d.Sent.Add(-s.r.cfg.Visibility)
	for _, c := range d.Children {
		if _, known := s.upto[c.id()]; !known && !c.Done {
			s.upto[c.id()] = time.Time{}
		}
	}
	switch {
	case d.After.Done:
		delete(s.upto, id)
	case d.Empty:
		s.upto[id] = now
	}
	for _, at := range s.upto { // the table was read as far as its slowest shard
		if at.IsZero() {
			return nil
		}
		now = minTime(now, at)
	}
	return s.loss.through(s.table.Table, now)
}

// surveyKeys is how many rows of the new side are asked for at a time.
const surveyKeys = 100

// there are the rows of the new side, by the text of their keys.
func (s *surveyor) there(ctx context.Context, records []ots.Record) (map[string]ots.Row, error) {
	keys := make([]ots.Key, 0, len(records))
	seen := map[string]bool{}
	for _, r := range records {
		if text := string(r.Key.Encode()); !seen[text] {
			seen[text] = true
			keys = append(keys, r.Key)
		}
	}
	var rows []ots.Row
	err := patiently(ctx, func() (err error) {
		rows, err = s.r.clients[s.cut.To].source.Get(ctx, s.table.Table, keys, s.versions)
		return err
	})
	if err != nil && ots.ClassOf(err) != ots.ClassAbsent {
		return nil, fmt.Errorf("read rows of %s: %w", s.cut.To, err)
	}
	out := make(map[string]ots.Row, len(rows))
	for i, row := range rows {
		if row.Key != nil {
			out[string(keys[i].Encode())] = row
		}
	}
	return out, nil
}
