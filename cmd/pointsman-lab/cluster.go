package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"pointsman/internal/lab"
)

// clusterCommand is what the lab calls itself with to get a cluster in a
// process of its own.
func (a *app) clusterCommand() *cobra.Command {
	var name, listen, manage, kind, data string
	var instances []string
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Run one cluster with fault knobs (the lab starts these itself)",
		Long: `Run one cluster with fault knobs. The lab starts two of these itself; by hand it
is of use in tests of other things.

A web server (--kind http) answers / and /healthz with the header X-Cluster. A
Tablestore (--kind tablestore) has in each of its instances the tables orders,
pointsman_canary and pointsman_is_NAME, keeps what it holds in --data, and takes
the access keys of ` + lab.KeysVariable + `, a JSON list of {"id", "secret"}.

The management API has GET and PUT /knobs and GET /requests and wants the bearer
token that stands in POINTSMAN_LAB_TOKEN.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&name, "name", "", "the `NAME` by which it is known")
	cmd.Flags().StringVar(&kind, "kind", string(lab.HTTP), "what it is: http or tablestore")
	cmd.Flags().StringVar(&data, "data", "", "`FOLDER` of what a Tablestore holds")
	cmd.Flags().StringSliceVar(&instances, "instance", nil, "an instance of a Tablestore, by its `NAME` (may be given several times)")
	cmd.Flags().StringVar(&listen, "listen", "", "`ADDRESS` for clients, ip:port")
	cmd.Flags().StringVar(&manage, "manage", "127.0.0.1:0", "`ADDRESS` of the management API, ip:port")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg := lab.ClusterConfig{Name: name, Token: os.Getenv("POINTSMAN_LAB_TOKEN")}
		var err error
		if cfg.Listen, err = netip.ParseAddrPort(listen); err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		if cfg.Manage, err = netip.ParseAddrPort(manage); err != nil {
			return fmt.Errorf("--manage: %w", err)
		}
		switch k, err := lab.ParseKind(kind); {
		case err != nil:
			return fmt.Errorf("--kind: %w", err)
		case k == lab.Tablestore:
			cfg.Tables = &lab.TablesConfig{Data: data, Instances: instances}
			if err := json.Unmarshal([]byte(os.Getenv(lab.KeysVariable)), &cfg.Tables.Keys); err != nil {
				return fmt.Errorf("%s: it is no JSON list of access keys", lab.KeysVariable) // what it is stays secret
			}
		}
		c, err := lab.NewCluster(cfg)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "cluster %s on %s, management on %s\n", name, cfg.Listen, c.ManageAddr())
		return c.Run(cmd.Context())
	}
	return cmd
}
