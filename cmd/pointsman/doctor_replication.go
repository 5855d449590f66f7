package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
	"pointsman/replication"
)

// replicationIDs are what is found by asking both clusters with the keys of
// replication.
var replicationIDs = []string{
	"replication.parity", "replication.streams", "replication.control", "replication.quota", "replication.rights", "replication.cost", "replication.clock",
}

// lagIDs are what is found where somebody else carries the rows.
var lagIDs = []string{"replication.lag"}

// replicationTime is what all of them may take for one instance: a table is
// described at each side.
const replicationTime = 60 * time.Second

func (p *patient) replicationChecks() []doctor.Check {
	var out []doctor.Check
	for _, i := range p.cfg.Instances {
		if i.Replication == nil {
			continue
		}
		if i.Replication.Mode != replication.ModeStream {
			out = append(out, doctor.Check{IDs: lagIDs, About: string(i.Policy.Instance), Time: replicationTime, Look: func(ctx context.Context) []doctor.Finding {
				return []doctor.Finding{p.lag(ctx, i)}
			}})
			continue
		}
		out = append(out, doctor.Check{IDs: replicationIDs, About: string(i.Policy.Instance), Time: replicationTime, Look: func(ctx context.Context) []doctor.Finding {
			return p.replicated(ctx, i)
		}})
	}
	return out
}

// direction is which way rows go: as the controller says, or from the primary of
// the file.
func (p *patient) direction(i config.Instance) (from, to failover.ClusterName) {
	from = i.Policy.Primary
	if v, ok := p.views[i.Policy.Instance]; ok && v.Active != "" {
		from = v.Active
	}
	to = from
	for _, c := range i.Policy.Clusters {
		if c != from {
			to = c
		}
	}
	return from, to
}

// lag asks whoever carries the rows of an instance in our place.
func (p *patient) lag(ctx context.Context, i config.Instance) doctor.Finding {
	f := doctor.LagFacts{Instance: string(i.Policy.Instance), Mode: string(i.Replication.Mode)}
	f.Limit, f.Limited = i.Policy.RPO.Bound, i.Policy.RPO.Kind == failover.RPOBounded || i.Policy.RPO.Kind == failover.RPOZero
	rc, err := replicaConfig(i.Policy.Instance, i.Replication)
	if err == nil {
		from, to := p.direction(i)
		var now replication.ExposureNow
		asked := time.Now() // what the question took is not the standby's
		now, err = replication.AskOnce(ctx, rc, from, to)
		f.Lag = now.Lag + max(asked.Sub(now.At), 0)
	}
	if err != nil {
		f.Err, f.Fix = err.Error(), "mend what is named; replication.external and docs/replication.md say what an answer looks like"
		if i.Replication.Mode == replication.ModeGlobalTable {
			f.Fix = "mend what is named: the key needs ots:DescribeGlobalTable at both clusters (pointsman init rights), and each cluster its region"
		}
	}
	return doctor.JudgeLag(f)
}

// replicated looks at one instance.
func (p *patient) replicated(ctx context.Context, i config.Instance) []doctor.Finding {
	name := string(i.Policy.Instance)
	rc, err := replicaConfig(i.Policy.Instance, i.Replication)
	if err != nil {
		return skipAll(replicationIDs, name, err)
	}
	from, to := p.direction(i)
	var tables []string
	facts, lookErr := replication.Inspect(ctx, rc, from, to)
	for _, pair := range facts.Pairs {
		tables = append(tables, pair.Table)
	}
	var (
		keys    [2][]replication.KeyRights
		streams [2]replication.StreamFacts
		errs    [2]error
		g       errgroup.Group
	)
	for n, cluster := range []failover.ClusterName{from, to} {
		g.Go(func() error {
			keys[n] = replication.ProbeRights(ctx, rc, cluster, tables)
			streams[n], errs[n] = replication.LookAtStreams(ctx, rc, cluster, tables)
			return nil
		})
	}
	_ = g.Wait() // findings, not errors
	var out []doctor.Finding
	if lookErr != nil {
		out = skipAll([]string{"replication.parity", "replication.streams", "replication.control", "replication.quota"}, name, lookErr)
	} else {
		out = parityFindings(name, facts)
	}
	all := slices.Concat(keys[0], keys[1])
	for _, k := range all {
		out = append(out, doctor.JudgeReplicaKey(replicaKeyFacts(name, k, all))...)
	}
	idle := streams[0] // only the active cluster is followed
	cost := doctor.IdleFacts{Instance: name, Cluster: string(from), Tables: idle.Tables, Shards: idle.Open, Idle: i.Replication.Idle, Busy: i.Replication.Busy}
	switch {
	case lookErr != nil: // without its tables nothing was counted
		cost.Err = lookErr.Error()
	case errs[0] != nil:
		cost.Err = errs[0].Error()
	}
	out = append(out, doctor.JudgeIdle(cost))
	for _, f := range streams {
		out = append(out, doctor.JudgeReplicaClock(name, string(f.Cluster), f.Clock, f.Low, f.High))
	}
	return out
}

