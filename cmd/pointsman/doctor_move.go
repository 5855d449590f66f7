package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pointsman/healthcheck"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
)

// moveReport is what doctor prove-move prints.
type moveReport struct {
	doctorReport
	Instance failover.InstanceName    `json:"instance"`
	Client   string                   `json:"client_name"` // Host and server name that were used
	Required failover.MoveProofPolicy `json:"move_proof"`  // what the policy wants
	Clusters []clusterProof           `json:"clusters"`
}

// clusterProof is what is known of one cluster.
type clusterProof struct {
	Cluster  failover.ClusterName   `json:"cluster"`
	Address  string                 `json:"address"`
	Here     bool                   `json:"proved_from_here"`
	HereWhy  string                 `json:"from_here"`
	Guard    string                 `json:"guard"` // proved, stale, none, waived, or unknown without a controller
	ProvedAt time.Time              `json:"proved_at,omitzero"`
	Expires  time.Time              `json:"expires,omitzero"`
	How      string                 `json:"how,omitempty"`
	Vantages []failover.VantageView `json:"vantages,omitempty"`

	Tablestore *tableProof `json:"tablestore,omitempty"` // of clusters that are one
}

const proveMoveLong = `Show whether clients would be served by each cluster under their own name. From
this host each cluster's address is dialled with the name, server name and
scheme that clients bring, and its certificate and identity are looked at,
exactly as probes do. The running controller is asked what each vantage saw
and what the guard move-proof has on record. Nothing is written.

A Tablestore cluster is asked for the table that exists only there, with the
instance that clients name in their signed header. --as says with whose key: the
probes' own, or that of clients (client_key_file). With a client key the cluster
is also asked to write on a condition that never holds, which says whether it is
open to clients, and where the regions differ by a V4 signature for the other
one, which such clients would bring.

With --from-here no controller is asked. Exit status: 0 proved, 3 with warnings,
1 not proved.`

// proveFlags are those of doctor prove-move.
type proveFlags struct {
	here bool
	as   string
}

func (a *app) proveMoveCommand() *cobra.Command {
	var f proveFlags
	cmd := &cobra.Command{
		Use:               "prove-move INSTANCE",
		Short:             "Show whether each cluster serves clients under their own name",
		Long:              proveMoveLong,
		Example:           "  pointsman doctor prove-move orders -c pointsman.yaml",
		Args:              exactly("INSTANCE"),
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.configAsItIs()
			if err != nil {
				return err
			}
			return a.proveMove(cmd.Context(), cfg, failover.InstanceName(args[0]), f)
		},
	}
	cmd.Flags().BoolVar(&f.here, "from-here", false, "ask no controller")
	cmd.Flags().StringVar(&f.as, "as", string(healthcheck.AsService), "whose `KEY` asks a Tablestore: service or client")
	_ = cmd.RegisterFlagCompletionFunc("as", cobra.FixedCompletions([]string{string(healthcheck.AsService), string(healthcheck.AsClient)}, cobra.ShellCompDirectiveNoFileComp))
	a.outputFlag(cmd)
	return cmd
}

func (a *app) proveMove(ctx context.Context, cfg *config.Config, name failover.InstanceName, f proveFlags) error {
	inst, err := instanceNamed(cfg, string(name))
	if err != nil {
		return err
	}
	as, err := bearer(inst, f.as)
	if err != nil {
		return err
	}
	var view *failover.View
	if !f.here {
		v, err := a.viewOf(ctx, cfg, name)
		if err != nil {
			fmt.Fprintf(a.stderr, "warning: no controller was asked: %s\n", clean(shortly(err)))
		}
		view = v
	}
	r := a.proofs(ctx, cfg, inst, view, as)
	if err := a.print(r, func(w io.Writer) { a.proofTable(w, r) }); err != nil {
		return err
	}
	return doctorStatus(r.Verdict)
}

