package main

import (
	"context"
	"encoding/json"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
	reporting "pointsman/internal/report" // report prints errors here
)

// judge scores what was done, or would have been, for the health reports: by the
// rules of 'shadow score', over the same lines of the history.
type judge struct{ past *ledger.History }

const (
	maxEpisodes  = 10_000 // of a report, the newest
	maxIncidents = 50     // listed in it, the newest
)

func (j judge) Score(ctx context.Context, wanted func(failover.InstanceName) bool, from, to time.Time) (*reporting.Score, error) {
	samples, err := j.past.List(ctx, ledger.HistoryFilter{Kind: episodeKind, Since: from, Limit: maxEpisodes})
	if err != nil {
		return nil, err
	}
	var es []failover.Episode
	odd := 0
	for _, s := range samples {
		var e failover.Episode
		switch {
		case !wanted(s.Instance):
		case json.Unmarshal(s.Data, &e) != nil || e.ID == "":
			odd++
		case e.Began.Before(to):
			es = append(es, e)
		}
	}
	lives, err := j.past.List(ctx, ledger.HistoryFilter{Kind: recordingKind})
	if err != nil {
		return nil, err
	}
	silent, err := j.past.List(ctx, ledger.HistoryFilter{Kind: silenceKind})
	if err != nil {
		return nil, err
	}
	now := time.Now() // what came after the window judges what was in it
	gaps := failover.Uncovered(decodedLines[failover.Recording](lives), decodedLines[failover.Silence](silent), nil, from, now)
	return scoreOf(failover.ScoreOf(es, gaps, from, now), odd), nil
}

func scoreOf(s failover.Score, odd int) *reporting.Score {
	out := &reporting.Score{Counts: map[string]int{}, Gained: s.Gained, Unseen: len(s.Gaps), Unread: odd}
	for j, n := range s.Counts {
		out.Counts[string(j)] = n
	}
	if out.More = max(len(s.Judged)-maxIncidents, 0); out.More > 0 {
		s.Judged = s.Judged[out.More:]
	}
	for _, j := range s.Judged {
		out.Incidents = append(out.Incidents, reporting.Incident{Instance: j.Instance, At: j.Began, Judgement: string(j.Judgement), Why: j.Why})
	}
	return out
}

// decodedLines reads lines; what cannot be read is left out, and a gap then.
func decodedLines[T any](ss []ledger.Sample) []T {
	var out []T
	for _, s := range ss {
		var x T
		if json.Unmarshal(s.Data, &x) == nil {
			out = append(out, x)
		}
	}
	return out
}
