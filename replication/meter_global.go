package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/replication/ots"
)

// globalConfig is a global table, whose rows the vendor carries.
type globalConfig struct {
	Name string
	// Ask are clients of its members. Each is asked, and the worst answer
	// counts: one that is cut off from the others may not know it.
	Ask []*ots.Client
	// Standby is the name of the standby's instance, and Region where it is;
	// empty is not told.
	Standby, Region string
	Every           time.Duration // 5 s if 0
}

// newGlobalMeter reads rpoNanos of the standby's replica.
func newGlobalMeter(cfg globalConfig) *pollMeter {
	m := &pollMeter{every: cfg.Every, timeout: 10 * time.Second}
	if m.every <= 0 {
		m.every = 5 * time.Second
	}
	m.ask = func(ctx context.Context) (ExposureNow, error) {
		var worst ExposureNow
		var faults []error
		for _, c := range cfg.Ask {
			sent := time.Now()
			t, err := c.GlobalTable(ctx, cfg.Name)
			if err != nil {
				faults = append(faults, fmt.Errorf("global table %s: ask instance %s: %w", cfg.Name, c.Instance(), err))
				continue
			}
			behind, err := standbyRPO(t, cfg.Standby, cfg.Region)
			if err != nil {
				return ExposureNow{}, fmt.Errorf("global table %s: %w", cfg.Name, err)
			}
			if e := (ExposureNow{Known: true, Lag: behind, At: sent, Why: "global table " + cfg.Name}); !worst.Known || e.At.Add(-e.Lag).Before(worst.At.Add(-worst.Lag)) {
				worst = e
			}
		}
		if !worst.Known {
			return worst, errors.Join(faults...)
		}
		return worst, nil
	}
	return m
}

// incremental is the stage in which a replica has everything but the newest
// changes.
const incremental = "SYNC_INCR"

// primary is the role of the replica that is not behind.
const primary = "primary"

// standbyRPO is how far the standby is behind. Where several replicas are of an
// instance of its name, the region says which it is.
func standbyRPO(t ots.GlobalTable, instance, region string) (behind time.Duration, err error) {
	var of []ots.Replica
	var regions []string
	for _, r := range t.Replicas {
		if r.Instance == instance {
			of, regions = append(of, r), append(regions, r.Region)
		}
	}
	if len(of) > 1 {
		there := slices.DeleteFunc(slices.Clone(of), func(r ots.Replica) bool { return r.Region != region })
		if len(there) == 0 && slices.ContainsFunc(of, func(r ots.Replica) bool { return r.Role == primary }) {
			slices.Sort(regions)
			return 0, unknownError(fmt.Sprintf("it has instances %s in %s, and which is the standby is not told: tablestore.region of the cluster is %q", instance, strings.Join(regions, ", "), region))
		}
		if len(there) > 0 {
			of = there
		}
	}
	if len(of) == 0 {
		return 0, unknownError(fmt.Sprintf("it has no replica in an instance %s", instance))
	}
	for _, r := range of {
		switch {
		case r.Role == primary:
			return 0, unknownError(fmt.Sprintf("its primary is the standby, in %s: rows go the other way, and nothing carries what the active cluster is given", r.Region))
		case r.Failed:
			return 0, unknownError(fmt.Sprintf("the replica in %s has failed: %s", r.Region, r.Message))
		case r.Stage != incremental:
			return 0, unknownError(fmt.Sprintf("the replica in %s has not all rows yet (%s)", r.Region, r.Stage))
		case !r.Known || r.RPO < 0:
			return 0, unknownError(fmt.Sprintf("how far the replica in %s is behind is not told", r.Region))
		}
		behind = max(behind, r.RPO)
	}
	return behind, nil
}
