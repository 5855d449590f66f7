package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tableStories are the stories of Tablestores: what a move means there for a
// client that keeps its connections.
func tableStories() []Story {
	return []Story{
		{Name: "kill", Says: "the active cluster is killed with SIGKILL", Moves: true, play: func(ctx context.Context, st *stage) error {
			return st.moves(ctx, func() error { return st.lab.Kill(st.from) })
		}},
		{Name: "stall", Says: "the active cluster is stopped with SIGSTOP: it accepts and never answers", Moves: true, play: func(ctx context.Context, st *stage) error {
			return st.moves(ctx, func() error { return st.lab.Stall(st.from) })
		}},
		{Name: "flap", Says: "the active cluster's port closes and opens every 400 ms, for less than is ridden out", play: playShortFlap},
		{Name: "both-down", Says: "the standby dies, then the active one: there is nowhere to go", play: playBothDown},
		{Name: "not-running", Says: "the active cluster refuses everything: its instance is not running", Moves: true, pins: true, play: func(ctx context.Context, st *stage) error {
			return st.moves(ctx, func() error { return st.lab.Set(ctx, st.from, Knobs{Refuse: RefuseNotRunning}) })
		}},
		{Name: "errors", Says: "the active cluster answers everything with 503", Moves: true, pins: true, play: func(ctx context.Context, st *stage) error {
			return st.moves(ctx, func() error { return st.lab.Set(ctx, st.from, Knobs{ErrorRate: 1}) })
		}},
		{Name: "auth", Says: "both clusters refuse every access key: that is no outage of one of them", play: playAuth},
		{Name: "partition", Says: "one partition of the active cluster is away for 100 ms, again and again", play: playPartition},
		{Name: "wrong-identity", Says: "the active cluster has the table by which the other one is known", Moves: true, pins: true, play: func(ctx context.Context, st *stage) error {
			return st.moves(ctx, func() error { return st.lab.Set(ctx, st.from, Knobs{Identity: st.to}) })
		}},
		{Name: "switchover", Says: "a person moves the name, both clusters are alive", Moves: true, pins: true, play: playSwitchover},
		{Name: "controller-stalled", Says: "the controller is stopped with SIGSTOP for 5 s: meanwhile the active cluster dies and comes back", play: playControllerStalled},
		{Name: "controller-killed", Says: "the controller is killed with SIGKILL in the middle of a failover, and started again", Moves: true, play: playControllerKilled},
	}
}

// playShortFlap closes and opens the port three times within what is ridden
// out.
func playShortFlap(ctx context.Context, st *stage) error {
	st.fault = time.Now()
	if err := st.lab.Set(ctx, st.from, Knobs{FlapMS: 400}); err != nil {
		return err
	}
	if err := pause(ctx, 1200*time.Millisecond); err != nil {
		return err
	}
	if err := st.lab.Set(ctx, st.from, Knobs{}); err != nil {
		return err
	}
	return st.hold(ctx, st.lab.World.Tune.RideOut+time.Second)
}

// playAuth lets both clusters say that the key is at fault, for longer than is
// ridden out. Who takes that for an outage would move, or call both down.
func playAuth(ctx context.Context, st *stage) error {
	st.fault = time.Now()
	for _, c := range []string{st.from, st.to} {
		if err := st.lab.Set(ctx, c, Knobs{Refuse: RefuseKey}); err != nil {
			return err
		}
	}
	told := ""
	for end := time.Now().Add(st.lab.World.Tune.RideOut + 2*time.Second); time.Now().Before(end); {
		v, err := st.lab.Tool.View(ctx, st.instance)
		if err != nil {
			return err
		}
		for _, c := range v.Clusters {
			if c.Verdict == "down" {
				st.broken("%s is called down: %s", c.Name, c.Why)
				return nil
			}
		}
		for _, notice := range v.Notices {
			if told == "" && strings.Contains(notice, "auth fault") {
				told = notice
			}
		}
		if err := st.hold(ctx, poll); err != nil {
			return err
		}
	}
	if told == "" {
		st.broken("nobody was told that keys are refused at both clusters")
		return nil
	}
	st.note("%s", told)
	return nil
}

// playPartition takes one partition of each table away for 100 ms, as the
// service does when it splits or moves one, again and again until a probe has
// met it. A probe writes to four partitions in turn, so that may take a while.
func playPartition(ctx context.Context, st *stage) error {
	st.fault = time.Now()
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	most := 0 // the history forgets
	for least := st.fault.Add(st.lab.World.Tune.RideOut + time.Second); ; {
		if err := st.lab.Set(ctx, st.from, Knobs{PartitionMS: 100}); err != nil {
			return err
		}
		if err := pause(bctx, 200*time.Millisecond); errors.Is(err, ErrNotReady) {
			st.broken("no probe met the partition within %s", Bound)
			return nil
		} else if err != nil {
			return err
		}
		met, err := st.refused(ctx, canaryTable, "OTSPartitionUnavailable")
		if err != nil {
			return err
		}
		if most = max(most, met); most > 0 && time.Now().After(least) {
			st.note("a probe met the partition that was away, and nothing came of it")
			return st.hold(ctx, time.Second)
		}
	}
}

// refused counts the requests about a table that the old cluster has refused
// with that code since the fault.
func (st *stage) refused(ctx context.Context, table, code string) (n int, err error) {
	site, _ := st.lab.World.Cluster(st.from)
	var seen []Seen
	if err := callJSON(ctx, st.lab.World.token, http.MethodGet, "http://"+site.Manage.String()+"/requests", nil, &seen); err != nil {
		return 0, fmt.Errorf("requests of %s: %w", st.from, err)
	}
	for _, s := range seen {
		if s.At.After(st.fault) && s.Code == code && slices.Contains(s.Tables, table) {
			n++
		}
	}
	return n, nil
}
