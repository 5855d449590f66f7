package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
	reporting "pointsman/internal/report" // report prints errors here
)

// judged says how good the decisions of a report's time were, by the shadow
// ledger of the history.
type judged struct{ p *process }

// Score judges the episodes of the window. What cannot be read of the history
// is an error and no calm.
func (j judged) Score(ctx context.Context, wanted func(failover.InstanceName) bool, from, to time.Time) (*reporting.Score, error) {
	if j.p.past == nil {
		return nil, fmt.Errorf("there is no history: %w", ledger.ErrClosed)
	}
	es, odd, err := samplesAs[failover.Episode](ctx, j.p.past, ledger.HistoryFilter{Kind: episodeKind, Since: from}, func(s *ledger.Sample) bool {
		return wanted(s.Instance) && s.At.Before(to)
	})
	if err != nil {
		return nil, err
	}
	all := func(*ledger.Sample) bool { return true }
	lives, bad, err := samplesAs[failover.Recording](ctx, j.p.past, ledger.HistoryFilter{Kind: recordingKind}, all)
	if err != nil {
		return nil, err
	}
	silent, worse, err := samplesAs[failover.Silence](ctx, j.p.past, ledger.HistoryFilter{Kind: silenceKind}, all)
	if err != nil {
		return nil, err
	}
	return scoreOf(failover.ScoreOf(es, failover.Uncovered(lives, silent, nil, from, to), from, to), odd+bad+worse), nil
}

// scoreOf is a score as a report shows it.
func scoreOf(s failover.Score, odd int) *reporting.Score {
	out := &reporting.Score{
		Needed: s.Counts[failover.Needed], Needless: s.Counts[failover.Needless], Missed: s.Counts[failover.Missed],
		Text: scoreLine(s.Counts, s.Gained),
	}
	if odd > 0 {
		out.Text += fmt.Sprintf("; %d lines of the history could not be read", odd)
	}
	for i := range s.Judged {
		if e := &s.Judged[i]; e.Judgement == failover.NearMiss {
			out.Near = append(out.Near, reporting.NearMiss{Instance: e.Instance, At: e.Began, Text: e.Why})
		}
	}
	return out
}

// samplesAs reads the samples that are wanted, and counts those that are
// something else.
func samplesAs[T any](ctx context.Context, h *ledger.History, f ledger.HistoryFilter, want func(*ledger.Sample) bool) (out []T, odd int, err error) {
	ss, err := h.List(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	for i := range ss {
		if !want(&ss[i]) {
			continue
		}
		var v T
		if json.Unmarshal(ss[i].Data, &v) != nil {
			odd++
			continue
		}
		out = append(out, v)
	}
	return out, odd, nil
}
