package main

import (
	"fmt"
	"slices"
	"strings"

	"pointsman/internal/config"
	"pointsman/replication"
)

// replicates says whether rows are copied by us, so that it wants keys.
func replicates(cfg *config.Config) bool {
	return cfg != nil && slices.ContainsFunc(cfg.Instances, func(i config.Instance) bool {
		return i.Replication != nil && i.Replication.Mode == replication.ModeStream
	})
}

// replicaRights are the identities of replication: one reads, one writes rows,
// and one makes tables once. Resources are in lower case.
func replicaRights(cfg *config.Config) []grant {
	var instances, tables, own []string
	narrow := true
	for _, i := range cfg.Instances {
		r := i.Replication
		if r == nil || r.Mode != replication.ModeStream {
			continue
		}
		for _, t := range i.Targets {
			at := r.Clusters[t.Cluster]
			under := func(store string) string {
				return fmt.Sprintf("acs:ots:%s:ACCT:instance/%s", orElse(t.Place.Region, "REGION"), strings.ToLower(store))
			}
			instances = append(instances, under(at.Instance))
			if names, ok := inPolicies(r.Tables); ok {
				for _, n := range names {
					tables = append(tables, under(at.Instance)+"/table/"+n)
				}
			} else {
				narrow = false
				tables = append(tables, under(at.Instance)+"/table/*")
			}
			own = append(own, under(at.ControlInstance)+"/table/"+replication.Prefix+"*")
			if at.ControlInstance != at.Instance {
				instances = append(instances, under(at.ControlInstance))
			}
		}
	}
	for _, of := range []*[]string{&instances, &tables, &own} {
		slices.Sort(*of)
		*of = slices.Compact(*of)
	}
	know := []string{"Write the account's number for ACCT, and the region for REGION where it stands. It is needed at both clusters: directions change."}
	if !narrow {
		know = append(know, "Name single tables in replication.tables to have a narrower policy: without, or with patterns that policies do not have, it is every table.")
	}
	both := slices.Clone(tables)
	for _, o := range own {
		if under, _, _ := strings.Cut(o, "/table/"); !slices.Contains(tables, under+"/table/*") {
			both = append(both, o)
		}
	}
	target := allow(both, replication.TargetActions...)
	target.Statement = append(target.Statement, allow(own, replication.OwnActions...).Statement...)
	return []grant{
		{
			For: "pointsman-replicator-source", When: "for run without --shadow, and for pointsman doctor (replication.source_key_file): reads tables and streams, and writes nothing",
			Know: know, Policy: allow(slices.Concat(instances, both), replication.SourceActions...),
		},
		{
			For: "pointsman-replicator-target", When: "for run without --shadow, and for pointsman doctor (replication.target_key_file): writes rows, and can make, change or drop no table",
			Know:   append(slices.Clone(know), "A row can only be written by whoever may overwrite and delete rows: give this key to nobody else."),
			Policy: target,
		},
		{
			For: "pointsman-prepare", When: "once, for pointsman replication prepare; take it away afterwards",
			Know: know[:1], Policy: allow(slices.Concat(instances, both), replication.PrepareActions...),
		},
	}
}

// globalRights is the identity that asks the vendor how far a global table has
// got; none where no instance has one.
func globalRights(cfg *config.Config) []grant {
	if cfg == nil {
		return nil
	}
	var on []string
	for _, i := range cfg.Instances {
		r := i.Replication
		if r == nil || r.Mode != replication.ModeGlobalTable {
			continue
		}
		for _, t := range i.Targets {
			on = append(on, fmt.Sprintf("acs:ots:%s:ACCT:instance/%s/table/%s", orElse(t.Place.Region, "REGION"), strings.ToLower(r.Clusters[t.Cluster].Instance), strings.ToLower(r.GlobalTable)))
		}
	}
	if len(on) == 0 {
		return nil
	}
	slices.Sort(on)
	return []grant{{
		For: "pointsman-replicator-global", When: "for run without --shadow, and for pointsman doctor (replication.source_key_file, mode global-table): asks how far the vendor is, and reads no row",
		Know:   []string{"Write the account's number for ACCT, and the region for REGION where it stands. It is asked at both clusters."},
		Policy: allow(slices.Compact(on), "ots:DescribeGlobalTable"),
	}}
}

// inPolicies are patterns of tables as policies have them; not ok where there
// are none, or one of another kind. Policies know * alone.
func inPolicies(globs []string) (names []string, ok bool) {
	for _, g := range globs {
		if strings.ContainsAny(g, `?[\`) {
			return nil, false
		}
		names = append(names, strings.ToLower(g))
	}
	return names, len(globs) > 0
}
