package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"
)

// Replication is what the lab reads of replication status -o json.
type Replication struct {
	Doing    string        `json:"doing"`
	Idle     string        `json:"idle"` // why nothing is done, empty while it is
	From     string        `json:"from"`
	To       string        `json:"to"`
	Standby  string        `json:"standby"`
	Exposure Exposure      `json:"exposure"`
	Tables   []ReplicaPart `json:"tables"`
	Refused  int64         `json:"refused_rows"`
	Lost     *Loss         `json:"lost"`
}

// Exposure is an upper bound of what a switch would lose.
type Exposure struct {
	Known bool          `json:"known"`
	Lag   time.Duration `json:"lag_ns"`
	At    time.Time     `json:"at"`
	Why   string        `json:"why"`
}

// ReplicaPart is one table.
type ReplicaPart struct {
	Table   string `json:"table"`
	Phase   string `json:"phase"`
	Why     string `json:"why"`
	Applied int64  `json:"applied_rows"`
	// Oldest is the moment up to which everything is on the standby.
	Oldest time.Time `json:"oldest"`
	Copy   *struct {
		Rows  int64         `json:"rows"`
		Total int64         `json:"total_rows"`
		Rate  float64       `json:"rows_per_second"`
		Left  time.Duration `json:"left_ns"`
	} `json:"copy"`
}

// Loss is what an operation left behind on the old side.
type Loss struct {
	Op    string `json:"op"`
	Exact bool   `json:"exact"`
	Why   string `json:"why"`
	Rows  int64  `json:"rows"`
}

// part is one table of them, nil if there is none.
func (r Replication) part(table string) *ReplicaPart {
	for i := range r.Tables {
		if r.Tables[i].Table == table {
			return &r.Tables[i]
		}
	}
	return nil
}

// Replication asks how the rows of an instance fare.
func (t Tool) Replication(ctx context.Context, instance string) (Replication, error) {
	var r Replication
	b, err := t.Do(ctx, "replication", "status", instance, "-o", "json")
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("pointsman replication status: read its JSON: %w", err)
	}
	return r, nil
}

// prepareReplication lets the program make what it needs at both clusters, as a
// person would before the first start.
func (l *Lab) prepareReplication(ctx context.Context) error {
	for _, in := range l.World.Instances {
		if !in.Tune.Replicate {
			continue
		}
		for _, c := range l.World.Clusters {
			if err := l.reach(ctx, c); err != nil {
				return err
			}
		}
		if err := l.prepareTables(ctx, in.Name); err != nil {
			return err
		}
	}
	return nil
}

// prepareTables is pointsman replication prepare, with the key of the lab's own
// hands.
func (l *Lab) prepareTables(ctx context.Context, instance string) error {
	_, err := l.Tool.Do(ctx, "replication", "prepare", instance, "--key-file", filepath.Join(l.World.Dir, keyFile(keyOfService)), "--yes")
	return err
}

// AwaitReplication asks how the rows fare until missing returns "" for it.
func (l *Lab) AwaitReplication(ctx context.Context, instance, what string, missing func(Replication) string) error {
	last := "no answer yet"
	for {
		r, err := l.Tool.Replication(ctx, instance)
		if err == nil {
			if last = missing(r); last == "" {
				return nil
			}
		} else if ctx.Err() == nil {
			last = err.Error()
		}
		if err := l.dead(); err != nil {
			return fmt.Errorf("wait for the rows of %s %s: %w", instance, what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the rows of %s %s: %w: %s", instance, what, context.Cause(ctx), last)
		case <-time.After(poll):
		}
	}
}

// protected says what is missing until the standby follows in every table.
func protected(r Replication) string {
	switch {
	case r.Idle != "":
		return r.Idle
	case len(r.Tables) == 0:
		return "no table is replicated: " + r.Doing
	case r.Standby != "synced":
		return "the standby is " + r.Standby + ": " + r.Doing
	}
	for _, t := range r.Tables {
		if t.Phase != "following" {
			return fmt.Sprintf("%s is in %s: %s", t.Table, t.Phase, t.Why)
		}
	}
	if !r.Exposure.Known {
		return "the exposure is not known: " + r.Exposure.Why
	}
	return ""
}
