package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/healthcheck"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// prepareTime is what one cluster may take to answer, each time it is asked.
const prepareTime = 30 * time.Second

func (a *app) tablestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tablestore",
		Short: "Make the tables that probes of Tablestore clusters use",
		Args:  a.unknownCommand,
		RunE: func(*cobra.Command, []string) error {
			return failed("usage: pointsman tablestore prepare INSTANCE -c FILE --key-file FILE", "what to do is missing")
		},
	}
	cmd.AddCommand(a.tablestorePrepare())
	return cmd
}

// prepareFlags are those of what makes tables.
type prepareFlags struct {
	keyFile string
	keyEnv  bool
	dryRun  bool
	yes     bool
}

func (a *app) tablestorePrepare() *cobra.Command {
	var f prepareFlags
	cmd := &cobra.Command{
		Use:   "prepare INSTANCE -c FILE",
		Short: "Make the tables of the probes, at both clusters, after showing what is missing",
		Long: `Make the tables that probes of a Tablestore instance use, at both clusters: that of
the canary at each, and at each the one that says which cluster it is. Both are
looked at first, and nothing is made where something does not fit. It can be done
again: what is there stays as it is.

It needs an identity of its own, once: ots:DescribeTable and ots:CreateTable on
those tables. The probes never need it. Tables are of one version, kept for ever,
without reserved throughput and without a stream: keep them out of replication.`,
		Example: `  pointsman tablestore prepare orders -c pointsman.yaml --key-file admin.key.json --dry-run
  pointsman tablestore prepare orders -c pointsman.yaml --key-file admin.key.json`,
		Args:              exactly("INSTANCE"),
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.prepareTables(cmd.Context(), args[0], f)
		},
	}
	f.add(cmd)
	a.outputFlag(cmd)
	return cmd
}

func (f *prepareFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "`FILE` of mode 0600: JSON with AccessKeyId, AccessKeySecret and, for STS, SecurityToken")
	cmd.Flags().BoolVar(&f.keyEnv, "key-env", false, "the key is in $ALIBABA_CLOUD_ACCESS_KEY_ID, _SECRET and, for STS, $ALIBABA_CLOUD_SECURITY_TOKEN")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only show what would be made; exit status 2 when something would")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "no question")
}

// preparation is what tablestore prepare prints.
type preparation struct {
	Instance failover.InstanceName `json:"instance"`
	Client   string                `json:"client_name"`
	Tables   []preparedTable       `json:"tables"`
}

// preparedTable is one table at one cluster.
type preparedTable struct {
	Cluster failover.ClusterName `json:"cluster"`
	Address string               `json:"address"`
	Store   string               `json:"tablestore_instance"`
	Table   string               `json:"table"`
	For     string               `json:"for"`
	State   string               `json:"state"` // there, missing, made, none, or wrong
	Why     string               `json:"why,omitempty"`

	target healthcheck.Target
}

const (
	tableThere   = "there"
	tableMissing = "missing"
	tableMade    = "made"
	tableNone    = "none" // as it should be
	tableWrong   = "wrong"
)

func (a *app) prepareTables(ctx context.Context, name string, f prepareFlags) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	inst, err := instanceNamed(cfg, name)
	if err != nil {
		return err
	}
	key, err := a.oneShotKey(f)
	if err != nil {
		return err
	}
	p, err := lookAtTables(ctx, cfg, inst, key)
	if err != nil {
		return err
	}
	if wrong := p.of(tableWrong); len(wrong) > 0 {
		if err := a.print(p, func(w io.Writer) { a.preparationTable(w, p) }); err != nil {
			return err
		}
		return failed("look at what answers at these addresses, and at who made the table", "nothing was made: %s at %s: %s", wrong[0].Table, wrong[0].Cluster, wrong[0].Why)
	}
	missing := p.of(tableMissing)
	if f.dryRun || len(missing) == 0 {
		if err := a.print(p, func(w io.Writer) { a.preparationTable(w, p) }); err != nil || len(missing) == 0 {
			return err
		}
		return errStatus(exitChanges)
	}
	a.preparationTable(a.stderr, p)
	v := failover.View{Instance: inst.Policy.Instance}
	for _, n := range inst.Policy.Names {
		v.Names = append(v.Names, failover.NameView{NameRecord: failover.NameRecord{Name: n.Name}})
	}
	if err := a.confirm(f.yes, v, fmt.Sprintf("prepare %s: %d tables are made", inst.Policy.Instance, len(missing))); err != nil {
		return err
	}
	for i := range p.Tables {
		t := &p.Tables[i]
		if t.State != tableMissing {
			continue
		}
		err := withTables(ctx, cfg, t.target, key, func(x *healthcheck.Tables) error { return x.Create(t.Table) })
		if errors.Is(err, healthcheck.ErrTableExists) {
			t.State = tableThere // since a moment ago: whose it is shows below
			continue
		}
		if err != nil {
			return failed(rightsHint(err), "make %s at %s: %w", t.Table, t.Cluster, err)
		}
		t.State = tableMade
	}
	if err := a.print(p, func(w io.Writer) { a.preparationTable(w, p) }); err != nil {
		return err
	}
	// Two addresses of one store look well until something was written there.
	after, err := lookAtTables(ctx, cfg, inst, key)
	if err != nil {
		return failed("run it again: what was made stays", "look again: %w", err)
	}
	if wrong := after.of(tableWrong); len(wrong) > 0 {
		return failed("the two addresses lead to one store: a move would change nothing. Mend the addresses, then drop the tables that are at the wrong side",
			"%s is at %s now: %s", wrong[0].Table, wrong[0].Cluster, wrong[0].Why)
	}
	return nil
}

