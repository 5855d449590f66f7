package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/dnsctl"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
)

// clientReport is what doctor client prints.
type clientReport struct {
	doctorReport
	Names       []string           `json:"names"`
	Caches      []doctor.Cache     `json:"caches,omitempty"`
	Java        []doctor.JavaFacts `json:"java,omitempty"`
	Connections []doctor.ConnCount `json:"connections,omitempty"`
}

const doctorClientLong = `Look at this host as one on which programs call the names: which resolvers they
ask and what those say, what caches on the way keep (nscd, systemd-resolved,
dnsmasq, unbound, Java), and which programs hold connections to either cluster.
It ends with the time by which they have moved after a move.

The names are those given, or those of the configuration of -c, which also tells
where the clusters are; no controller is asked. As root it sees the processes of
all users. Exit status as for pointsman doctor.`

func (a *app) doctorClientCommand() *cobra.Command {
	var resolvers []string
	cmd := &cobra.Command{
		Use:   "client [NAME…]",
		Short: "On an application host: say what keeps its programs at an old address",
		Long:  doctorClientLong,
		Example: `  pointsman doctor client orders.example.com
  pointsman doctor client -c pointsman.yaml -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			asker, err := a.asker(resolvers)
			if err != nil {
				return err
			}
			names, file, err := a.clientNames(cmd.Context(), args, asker)
			if err != nil {
				return err
			}
			return a.doctorClient(cmd.Context(), asker, names, file)
		},
	}
	cmd.Flags().StringSliceVar(&resolvers, "resolver", nil, "`ADDRESS` of a resolver to ask (default: those of /etc/resolv.conf)")
	a.outputFlag(cmd)
	return cmd
}

// clientTime is what all questions together may take.
const clientTime = 30 * time.Second

func (a *app) doctorClient(ctx context.Context, asker doctor.Asker, names []doctor.ClientName, file string) error {
	ctx, cancel := context.WithTimeout(ctx, clientTime)
	defer cancel()
	facts := doctor.Host{}.SurveyClient(ctx, asker, names, proxies(a.env))
	r := clientReport{doctorReport: newReport(file, doctor.JudgeClient(facts)), Caches: facts.Caches, Java: facts.Java, Connections: facts.Conns}
	for _, n := range names {
		r.Names = append(r.Names, n.Name)
	}
	if err := a.print(r, func(w io.Writer) { a.doctorTable(w, r.doctorReport) }); err != nil {
		return err
	}
	return doctorStatus(r.Verdict)
}

// clientNames are the names to look at: those given, or all of the
// configuration. A configuration tells of clusters and authorities.
func (a *app) clientNames(ctx context.Context, args []string, asker doctor.Asker) ([]doctor.ClientName, string, error) {
	var wanted []string
	for _, arg := range args {
		n, err := dnsctl.ParseName(arg)
		if err != nil {
			return nil, "", failed("give the full name that programs call, such as orders.example.com", "%w", err)
		}
		wanted = append(wanted, string(n))
	}
	known := map[string]doctor.ClientName{}
	var order []string
	cfg, err := a.clientConfig(len(wanted) > 0)
	if err != nil {
		return nil, "", err
	}
	file := ""
	if cfg != nil {
		file = cfg.File
		p := &patient{cfg: cfg, asker: asker}
		for _, i := range cfg.Instances {
			for _, n := range i.Policy.Names {
				c := doctor.ClientName{
					Name: string(n.Name), Zone: string(n.Zone), Authorities: p.authorities(string(n.Zone), n.Provider),
					Clusters: map[string][]netip.Addr{}, Targets: map[string]string{},
				}
				for _, t := range i.Targets {
					c.Targets[string(t.Cluster)] = string(n.Targets[t.Cluster])
					c.Clusters[string(t.Cluster)] = asker.Where(ctx, doctor.NameTarget{Target: string(n.Targets[t.Cluster]), Address: t.Address}, c.Zone, c.Authorities)
				}
				known[c.Name] = c
				order = append(order, c.Name)
			}
			// In delegated mode programs call an alias. What moves, and how long it
			// is kept, is the managed name behind it; the alias says the same before
			// and after.
			for _, al := range i.Aliases {
				known[string(al.Alias)] = known[string(al.To)]
			}
		}
	}
	if len(wanted) == 0 {
		wanted = order
	}
	var out []doctor.ClientName
	for _, n := range wanted {
		c, ok := known[n]
		if !ok {
			c = doctor.ClientName{Name: n}
		}
		if !slices.ContainsFunc(out, func(x doctor.ClientName) bool { return x.Name == c.Name }) {
			out = append(out, c) // a name and its alias are one
		}
	}
	return out, file, nil
}

// clientConfig loads the configuration of -c, or the one that lies here. With
// names on the line it may be missing.
func (a *app) clientConfig(named bool) (*config.Config, error) {
	if a.config == "" {
		_, err := os.Stat(defaultConfig)
		switch {
		case err != nil && named:
			return nil, nil //nolint:nilnil // there is none, and none is needed
		case errors.Is(err, fs.ErrNotExist):
			return nil, failed("pointsman doctor client NAME, or -c FILE", "neither a name nor a configuration is given")
		}
	}
	return a.configAsItIs()
}

// proxies lists the variables that send requests through a proxy, without the
// user and password that a URL may hold.
func proxies(env func(string) string) []string {
	var out []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		v := env(name)
		if v == "" {
			continue
		}
		shown := "set"
		if u, err := url.Parse(v); err == nil && u.Host != "" {
			shown = fmt.Sprintf("%s://%s", u.Scheme, u.Host)
		}
		out = append(out, name+"="+shown)
	}
	if no := orElse(env("NO_PROXY"), env("no_proxy")); no != "" && len(out) > 0 {
		out = append(out, "NO_PROXY="+strings.ToValidUTF8(no, "?"))
	}
	return out
}
