package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

const (
	// makeTries and makePause are for what a table that was just made, or was
	// changed a moment ago, answers for some seconds.
	makeTries = 10
	makePause = 2 * time.Second
)

// Carry carries the steps of a plan out, in their order, with the identities in
// c: a plan is made with the same. It stops at the first step that fails; done
// is told of each that has ended. What was done stays, and a new plan begins
// behind it.
func (p *Plan) Carry(ctx context.Context, c Config, done func(PlanStep)) error {
	if why := p.Blocked(); why != "" {
		return errors.New(why)
	}
	clients := map[At]*ots.Client{}
	for _, name := range []failover.ClusterName{p.From.Cluster, p.To.Cluster} {
		s, err := openView(c, name)
		if err != nil {
			return err
		}
		defer s.close()
		clients[s.ours], clients[s.At] = s.control, s.tables
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		err := s.carry(ctx, clients[s.At])
		if err == nil {
			s.State = StepDone
			done(*s)
			continue
		}
		s.State, s.Why = StepFailed, err.Error()
		done(*s)
		for j := i + 1; j < len(p.Steps); j++ {
			p.Steps[j].State = StepLeft
		}
		return fmt.Errorf("%s at %s: %w", s.Table, s.Cluster, err)
	}
	return nil
}

// carry does one step. A table that somebody else made meanwhile is looked at
// by the next plan.
func (s *PlanStep) carry(ctx context.Context, c *ots.Client) error {
	for try := 1; ; try++ {
		err := s.once(ctx, c)
		if s.have == nil && ots.ClassOf(err) == ots.ClassCondition {
			return nil
		}
		if err == nil || try == makeTries || ots.ClassOf(err) != ots.ClassRetry {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(makePause):
		}
	}
}

func (s *PlanStep) once(ctx context.Context, c *ots.Client) error {
	if s.have == nil {
		return c.CreateTable(ctx, s.want)
	}
	var change ots.TableChange
	if s.have.Stream == "" && s.want.Stream != "" {
		on := true
		change.Stream, change.Retention = &on, s.want.Retention
		return c.UpdateTable(ctx, s.Table, change)
	}
	h, w := s.have, s.want
	if h.TTL != w.TTL {
		change.TTL = &w.TTL
	}
	if h.MaxVersions != w.MaxVersions {
		change.MaxVersions = &w.MaxVersions
	}
	if h.Deviation != w.Deviation {
		change.Deviation = &w.Deviation
	}
	if h.AllowUpdate != w.AllowUpdate {
		change.AllowUpdate = &w.AllowUpdate
	}
	return c.UpdateTable(ctx, s.Table, change)
}
