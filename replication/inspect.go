package replication

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// describeAtOnce is how many tables are asked for at a time: table operations
// are limited to ten a second for an instance.
const describeAtOnce = 4

// view is one cluster under inspection.
type view struct {
	At
	tables  *ots.Client // of the instance with people's tables
	control *ots.Client // of that with our own
	ours    At
}

func (s *view) close() {
	s.tables.Close()
	s.control.Close()
}

// openView reaches a cluster with the identity that reads it: it may list and
// describe, which the one that writes rows need not.
func openView(c Config, name failover.ClusterName) (*view, error) {
	at := c.Clusters[name]
	s := &view{At: At{name, at.Source.Instance}, ours: At{name, at.Control.Instance}}
	var err error
	if s.tables, err = ots.Open(at.Source); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	own := at.Control
	own.Credentials = at.Source.Credentials
	if s.control, err = ots.Open(own); err != nil {
		s.tables.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Inspect looks at the tables of both clusters with the identities that read
// them, and changes nothing. From is the active cluster.
func Inspect(ctx context.Context, c Config, from, to failover.ClusterName) (Facts, error) {
	c, err := c.complete()
	if err != nil {
		return Facts{}, err
	}
	var sides [2]*view
	for i, name := range []failover.ClusterName{from, to} {
		if sides[i], err = openView(c, name); err != nil {
			return Facts{}, err
		}
		defer sides[i].close()
	}
	f := Facts{From: sides[0].At, To: sides[1].At, Counts: map[At]int{}}
	var names [2][]string
	for i, s := range sides {
		if names[i], err = s.tables.ListTables(ctx); err != nil {
			return f, fmt.Errorf("tables of %s at %s: %w", s.Store, s.Cluster, err)
		}
		f.Counts[s.At] = len(names[i])
	}
	if err := f.pairs(ctx, c, sides, names); err != nil {
		return f, err
	}
	for i, s := range sides {
		if s.ours != s.At {
			if names[i], err = s.control.ListTables(ctx); err != nil {
				return f, fmt.Errorf("tables of %s at %s: %w", s.ours.Store, s.Cluster, err)
			}
			f.Counts[s.ours] = len(names[i])
		}
		for _, own := range ownTables(c) {
			x := OwnFacts{At: s.ours, For: own.purpose, Want: own.table}
			if slices.Contains(names[i], own.table.Name) {
				t, err := s.control.Describe(ctx, own.table.Name)
				if err != nil {
					return f, fmt.Errorf("%s at %s: %w", own.table.Name, s.Cluster, err)
				}
				x.Have = &t
			}
			f.Own = append(f.Own, x)
		}
	}
	return f, nil
}

// pairs describes every table that is to be replicated at both sides.
func (f *Facts) pairs(ctx context.Context, c Config, sides [2]*view, names [2][]string) error {
	var tables []string
	for _, n := range names[0] {
		if c.wants(n) {
			tables = append(tables, n)
		}
	}
	// A table that the config names in full is missed where it is not there.
	for _, n := range c.Tables {
		if !strings.ContainsAny(n, `*?[\`) && c.wants(n) && !slices.Contains(tables, n) {
			tables = append(tables, n)
		}
	}
	slices.Sort(tables)
	var (
		mu    sync.Mutex
		found [2]map[string]*ots.Table
		index = map[string]bool{} // secondary indexes, which the service lists as tables
		g     = bareTeam()
	)
	g.SetLimit(describeAtOnce)
	for i, s := range sides {
		found[i] = map[string]*ots.Table{}
		for _, n := range tables {
			if !slices.Contains(names[i], n) {
				continue
			}
			g.Go(func() error {
				t, err := s.tables.Describe(ctx, n)
				if ots.ClassOf(err) == ots.ClassAbsent { // dropped a moment ago
					return nil
				}
				if err != nil {
					return fmt.Errorf("%s at %s: %w", n, s.Cluster, err)
				}
				mu.Lock()
				defer mu.Unlock()
				found[i][n] = &t
				for _, x := range t.Indexes {
					index[x] = true
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, n := range tables {
		if !index[n] {
			f.Pairs = append(f.Pairs, Pair{n, found[0][n], found[1][n]})
		}
	}
	return nil
}

// Findings judges all of it: each table, those of our own, and the quota.
func (f Facts) Findings() []Finding {
	var out []Finding
	made := map[At]int{}
	for _, p := range f.Pairs {
		out = append(out, Judge(p)...)
		if p.Source != nil && p.Target == nil {
			made[f.To]++
		}
	}
	for _, o := range f.Own {
		out = append(out, OwnTable(o.Want, o.Have)...)
		if o.Have == nil {
			made[o.At]++
		}
	}
	for _, at := range placesOf(f) {
		out = append(out, Quota(at.Store, f.Counts[at], made[at], TableQuota)...)
	}
	return out
}

// Tables are those of a cluster that c replicates, sorted, as the identity that
// reads it sees them.
func Tables(ctx context.Context, c Config, cluster failover.ClusterName) ([]string, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	s, err := openView(c, cluster)
	if err != nil {
		return nil, err
	}
	defer s.close()
	names, err := s.tables.ListTables(ctx)
	if err != nil {
		return nil, fmt.Errorf("tables of %s at %s: %w", s.Store, cluster, err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !c.wants(n) }), nil
}
