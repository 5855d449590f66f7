package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
)

// tableProofTime is the least that the proof of one cluster may take: it is for
// people, and asks more than a probe does.
const tableProofTime = 5 * time.Second

// tableProof is what was met at a Tablestore cluster.
type tableProof struct {
	Endpoint   string `json:"endpoint"`  // as the clients' SDK is given it
	Store      string `json:"instance"`  // in the signed header
	Bearer     string `json:"as"`        // service or client
	KeyID      string `json:"key_id"`    // empty: it could not be read
	Table      string `json:"table"`     // that exists only there
	OtherTable string `json:"not_table"` // that must not
	Met        string `json:"met"`       // itself, other, instance, name …: docs/doctor.md
	Gate       string `json:"gate"`      // open, denied …; empty: not tried
	Signed     string `json:"v4"`        // of the other cluster's region: open, key …; empty: not tried
	From       string `json:"v4_region"` // of the other cluster
}

func tableProofOf(f doctor.MoveFacts) *tableProof {
	return &tableProof{f.Endpoint, f.Store, f.Bearer, f.KeyID, f.Own, f.Other, f.Met, f.Gate, f.Signed, f.From}
}

// bearer is whose key asks.
func bearer(inst config.Instance, as string) (healthcheck.Bearer, error) {
	switch b := healthcheck.Bearer(as); b {
	case healthcheck.AsService:
		return b, nil
	case healthcheck.AsClient:
		if len(inst.Targets) > 0 && inst.Targets[0].HasClientKey() {
			return b, nil
		}
		return "", failed("write check.tablestore.client_key_file: a key that may do what the clients' keys may", "%s has no client key", inst.Policy.Instance)
	}
	return "", failed("write --as service or --as client", "--as: %q is neither", clean(as))
}

// proveTables comes to each cluster of an instance as its clients would after a
// move; nil for an instance that is no Tablestore. What became of it at one
// cluster is held against the other: a key that both refuse says something of
// the key.
func proveTables(ctx context.Context, cfg *config.Config, inst config.Instance, as healthcheck.Bearer) []doctor.MoveFacts {
	if len(inst.Targets) != 2 {
		return nil
	}
	if _, ok := inst.Targets[0].OwnTables(); !ok {
		return nil
	}
	proofs := make([]healthcheck.TableProof, len(inst.Targets))
	var wg sync.WaitGroup
	for i, t := range inst.Targets {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, max(t.Timeout, tableProofTime))
			defer cancel()
			var err error
			proofs[i], err = healthcheck.ProveTables(ctx, t, healthcheck.ProbeConfig{Vantage: "doctor", Allow: cfg.Self.Allow, ReadKey: config.ReadSecretFile}, as, inst.Targets[1-i].Place.Region)
			if err != nil {
				proofs[i].Identity = healthcheck.Meeting{Met: healthcheck.MetOurs, Why: err.Error()}
			}
		})
	}
	wg.Wait()
	out := make([]doctor.MoveFacts, len(proofs))
	for i, t := range inst.Targets {
		p, other := proofs[i], proofs[1-i]
		out[i] = doctor.MoveFacts{
			Instance: string(t.Instance), Cluster: string(t.Cluster), OtherCluster: string(inst.Targets[1-i].Cluster),
			Address: t.Address, Endpoint: p.Endpoint, Client: strings.TrimSuffix(t.Name, "."), Store: t.Place.Instance,
			Bearer: string(as), KeyID: p.KeyID, Own: p.Own, Other: p.Other,
			Met: string(p.Identity.Met), Why: p.Identity.Why, Elsewhere: other.Identity.Met.Answered(),
			Gate: string(p.Gate.Met), GateWhy: p.Gate.Why, GateElsewhere: other.Gate.Met == healthcheck.MetOpen,
			Signed: string(p.Signed.Met), SignedWhy: p.Signed.Why, SignedHere: string(p.SignedHere.Met),
			From: inst.Targets[1-i].Place.Region, Region: t.Place.Region,
			Warnings: p.Warnings, Took: p.Took,
		}
	}
	return out
}

// moveChecks prove every Tablestore cluster.
func (p *patient) moveChecks() []doctor.Check {
	var out []doctor.Check
	for _, i := range p.cfg.Instances {
		if len(i.Targets) == 0 {
			continue
		}
		if _, ok := i.Targets[0].OwnTables(); !ok {
			continue
		}
		out = append(out, doctor.Check{
			IDs: []string{"cluster.move"}, About: string(i.Policy.Instance), Time: 2*tableProofTime + i.Targets[0].Timeout,
			Look: func(ctx context.Context) (found []doctor.Finding) {
				for _, f := range proveTables(ctx, p.cfg, i, healthcheck.AsService) {
					found = append(found, doctor.JudgeMove(f)...)
				}
				return found
			},
		})
	}
	return out
}
