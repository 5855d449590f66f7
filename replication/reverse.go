package replication

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// reverse notes, beside the old side, from where the other direction is followed
// once the operation has settled: after everything that was written to the new
// side by this program, so that nothing of it comes back. The rows are those of
// a cut by the operation; were it unwound, they would mean nothing.
func (w *drain) reverse(ctx context.Context, k ending) error {
	r := w.r
	if err := r.fail("reverse"); err != nil {
		return err
	}
	c, _ := r.look()
	s := w.of
	ctl, err := openControl(ctx, controlConfig{
		Client: r.clients[k.From].control, Table: r.cfg.ControlTable, Instance: r.cfg.Instance,
		From: k.To, To: k.From, Token: c.Token, By: r.cfg.By, May: s.mayKeep,
	})
	if err != nil {
		return err
	}
	rows, err := w.tips(ctx, k)
	if err != nil {
		return err
	}
	if _, err := ctl.Claim(ctx); err != nil {
		return err
	}
	if err := r.fail("reverse-claimed"); err != nil {
		return err
	}
	had, err := ctl.Load(ctx)
	if err != nil {
		return err
	}
	for name, row := range had {
		// A table that is not carried now gets rows of the new side that nobody
		// brings back: what was known of the other direction is over.
		if name != "" && row.Phase != "" && !slices.ContainsFunc(rows, func(s saved) bool { return s.Table == name }) {
			rows = append(rows, saved{Table: name})
		}
	}
	if err := ctl.Save(ctx, rows...); err != nil {
		return err
	}
	if err := r.fail("reverse-saved"); err != nil {
		return err
	}
	return ctl.Release(ctx)
}

// tips are the ends of the new side's streams.
func (w *drain) tips(ctx context.Context, k ending) ([]saved, error) {
	var mu sync.Mutex
	var rows []saved
	g, ctx := newTeam(ctx)
	g.SetLimit(controlCalls)
	for _, t := range k.Tables {
		if len(t.Positions) == 0 {
			continue
		}
		g.Go(func() error {
			found, _, err := ends(ctx, w.r.clients[k.To].source, t.Table, w.r.cfg.Visibility)
			if err != nil {
				return fmt.Errorf("the end of what %s tells of %s: %w", k.To, t.Table, err)
			}
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, saved{Table: t.Table, Phase: PhaseCut, Op: k.Op, At: k.At, Positions: found})
			return nil
		})
	}
	return rows, g.Wait()
}
