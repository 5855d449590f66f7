package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) namesCommand() *cobra.Command {
	var last bool
	cmd := &cobra.Command{
		Use:   "names INSTANCE",
		Short: "Show what every authority of an instance's names answers, address by address",
		Long: `Show what every authority of an instance's names answers, address by address:
the value, TTL and AA over UDP and TCP, which machine it was (NSID) and the
serial of its zone; then whether parent and zone name the same servers, and
where the targets lead. The controller asks, from where it stands: of anycast
and load-balanced servers it sees one machine at a time.

An address that does not show the record is named with its serial. A name
counts as published when every address shows it in two rounds one after the
other. With --last nothing is asked: it shows the newest round.`,
		ValidArgsFunction: a.completeInstances,
		Args:              exactly("INSTANCE"),
	}
	cmd.Flags().BoolVar(&last, "last", false, "show the newest round and ask nobody")
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		all, err := c.Names(cmd.Context(), failover.InstanceName(args[0]), !last)
		if err != nil {
			return nearInstance(err, args[0])
		}
		return a.print(all, func(w io.Writer) { a.matrices(w, all) })
	}
	return cmd
}

func (a *app) matrices(w io.Writer, all []api.NameMatrix) {
	if len(all) == 0 {
		fmt.Fprintln(w, "there is no record yet")
	}
	for i, m := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		a.matrix(w, &m)
	}
}

func (a *app) matrix(w io.Writer, m *api.NameMatrix) {
	fmt.Fprintf(w, "%s CNAME %s, TTL %d s, by %s in zone %s\n", clean(string(m.Name)), clean(string(m.Want)), m.TTL, clean(m.Provider), clean(string(m.Zone)))
	if len(m.Authorities) == 0 {
		fmt.Fprintln(w, "no authority was asked yet")
	} else {
		fmt.Fprintf(w, "%d of %d answers agree, asked from %s\n\n", m.Agree, m.Asked, clean(m.Vantage))
		a.sightsTable(w, m.Authorities)
	}
	if m.ByHand != "" {
		fmt.Fprintf(w, "a write is waited for; by hand: %s\n", clean(m.ByHand))
	}
	for _, s := range m.Stragglers {
		fmt.Fprintf(w, "%s %s\n", a.paint(text.FgYellow, "behind:"), clean(s))
	}
	for _, f := range append(m.Delegation, m.Chain...) {
		verdict := f.Verdict
		if verdict != "ok" {
			verdict = a.paint(text.FgYellow, verdict)
		}
		fmt.Fprintf(w, "%s %s: %s\n", verdict, f.ID, clean(f.Evidence))
		if f.Fix != "" {
			fmt.Fprintf(w, "  fix: %s\n", clean(f.Fix))
		}
	}
}

func (a *app) sightsTable(w io.Writer, all []api.AuthoritySight) {
	var rows [][]string
	for _, s := range all {
		verdict := "agrees"
		if !s.Agree {
			verdict = a.paint(text.FgYellow, s.Why)
		}
		aa, serial, ttl := "no", "-", "-"
		if s.AA {
			aa = "yes"
		}
		if s.Serial != 0 {
			serial = fmt.Sprint(s.Serial)
		}
		if s.Value != "" {
			ttl = fmt.Sprintf("%ds", s.TTL)
		}
		rows = append(rows, []string{
			s.Address, strings.ToUpper(s.Net), orElse(string(s.Value), "-"), ttl, aa, orElse(s.Rcode, "-"), serial, orElse(s.NSID, "-"), fmt.Sprintf("%dms", s.TookMS), verdict,
		})
	}
	a.table(w, []string{"AUTHORITY", "OVER", "VALUE", "TTL", "AA", "RCODE", "SERIAL", "NSID", "TOOK", "STATE"}, rows)
}

// movedWords is the bound of the last move for status: one line for people.
func movedWords(v failover.View) []string {
	m := v.MovedBy
	if m == nil {
		return nil
	}
	out := []string{m.Words()}
	for _, t := range m.Terms {
		is := age(t.Is)
		if t.Unbounded {
			is = "no bound"
		}
		out = append(out, fmt.Sprintf("  %s: %s (%s)", t.Term, is, t.Note))
	}
	if len(m.Verified) > 0 {
		out = append(out, fmt.Sprintf("  verified from %s at %s", m.Vantage, strings.Join(m.Verified, ", ")))
	}
	return append(out, "  "+m.Remark)
}
