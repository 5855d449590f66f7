package replication

import (
	"context"
	"fmt"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// StreamFacts are what the streams of one cluster look like to whoever follows
// them.
type StreamFacts struct {
	At
	Tables int // with a stream
	Open   int // shards that are read again and again
	Closed int // that are listed, and read to their end

	// The service's clock minus ours, at least and at most.
	Low, High time.Duration
	Clock     bool // they are known
}

// LookAtStreams counts the shards of tables with the identity that reads the
// cluster.
func LookAtStreams(ctx context.Context, c Config, cluster failover.ClusterName, tables []string) (f StreamFacts, err error) {
	at := c.Clusters[cluster].Source
	f.At = At{cluster, at.Instance}
	x, err := ots.Open(at)
	if err != nil {
		return f, fmt.Errorf("%s: %w", cluster, err)
	}
	defer x.Close()
	defer func() { f.Low, f.High, f.Clock = x.Offset() }() // a refusal has a time too
	for _, t := range tables {
		streams, err := x.Streams(ctx, t)
		if err != nil {
			return f, fmt.Errorf("streams of %s at %s: %w", t, cluster, err)
		}
		for _, s := range streams {
			_, shards, err := x.Shards(ctx, s.ID)
			if err != nil {
				return f, fmt.Errorf("shards of %s at %s: %w", t, cluster, err)
			}
			parents := map[string]bool{}
			for _, s := range shards {
				for _, p := range s.Parents {
					parents[p] = true
				}
			}
			f.Tables++
			for _, s := range shards {
				if parents[s.ID] {
					f.Closed++
				} else {
					f.Open++
				}
			}
		}
	}
	return f, nil
}