func (a *app) viewOf(ctx context.Context, cfg *config.Config, name failover.InstanceName) (*failover.View, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := a.clientOf(cfg.Controller)
	if err != nil {
		return nil, err
	}
	v, err := c.View(ctx, name)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// proofs looks at both clusters and joins it with what the controller knows; a
// nil view is that of nobody.
func (a *app) proofs(ctx context.Context, cfg *config.Config, inst config.Instance, view *failover.View, as healthcheck.Bearer) moveReport {
	r := moveReport{Instance: inst.Policy.Instance, Required: inst.Policy.MoveProof}
	var found []doctor.Finding
	tables := proveTables(ctx, cfg, inst, as)
	for i, t := range inst.Targets {
		c := clusterProof{Cluster: t.Cluster, Address: t.Address, Guard: "unknown"}
		if tables != nil {
			fs := doctor.JudgeMove(tables[i])
			found = append(found, fs...)
			c.Here, c.HereWhy, c.Tablestore = tables[i].Met == string(healthcheck.MetItself), fs[0].Evidence, tableProofOf(tables[i])
			r.Client = tables[i].Client
		} else {
			p := probeFrom(ctx, cfg, t)
			f := doctor.JudgeProbe(p)
			found = append(found, f)
			c.Here, c.HereWhy = p.Err == "" && p.Proved, f.Evidence
			r.Client = p.Client
		}
		if view != nil {
			c.record(view, inst.Policy.MoveProof, time.Now())
		}
		r.Clusters = append(r.Clusters, c)
	}
	if view != nil {
		found = append(found, doctor.JudgeProof(*view, inst.Policy.MoveProof, time.Now())...)
	}
	r.doctorReport = newReport(cfg.File, doctor.Merge(found))
	return r
}

// record takes what the controller has on a cluster.
func (c *clusterProof) record(v *failover.View, required failover.MoveProofPolicy, now time.Time) {
	at := slices.IndexFunc(v.Clusters, func(x failover.ClusterView) bool { return x.Name == c.Cluster })
	if at < 0 {
		return // it runs another configuration
	}
	c.Vantages, c.Guard = v.Clusters[at].Votes, "none"
	if p := v.Clusters[at].Proof; p != nil {
		c.ProvedAt, c.Expires, c.How, c.Guard = p.At, p.At.Add(failover.MoveProofLife), p.How, "proved"
		if !now.Before(c.Expires) {
			c.Guard = "stale"
		}
	}
	if required == failover.MoveProofWaived {
		c.Guard = "waived"
	}
}

func (a *app) proofTable(w io.Writer, r moveReport) {
	fmt.Fprintf(w, "%s under the clients' name %s\n", clean(string(r.Instance)), clean(r.Client))
	var rows [][]string
	for _, c := range r.Clusters {
		guard := c.Guard
		if !c.ProvedAt.IsZero() {
			guard += fmt.Sprintf(" %s ago, until %s", age(time.Since(c.ProvedAt)), stamp(c.Expires))
		}
		rows = append(rows, []string{string(c.Cluster), "this host", a.proved(c.Here), "now", guard})
		for _, v := range c.Vantages {
			heard := "never"
			if v.AgeMS >= 0 {
				heard = age(time.Duration(v.AgeMS)*time.Millisecond) + " ago"
			}
			rows = append(rows, []string{string(c.Cluster), fmt.Sprintf("%s in %s", v.Vantage, v.Domain), a.proved(v.Identity && v.Vote == failover.Up), heard, guard})
		}
	}
	a.table(w, []string{"CLUSTER", "SEEN FROM", "PROVED", "WHEN", "GUARD MOVE-PROOF"}, rows)
	fmt.Fprintln(w)
	a.findings(w, r.Findings)
}

func (a *app) proved(yes bool) string {
	if yes {
		return a.verdictWord(doctor.OK, "yes")
	}
	return a.verdictWord(doctor.Fail, "no")
}
