package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
	"pointsman/internal/simulate"
)

// replayFlags say which votes are played to which policy.
type replayFlags struct {
	policy, since, bundle, history string
}

func (a *app) replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay --policy FILE [INSTANCE]",
		Short: "Play recorded votes to a changed policy: what would have moved, and when",
		Long: `Play recorded votes to a changed policy: what would have moved, and when.

FILE is a whole pointsman.yaml with what you mean to change; INSTANCE is taken from
it, or without one every instance that has recorded votes. The same votes are also
played to the policies that ran, so that both stand beside each other. Nothing is
asked of a cluster, and nothing moves. The same input gives the same output.

What is counted at the vantages (round, timeout, fall, rise, window, the checks) no
recorded vote can answer; where it differs that is said, and what ran is used.`,
		Example: `  pointsman replay --policy changed.yaml orders --since 30d
  pointsman replay --policy changed.yaml --from-history /var/lib/pointsman -o json`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeInstances,
	}
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "`FILE`, a whole configuration with the changed policy")
	fl.StringVar(&f.since, "since", "30d", "only votes that began later: a `DURATION` such as 30d or 2h, or an RFC 3339 time with zone; of a bundle or a copy all, unless it is given")
	fl.StringVar(&f.bundle, "from-bundle", "", "read the votes from a bundle `FILE`, or from what 'pointsman history -o json' printed")
	fl.StringVar(&f.history, "from-history", "", "read the votes from the history.db in `DIR`, or from a copy of it; no controller is asked")
	_ = cmd.MarkFlagFilename("policy", "yaml", "yml")
	_ = cmd.MarkFlagDirname("from-history")
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		if (f.bundle != "" || f.history != "") && !cmd.Flags().Changed("since") {
			f.since = "" // a copy may be of any age, and gives the same answer whenever it is asked
		}
		return a.replay(cmd.Context(), &f, failover.InstanceName(name))
	}
	return cmd
}

// replayView is what replay prints.
type replayView struct {
	Policy    string                `json:"policy"` // the file
	Instances []simulate.Comparison `json:"instances"`
}

func (a *app) replay(ctx context.Context, f *replayFlags, name failover.InstanceName) error {
	if f.policy == "" {
		return failed("write a copy of pointsman.yaml with what you mean to change, and give it", "--policy FILE is missing")
	}
	if f.bundle != "" && f.history != "" {
		return failed("give one of them", "both --from-bundle and --from-history are given")
	}
	since, err := sinceTime(f.since, time.Now())
	if err != nil {
		return err
	}
	cfg, err := config.Load(f.policy)
	if err != nil {
		return configError(err)
	}
	asked, err := askedPolicies(cfg, name)
	if err != nil {
		return err
	}
	votes, err := a.votesFrom(ctx, f)
	if err != nil {
		return err
	}
	defer votes.close()
	v := replayView{Policy: f.policy, Instances: []simulate.Comparison{}}
	lives, err := votesOf[failover.Recording](ctx, votes, ledger.HistoryFilter{Kind: recordingKind})
	if err != nil {
		return err
	}
	for i := range asked {
		in, err := inputOf(ctx, votes, asked[i].Instance, since)
		if err != nil {
			return nearInstance(err, string(asked[i].Instance))
		}
		if len(in.Tapes) == 0 && name == "" {
			continue
		}
		in.Since, in.Lives = since, failover.Credible(lives, time.Now())
		c, err := simulate.Compare(in, asked[i])
		if err != nil {
			hint := "docs/shadow.md tells what a replay needs"
			if errors.Is(err, simulate.ErrTooLong) || errors.Is(err, simulate.ErrTooMuch) || errors.Is(err, simulate.ErrBackwards) || errors.Is(err, failover.ErrTape) {
				hint = "leave older votes out: --since"
			}
			return failed(hint, "replay %s: %w", asked[i].Instance, err)
		}
		v.Instances = append(v.Instances, c)
	}
	return a.print(v, func(w io.Writer) { a.replayText(w, &v, since) })
}

// askedPolicies are those of the file, or of one instance of it.
func askedPolicies(cfg *config.Config, name failover.InstanceName) ([]failover.Policy, error) {
	var out []failover.Policy
	var known []string
	for _, i := range cfg.Instances {
		known = append(known, string(i.Policy.Instance))
		if name == "" || i.Policy.Instance == name {
			out = append(out, i.Policy)
		}
	}
	if len(out) == 0 {
		hint := didYouMean(known, 0)
		if n := nearest(string(name), known); n != "" {
			hint = fmt.Sprintf("did you mean %s?", n)
		}
		return nil, failed(hint, "%s has no instance %q", cfg.File, name)
	}
	return out, nil
}

// inputOf reads what was recorded of one instance. A tape that began before is
// in it, if it is needed.
func inputOf(ctx context.Context, v recordedVotes, i failover.InstanceName, since time.Time) (simulate.Input, error) {
	var in simulate.Input
	var err error
	if in.Tapes, err = votesOf[failover.Tape](ctx, v, ledger.HistoryFilter{Kind: ledger.KindVotes, Instance: i, Since: since}); err != nil {
		return in, err
	}
	policies, err := votesOf[failover.Policy](ctx, v, ledger.HistoryFilter{Kind: policyKind, Instance: i})
	if err != nil {
		return in, err
	}
	in.Policy = func(hash string) (failover.Policy, error) {
		k := slices.IndexFunc(policies, func(p failover.Policy) bool { return p.Expected == hash })
		if k < 0 {
			return failover.Policy{}, simulate.ErrPolicyGone
		}
		return policies[k], nil
	}
	return in, nil
}

// votesOf reads samples of a kind as what they are.
func votesOf[T any](ctx context.Context, v recordedVotes, f ledger.HistoryFilter) ([]T, error) {
	ss, err := v.list(ctx, f)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(ss))
	for _, s := range ss {
		var x T
		if err := json.Unmarshal(s.Data, &x); err != nil {
			return nil, failed("the history is damaged, or was written by a newer program; --since leaves older lines out", "line %d of the history, %s of %s: %w", s.ID, s.Kind, s.Instance, err)
		}
		out = append(out, x)
	}
	return out, nil
}