// of lists the tables in a state.
func (p *preparation) of(state string) []preparedTable {
	var out []preparedTable
	for _, t := range p.Tables {
		if t.State == state {
			out = append(out, t)
		}
	}
	return out
}

// oneShotText is the access key of the identity that may make tables, in the
// vendor's form, and where it was found.
func (a *app) oneShotText(f prepareFlags) (text []byte, from, hint string, err error) {
	const give = "give a key that may create tables: --key-file FILE or --key-env"
	if (f.keyFile != "") == f.keyEnv {
		return nil, "", "", failed(give, "exactly one of --key-file and --key-env is needed")
	}
	if f.keyFile != "" {
		text, err := config.ReadSecretFile(f.keyFile)
		if err != nil {
			return nil, "", "", failed(orElse(hintOf(err), give), "%w", err)
		}
		return text, f.keyFile, `it looks like {"AccessKeyId": "...", "AccessKeySecret": "..."}`, nil
	}
	text, err = json.Marshal(map[string]string{
		"AccessKeyId": a.env("ALIBABA_CLOUD_ACCESS_KEY_ID"), "AccessKeySecret": a.env("ALIBABA_CLOUD_ACCESS_KEY_SECRET"), "SecurityToken": a.env("ALIBABA_CLOUD_SECURITY_TOKEN"),
	})
	return text, "the environment", "set $ALIBABA_CLOUD_ACCESS_KEY_ID and $ALIBABA_CLOUD_ACCESS_KEY_SECRET", err
}

func (a *app) oneShotKey(f prepareFlags) (healthcheck.AccessKey, error) {
	text, from, hint, err := a.oneShotText(f)
	if err != nil {
		return healthcheck.AccessKey{}, err
	}
	key, err := healthcheck.ParseAccessKey(text)
	if err != nil {
		return key, failed(hint, "%s: %w", from, err)
	}
	return key, nil
}

// withTables asks one cluster.
func withTables(ctx context.Context, cfg *config.Config, t healthcheck.Target, key healthcheck.AccessKey, do func(*healthcheck.Tables) error) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	x, err := healthcheck.OpenTables(ctx, t, healthcheck.ProbeConfig{Vantage: "prepare", Allow: cfg.Self.Allow}, key)
	if err != nil {
		return err
	}
	defer x.Close()
	return do(x)
}

// lookAtTables describes every table of the probes at both clusters.
func lookAtTables(ctx context.Context, cfg *config.Config, inst config.Instance, key healthcheck.AccessKey) (*preparation, error) {
	p := &preparation{Instance: inst.Policy.Instance}
	for _, t := range inst.Targets {
		names, ok := t.OwnTables()
		if !ok {
			return nil, failed("write a check of the type tablestore: docs/config.md", "%s has %w", inst.Policy.Instance, healthcheck.ErrNoTablestore)
		}
		p.Client = strings.TrimSuffix(t.Name, ".")
		err := withTables(ctx, cfg, t, key, func(x *healthcheck.Tables) error {
			for _, want := range []struct {
				table, purpose string
				here           bool
			}{
				{names.Canary, "rows of the canary", true},
				{names.Own, fmt.Sprintf("says that this is %s", t.Cluster), true},
				{names.Other, "says that it is the other cluster", false},
			} {
				if want.table == "" {
					continue
				}
				s, err := x.Describe(want.table)
				if err != nil {
					return fmt.Errorf("describe %s: %w", want.table, err)
				}
				row := preparedTable{Cluster: t.Cluster, Address: t.Address, Store: t.Place.Instance, Table: want.table, For: want.purpose, target: t}
				row.State, row.Why = tableState(s, want.here, want.table == names.Canary)
				p.Tables = append(p.Tables, row)
			}
			return nil
		})
		if err != nil {
			return nil, failed(rightsHint(err), "%s at %s: %w", t.Cluster, t.Address, err)
		}
	}
	return p, nil
}

// tableState says how a table stands to what it should be.
func tableState(s healthcheck.TableShape, here, canary bool) (state, why string) {
	switch {
	case here && !s.Exists:
		return tableMissing, ""
	case !here && !s.Exists:
		return tableNone, ""
	case !here:
		return tableWrong, "it must exist only at the other cluster"
	case canary && s.Fits() != "":
		return tableWrong, s.Fits()
	}
	return tableThere, ""
}

func rightsHint(err error) string {
	switch f := healthcheck.FaultOf(err); {
	case f.Auth():
		return "the key needs ots:DescribeTable and ots:CreateTable on the tables pointsman_*, at both clusters"
	case f == failover.FaultSetup:
		return "clusters.NAME.tablestore.instance must be the instance that clients name"
	case errors.Is(err, context.DeadlineExceeded):
		return "is the address right, and reachable from here? pointsman doctor -c FILE"
	}
	return "pointsman doctor -c FILE looks at every part of the way"
}

func (a *app) preparationTable(w io.Writer, p *preparation) {
	fmt.Fprintf(w, "%s under the clients' name %s\n", clean(string(p.Instance)), clean(p.Client))
	var rows [][]string
	for _, t := range p.Tables {
		rows = append(rows, []string{string(t.Cluster), t.Address, t.Store, t.Table, t.State, orElse(t.Why, t.For)})
	}
	a.table(w, []string{"CLUSTER", "ADDRESS", "INSTANCE", "TABLE", "STATE", "WHAT IT IS FOR"}, rows)
}
