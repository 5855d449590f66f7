package main

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"pointsman/internal/lab"
)

// clusterCommand is what the lab calls itself with to get a cluster in a
// process of its own.
func (a *app) clusterCommand() *cobra.Command {
	var name, listen, manage string
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Run one HTTP cluster with fault knobs (the lab starts these itself)",
		Long: `Run one HTTP cluster with fault knobs. The lab starts two of these itself; by
hand it is of use in tests of other things.

It answers / and /healthz with the header X-Cluster. The management API has
GET and PUT /knobs and GET /requests and wants the bearer token that stands in
POINTSMAN_LAB_TOKEN.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&name, "name", "", "the `NAME` that it answers in X-Cluster")
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
		c, err := lab.NewCluster(cfg)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "cluster %s on %s, management on %s\n", name, cfg.Listen, c.ManageAddr())
		return c.Run(cmd.Context())
	}
	return cmd
}
