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

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// watchDefault is the least time between two pictures of status -w.
const watchDefault = time.Second

// statusMost is from how many instances on status lists only those that need a
// look, and of these no more.
const statusMost = 100

func (a *app) statusCommand() *cobra.Command {
	var watch string
	var all, sum, offline bool
	cmd := &cobra.Command{
		Use:   "status [INSTANCE]",
		Short: "Show what every instance is doing, or one in detail",
		Long: `Show what every instance is doing, or one in detail.

With -w the picture is renewed after every change, at most once per interval
(default 1s): status -w, status -w 5s, status orders -w 200ms.

With more than 100 instances the table has a line for each only with --all;
otherwise it says how many are well and lists those that need a look. JSON and
YAML have all of them, or with --summary the numbers alone. With more than 500
instances -w shows those that need a look.

With --offline nobody is asked: it shows the last commit in the ledger's file
(controller.data of -c FILE), also while no controller runs.`,
		ValidArgsFunction: a.completeInstances,
	}
	cmd.Flags().StringVarP(&watch, "watch", "w", "", "go on showing changes, at most one per `interval`")
	cmd.Flags().Lookup("watch").NoOptDefVal = watchDefault.String()
	cmd.Flags().BoolVar(&all, "all", false, "a line for each instance, however many there are")
	cmd.Flags().BoolVar(&sum, "summary", false, "only how many instances are doing what")
	cmd.Flags().BoolVar(&offline, "offline", false, "read the ledger's file and ask nobody")
	a.outputFlag(cmd)
	cmd.Args = func(_ *cobra.Command, args []string) error {
		// The value of an optional flag is parsed as an argument: -w 5s.
		return atMost(2)(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		interval, args, err := watchInterval(watch, args)
		if err != nil {
			return err
		}
		if err := atMost(1)(cmd, args); err != nil {
			return err
		}
		name := ""
		if len(args) == 1 {
			name = args[0]
		}
		if offline {
			if watch != "" || sum || all {
				return failed("leave them out", "--offline goes with none of --watch, --summary and --all")
			}
			return a.offline(cmd.Context(), name)
		}
		if watch != "" {
			return a.watchStatus(cmd.Context(), name, interval)
		}
		switch {
		case sum && (all || name != ""):
			return failed("give one of them", "--summary is about all instances and names none")
		case sum:
			return a.summary(cmd.Context())
		case all || name != "" || a.output.String() != string(outputTable):
			return a.status(cmd.Context(), name)
		default:
			return a.overview(cmd.Context())
		}
	}
	return cmd
}

func (a *app) status(ctx context.Context, name string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if name != "" {
		v, err := c.View(ctx, failover.InstanceName(name))
		if err != nil {
			return nearInstance(err, name)
		}
		secondaries, err := c.Secondaries(ctx)
		if err != nil {
			return err
		}
		sv := statusViews([]failover.View{v}, secondaries, configOf(ctx, c))[0]
		sv.DNS, _ = c.Names(ctx, v.Instance, false) // an older controller has none
		sv.Replication = carriedOf(ctx, c, &v)
		return a.print(sv, func(w io.Writer) { a.statusTable(w, []failover.View{v}); a.statusDetail(w, sv) })
	}
	vs, err := c.Views(ctx)
	if err != nil {
		return err
	}
	secondaries, err := c.Secondaries(ctx)
	if err != nil {
		return err
	}
	st := configOf(ctx, c)
	return a.print(statusViews(vs, secondaries, st), func(w io.Writer) {
		if line := configBanner(st); line != "" {
			fmt.Fprintln(w, clean(line))
		}
		a.statusTable(w, vs)
		a.writeSecondaries(w, secondaries)
	})
}

// watchStatus shows a picture after each change. On a terminal the picture
// is drawn in place; elsewhere pictures follow one another, JSON as one line each.
func (a *app) watchStatus(ctx context.Context, name string, interval time.Duration) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	err = c.Watch(ctx, failover.InstanceName(name), func(vs []failover.View) error {
		s := &api.Summary{}
		if name == "" && a.output.String() == string(outputTable) {
			// An older controller has none, and shows every instance.
			if sum, err := c.Summary(ctx); err == nil && sum.Instances > api.MaxViews {
				s = &sum
			}
		}
		secondaries, err := c.Secondaries(ctx)
		if err != nil {
			return err
		}
		var carried *api.ReplicationStatus
		if name != "" && len(vs) == 1 {
			carried = carriedOf(ctx, c, &vs[0])
		}
		if err := a.picture(vs, s, secondaries, carried, name != "", configOf(ctx, c)); err != nil {
			return err
		}
		// Not reading holds back the stream: the next picture is the newest.
		select {
		case <-time.After(interval):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if errors.Is(err, context.Canceled) {
		return nil // a person ended it
	}
	return nearInstance(err, name)
}

// picture shows the views; a summary of more than they are goes before them.
func (a *app) picture(vs []failover.View, s *api.Summary, secondaries []api.Secondary, carried *api.ReplicationStatus, detail bool, st api.ConfigState) error {
	whole := statusViews(vs, secondaries, st)
	if carried != nil {
		whole[0].Replication = carried
	}
	if a.output == outputJSON {
		data, err := json.Marshal(utc(whole))
		if err != nil {
			return fmt.Errorf("marshal output: %w", err)
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", data)
		return err
	}
	if a.output == outputYAML {
		if _, err := fmt.Fprintln(a.stdout, "---"); err != nil {
			return err
		}
	} else if a.stdoutTTY {
		if _, err := io.WriteString(a.stdout, "\x1b[H\x1b[2J"); err != nil {
			return err
		}
	}
	return a.print(whole, func(w io.Writer) {
		if banner := configBanner(st); banner != "" {
			fmt.Fprintln(w, clean(banner))
		}
		if s.Instances > 0 {
			writeSummary(w, s)
			a.statusRows(w, vs[:min(len(vs), statusMost)])
		} else {
			a.statusTable(w, vs)
		}
		if detail && len(vs) == 1 {
			a.statusDetail(w, whole[0])
		} else {
			a.writeSecondaries(w, secondaries)
		}
		if !a.stdoutTTY {
			fmt.Fprintln(w)
		}
	})
}

func (a *app) statusTable(w io.Writer, vs []failover.View) {
	if len(vs) > statusMost { // a banner of each would hide everything
		s := api.NewSummary(time.Time{})
		for i := range vs {
			s.Add(&vs[i])
		}
		writeSummary(w, s)
	} else {
		for _, v := range vs {
			for _, line := range banners(v) {
				fmt.Fprintln(w, clean(line))
			}
		}
	}
	a.statusRows(w, vs)
}

func (a *app) statusRows(w io.Writer, vs []failover.View) {
	rows := make([][]string, 0, len(vs))
	for _, v := range vs {
		var clusters []string
		for _, c := range v.Clusters {
			clusters = append(clusters, fmt.Sprintf("%s %s", c.Name, a.vote(c.Verdict)))
		}
		rows = append(rows, []string{
			string(v.Instance), orElse(string(v.Active), "-"), orElse(strings.Join(clusters, ", "), "-"),
			v.Mode, doing(v), stops(v), votesAge(v),
		})
	}
	a.table(w, []string{"INSTANCE", "ACTIVE", "CLUSTERS", "MODE", "DOING", "STOPS", "AGE"}, rows)
}

// banners says what keeps automation from acting, above everything else.
func banners(v failover.View) []string {
	var lines []string
	if v.Mode == failover.ModeShadow.String() {
		lines = append(lines, fmt.Sprintf("SHADOW  %s: everything is decided, nothing is done", v.Instance))
	}
	for _, s := range v.Stops {
		if s.Kind == failover.StopPause {
			lines = append(lines, fmt.Sprintf("PAUSED  %s: by %s: %s, %s", v.Instance, s.By, s.Why, until(s.Until)))
		}
	}
	for _, s := range v.Stops {
		if s.Kind == failover.StopFreeze {
			lines = append(lines, fmt.Sprintf("FROZEN  %s: by %s: %s, %s", v.Instance, s.By, s.Why, until(s.Until)))
		}
	}
	if pr := v.Proposal; pr != nil && pr.Waits() {
		lines = append(lines, fmt.Sprintf("PROPOSED  %s: %s", v.Instance, pr.Words(time.Now())))
	}
	if !v.Leading {
		lines = append(lines, fmt.Sprintf("NOT LEADING  %s: %s", v.Instance, orElse(v.LeadWhy, "no reason is known")))
	}
	return lines
}

func until(t time.Time) string {
	if t.IsZero() {
		return "until resumed"
	}
	if left := time.Until(t).Round(time.Second); left > 0 {
		return fmt.Sprintf("until %s, %s left", stamp(t), left)
	}
	return "until " + stamp(t)
}

// untilWhen says what ends a stop.
func untilWhen(s failover.Stop) string {
	if !s.Until.IsZero() {
		return until(s.Until)
	}
	switch s.Kind {
	case failover.StopDrift:
		return "until adopted or restored"
	case failover.StopUnacknowledged:
		return "until acknowledged"
	default:
		return until(s.Until)
	}
}

func doing(v failover.View) string {
	switch {
	case v.Op != nil:
		s := fmt.Sprintf("%s to %s: %s", v.Op.Kind, v.Op.To, v.Op.Step)
		if v.Op.Unwind {
			s += " (unwinding)"
		}
		if v.Op.Held != nil {
			s += " (held: " + v.Op.Held.Why + ")"
		}
		return s
	case v.Phase == failover.PhaseAdopting && v.Waiting != "":
		return fmt.Sprintf("%s: %s", v.Phase, v.Waiting)
	case v.Proposal != nil && v.Proposal.Waits():
		return fmt.Sprintf("%s to %s waits for approval", v.Proposal.Kind, v.Proposal.To)
	default:
		return string(v.Phase)
	}
}

func stops(v failover.View) string {
	var out []string
	for _, s := range v.Stops {
		word := string(s.Kind)
		if left := time.Until(s.Until).Round(time.Second); !s.Until.IsZero() && left > 0 {
			word += fmt.Sprintf(" (%s left)", left)
		}
		out = append(out, word)
	}
	return orElse(strings.Join(out, ", "), "-")
}

// votesAge is the age of the newest report of the vantage that is longest silent.
func votesAge(v failover.View) string {
	oldest, seen := int64(-1), false
	for _, c := range v.Clusters {
		for _, x := range c.Votes {
			if x.AgeMS >= 0 {
				oldest, seen = max(oldest, x.AgeMS), true
			}
		}
	}
	if !seen {
		return "-"
	}
	return age(time.Duration(oldest) * time.Millisecond)
}

// carriedOf is the replication of an instance, nil where there is none or the
// controller cannot say.
func carriedOf(ctx context.Context, c *api.Client, v *failover.View) *api.ReplicationStatus {
	if !v.Exposure.Applies {
		return nil
	}
	st, err := c.Replication(ctx, v.Instance)
	if err != nil {
		return nil
	}
	return &st
}

func (a *app) statusDetail(w io.Writer, v statusView) {
	fmt.Fprintln(w)
	var rows [][]string
	for _, n := range v.Names {
		seen := orElse(string(n.Seen), "-")
		if n.SeenErr != "" {
			seen = "unreadable: " + n.SeenErr
		}
		rows = append(rows, []string{string(n.Name), n.Provider, orElse(string(n.Value), "-"), fmt.Sprintf("%ds", n.TTL), seen, publishedWords(&v, n)})
	}
	writeTable(w, []string{"NAME", "PROVIDER", "RECORD", "TTL", "SEEN", "AUTHORITIES"}, rows)
	a.writeSecondaries(w, v.Secondaries)
	writeList(w, "provider", v.Limits()...)
	fmt.Fprintln(w)
	a.votesTable(w, v.Clusters)
	writeClocks(w, v.Clocks)
	if v.Op != nil {
		fmt.Fprintf(w, "\noperation %s: %s from %s to %s by %s: %s\n", v.Op.ID, v.Op.Kind, v.Op.From, v.Op.To, clean(v.Op.By), clean(v.Op.Reason))
		if s := v.Step; s != nil {
			fmt.Fprintf(w, "  step %s for %s: %s\n", s.Step, age(v.At.Sub(s.Since)), clean(s.Doing))
		}
	}
	if l := v.LastOp; l != nil {
		fmt.Fprintf(w, "\nlast operation %s: %s from %s to %s %s at %s %s\n", l.Op.ID, l.Op.Kind, l.Op.From, l.Op.To, l.Outcome, stamp(l.At), clean(l.Why))
	}
	for _, m := range v.DNS {
		writeList(w, "by hand", m.ByHand)
		for _, s := range m.Stragglers {
			writeList(w, "behind", string(m.Name)+" at "+s)
		}
	}
	if st := v.Replication; st != nil {
		writeList(w, "replication", orElse(st.Idle, st.Doing), exposureLine(st, time.Now()))
		if l := st.Lost; l != nil {
			writeList(w, "lost", lossWords(l))
		}
	}
	writeList(w, "clients", movedWords(v.View)...)
	writeList(w, "wants", v.Wants)
	for _, r := range v.Refused {
		fmt.Fprintf(w, "  refused by %s: %s\n", r.Guard, clean(r.Why))
	}
	writeList(w, "missing", v.Missing...)
	writeList(w, "notice", v.Notices...)
	for _, s := range v.Stops {
		writeList(w, "stop", fmt.Sprintf("%s by %s: %s, %s", s.Kind, s.By, s.Why, untilWhen(s)))
	}
}

func writeList(w io.Writer, word string, lines ...string) {
	for _, l := range lines {
		if l != "" {
			fmt.Fprintf(w, "%s: %s\n", word, clean(l))
		}
	}
}

func (a *app) votesTable(w io.Writer, cs []failover.ClusterView) {
	var rows [][]string
	for _, c := range cs {
		rows = append(rows, []string{string(c.Name), c.Role, a.vote(c.Verdict), "", "", "", c.Why})
		for _, x := range c.Votes {
			at := "never"
			if x.AgeMS >= 0 {
				at = age(time.Duration(x.AgeMS) * time.Millisecond)
			}
			reason := x.Reason
			if len(x.Warnings) > 0 {
				reason = strings.Trim(reason+" (warning: "+strings.Join(x.Warnings, ", ")+")", " ")
			}
			rows = append(rows, []string{"", "", a.vote(x.Vote), string(x.Vantage), string(x.Domain), at, reason})
		}
	}
	a.table(w, []string{"CLUSTER", "ROLE", "VOTE", "VANTAGE", "DOMAIN", "AGE", "WHY"}, rows)
}
