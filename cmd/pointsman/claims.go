package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// claims compares the embedded names of a configuration with the committed
// records. A name whose record belongs to another instance would be begun anew
// by the one that has it now, at a cluster that has nothing to do with what is
// answered: an instance that is only renamed in the file would move its name.
// So would a name that left an instance and comes back after that has moved.
//
// Each line is one name with what is wrong; empty: the file moves nothing.
func claims(cfg *config.Config, records []failover.Record) []string {
	type holder struct {
		instance failover.InstanceName
		value    failover.Target
	}
	held := make(map[failover.RecordName][]holder)
	byName := make(map[failover.InstanceName]*failover.Record, len(records))
	for i := range records {
		r := &records[i]
		byName[r.Instance] = r
		for _, n := range r.Shown() {
			held[n.Name] = append(held[n.Name], holder{r.Instance, n.Value})
		}
	}
	var out []string
	for _, i := range cfg.Instances {
		p := &i.Policy
		rec := byName[p.Instance]
		starts := p.Primary
		if rec != nil {
			starts = rec.Active
		}
		for _, n := range p.Names {
			if !n.Embedded {
				continue
			}
			hs := held[n.Name]
			if rec != nil && rec.Name(n.Name) != nil || len(hs) == 0 {
				continue
			}
			for _, h := range hs {
				switch value := n.Targets[starts]; {
				case h.instance != p.Instance:
					out = append(out, fmt.Sprintf("the name %s belongs to the instance %s in the ledger (it points at %s), and the file gives it to %s", n.Name, h.instance, h.value, p.Instance))
				case h.value != value:
					out = append(out, fmt.Sprintf("the name %s left the instance %s pointing at %s, and would come back at %s", n.Name, p.Instance, h.value, value))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func (p *process) checkClaims(ctx context.Context, cfg *config.Config) error {
	records, err := p.store.All(ctx)
	if err != nil {
		return err
	}
	return claimError(cfg, records)
}

// claimError makes one error of them, nil without any.
func claimError(cfg *config.Config, records []failover.Record) error {
	cs := claims(cfg, records)
	if len(cs) == 0 {
		return nil
	}
	const most = 5
	text := strings.Join(cs[:min(len(cs), most)], "; ")
	if len(cs) > most {
		text += fmt.Sprintf("; and %d more", len(cs)-most)
	}
	return failed("give the name back to that instance, under its old name; an instance cannot be renamed, nor a name handed over, without moving it", "a name would move: %s", text)
}