func skipAll(ids []string, about string, err error) []doctor.Finding {
	var out []doctor.Finding
	for _, id := range ids {
		out = append(out, doctor.Skip(id, about, "%v", err))
	}
	return out
}

// parityFindings puts what the room of replication found into doctor's words.
func parityFindings(instance string, f replication.Facts) []doctor.Finding {
	var out []doctor.Finding
	bad := map[string]bool{}
	for _, x := range f.Findings() {
		id := "replication.parity"
		switch group, rest, _ := strings.Cut(x.ID, "."); {
		case group == "stream", group == "reverse" && (rest == "stream" || rest == "retention"):
			id = "replication.streams"
		case group == "own":
			id = "replication.control"
		case group == "quota":
			id = "replication.quota"
		}
		about, verdict := instance, doctor.Warn
		if x.Table != "" {
			about += "/" + x.Table
		}
		if x.Level == replication.LevelBlock {
			verdict = doctor.Fail
		}
		bad[id] = true
		out = append(out, doctor.Finding{ID: id, About: about, Verdict: verdict, Evidence: x.ID + ": " + x.Evidence, Fix: replication.HintFor(failover.InstanceName(instance), x.Hint)})
	}
	way := fmt.Sprintf("from %s to %s", f.From.Cluster, f.To.Cluster)
	for id, fine := range map[string]string{
		"replication.parity":  fmt.Sprintf("%d tables are alike, %s", len(f.Pairs), way),
		"replication.streams": fmt.Sprintf("the streams of %d tables are on at both sides and remember %d h", len(f.Pairs), int(replication.LongRetention.Hours())),
		"replication.control": "our own tables are there, at both clusters",
		"replication.quota":   fmt.Sprintf("%d tables at %s and %d at %s of the %d that an instance may have", f.Counts[f.From], f.From.Cluster, f.Counts[f.To], f.To.Cluster, replication.TableQuota),
	} {
		switch {
		case bad[id]:
		case len(f.Pairs) == 0 && (id == "replication.parity" || id == "replication.streams"):
			out = append(out, doctor.Finding{
				ID: id, About: instance, Verdict: doctor.Warn, Evidence: fmt.Sprintf("no table at %s is to be replicated", f.From.Cluster),
				Fix: "look at replication.tables and replication.except",
			})
		default:
			out = append(out, doctor.Finding{ID: id, About: instance, Verdict: doctor.OK, Evidence: fine})
		}
	}
	return out
}

// replicaKeyFacts are what a key showed; all are the keys of the instance.
func replicaKeyFacts(instance string, k replication.KeyRights, all []replication.KeyRights) doctor.ReplicaKeyFacts {
	f := doctor.ReplicaKeyFacts{Instance: instance, Cluster: string(k.Cluster), As: string(k.As), KeyID: k.KeyID, Err: k.Err}
	text := func(r replication.Right) string {
		if r.On == "" {
			return r.Action
		}
		return r.Action + " on " + r.On
	}
	for _, r := range k.Needed {
		switch r.State {
		case replication.RightGranted:
			f.Granted++
		case replication.RightDenied:
			f.Missing = append(f.Missing, text(r))
		case replication.RightUnknown:
			f.Unknown = append(f.Unknown, text(r)+": "+r.Why)
		}
	}
	for _, r := range k.Broad {
		if r.State == replication.RightGranted {
			f.Broad = append(f.Broad, text(r))
		}
	}
	for _, o := range all {
		if o.As != k.As && o.KeyID == k.KeyID && k.KeyID != "" {
			f.SameAs = string(o.As)
		}
	}
	return f
}
