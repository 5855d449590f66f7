package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) shadowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shadow",
		Short: "Judge what automation would have done by what really happened",
		Long: `Judge what automation would have done by what really happened.

An episode begins when a failure domain says down of the active cluster. Of each,
and of every instance whatever its mode, the controller keeps when the name would
have moved, on which evidence and against which guards, and what became of it.`,
		Example: `  pointsman shadow score --since 30d
  pointsman shadow list orders
  pointsman shadow show orders-e20260131T020000.000`,
		Args: a.unknownCommand,
		RunE: func(*cobra.Command, []string) error {
			return failed("usage: pointsman shadow score, shadow list, or shadow show EPISODE", "what to show of the shadow ledger is missing")
		},
	}
	cmd.AddCommand(a.shadowScore(), a.shadowList(), a.shadowShow())
	return cmd
}

// sinceTime reads a --since, which may also count days: a shadow is watched for
// weeks. An empty one is no bound.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 3650 {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, failed("write it as 30d, 2h, or 2026-01-31T02:00:00+08:00", "--since: %q is neither a duration nor a time with zone", text)
	}
	return t, nil
}

func (a *app) sinceFlag(cmd *cobra.Command, since *string) {
	cmd.Flags().StringVar(since, "since", "30d", "only what began later: a `DURATION` such as 30d or 2h, or an RFC 3339 time with zone")
}

// scoreView is what shadow score prints.
type scoreView struct {
	failover.Score
	Instances []instanceScore `json:"instances"`
	Odd       int             `json:"odd,omitempty"` // lines that could not be read
}

type instanceScore struct {
	Instance failover.InstanceName      `json:"instance"`
	Counts   map[failover.Judgement]int `json:"counts"`
	Gained   time.Duration              `json:"gained_ns"`
}

func (a *app) shadowScore() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "score [INSTANCE…]",
		Short: "Count what was needed, needless and missed, by stated rules",
		Long: `Count what was needed, needless and missed, by rules that are printed with it.

What the data do not cover (the controller was down, lines were dropped, vantages
were silent) is listed, and never counted as calm.`,
		Example:           "  pointsman shadow score orders --since 30d\n  pointsman shadow score -o json",
		ValidArgsFunction: a.completeMoreInstances,
	}
	a.sinceFlag(cmd, &since)
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now()
		from, err := sinceTime(since, now)
		if err != nil {
			return err
		}
		b, err := a.ledgerOfShadow(cmd.Context(), args, from, now)
		if err != nil {
			return err
		}
		v := scoreView{Score: failover.ScoreOf(b.episodes, b.gaps, from, now), Odd: b.odd}
		v.Instances = perInstance(&b, from, now)
		return a.print(v, func(w io.Writer) { a.scoreText(w, &v) })
	}
	return cmd
}

// shadowBook is what the API knows of a stretch of time.
type shadowBook struct {
	episodes []failover.Episode
	gaps     []failover.Gap
	odd      int // lines that could not be read
}

func (a *app) ledgerOfShadow(ctx context.Context, names []string, since, now time.Time) (shadowBook, error) {
	c, err := a.client()
	if err != nil {
		return shadowBook{}, err
	}
	return ledgerOfShadow(ctx, c, names, since, now)
}

func ledgerOfShadow(ctx context.Context, c *api.Client, names []string, since, now time.Time) (shadowBook, error) {
	var b shadowBook
	if len(names) == 0 {
		names = []string{""}
	}
	var is []failover.InstanceName
	for _, n := range names {
		q := api.Query{Kind: episodeKind, Instance: failover.InstanceName(n), Since: since}
		ss, err := allOf(ctx, c, q)
		if err != nil {
			return b, nearInstance(err, n)
		}
		es, odd := decodeAll[failover.Episode](ss)
		b.episodes, b.odd = append(b.episodes, es...), b.odd+odd
		if n != "" {
			is = append(is, q.Instance)
		}
	}
	lives, err := allOf(ctx, c, api.Query{Kind: recordingKind})
	if err != nil {
		return b, err
	}
	silent, err := allOf(ctx, c, api.Query{Kind: silenceKind})
	if err != nil {
		return b, err
	}
	rs, odd := decodeAll[failover.Recording](lives)
	sl, more := decodeAll[failover.Silence](silent)
	b.odd += odd + more
	b.gaps = failover.Uncovered(rs, sl, is, since, now)
	return b, nil
}

// allOf gets page after page.
func allOf(ctx context.Context, c *api.Client, q api.Query) ([]api.Sample, error) {
	q.Limit = api.MaxPage
	var out []api.Sample
	for {
		ss, err := c.History(ctx, q)
		if err != nil {
			return nil, err
		}
		out = append(slices.Clone(ss), out...)
		if len(ss) < q.Limit {
			return out, nil
		}
		q.Below = ss[0].Place()
	}
}

// decodeAll reads the data of samples, and counts those that are something else.
func decodeAll[T any](ss []api.Sample) (out []T, odd int) {
	for _, s := range ss {
		var v T
		if json.Unmarshal(s.Data, &v) != nil {
			odd++
			continue
		}
		out = append(out, v)
	}
	return out, odd
}

func perInstance(b *shadowBook, since, now time.Time) []instanceScore {
	by := map[failover.InstanceName][]failover.Episode{}
	for _, e := range b.episodes {
		by[e.Instance] = append(by[e.Instance], e)
	}
	out := make([]instanceScore, 0, len(by))
	for i, es := range by {
		s := failover.ScoreOf(es, b.gaps, since, now)
		out = append(out, instanceScore{i, s.Counts, s.Gained})
	}
	slices.SortFunc(out, func(a, b instanceScore) int { return cmp.Compare(a.Instance, b.Instance) })
	return out
}

// scoreLine is the score in one line.
func scoreLine(counts map[failover.Judgement]int, gained time.Duration) string {
	line := fmt.Sprintf("needed %d, needless %d, missed %d, near misses %d; %s gained",
		counts[failover.Needed], counts[failover.Needless], counts[failover.Missed], counts[failover.NearMiss], age(gained))
	var rest []string
	for _, j := range []failover.Judgement{failover.Stopped, failover.Pending, failover.Unjudged} {
		if n := counts[j]; n > 0 {
			rest = append(rest, fmt.Sprintf("%s %d", j, n))
		}
	}
	if n := counts[failover.Blip]; n > 0 {
		rest = append(rest, fmt.Sprintf("blips %d", n))
	}
	if len(rest) > 0 {
		line += " (" + strings.Join(rest, ", ") + ")"
	}
	return line
}

func (a *app) scoreText(w io.Writer, v *scoreView) {
	fmt.Fprintf(w, "%s to %s: %s\n", stamp(v.Since), stamp(v.Until), scoreLine(v.Counts, v.Gained))
	if len(v.Instances) > 1 {
		for _, i := range v.Instances {
			fmt.Fprintf(w, "  %s: %s\n", i.Instance, scoreLine(i.Counts, i.Gained))
		}
	}
	if len(v.Judged) > 0 {
		fmt.Fprintln(w)
		a.episodeTable(w, v.Judged)
	}
	fmt.Fprintln(w)
	gapsText(w, v.Gaps)
	if v.Odd > 0 {
		fmt.Fprintf(w, "%d lines of the history cannot be read: pointsman history shows them\n", v.Odd)
	}
	fmt.Fprintln(w, "judged by the first of these that holds:")
	for _, r := range v.Rules {
		fmt.Fprintf(w, "  %s: %s\n", r.Judgement, r.When)
		if r.Reason != "" {
			fmt.Fprintf(w, "    because %s\n", r.Reason)
		}
	}
}

func gapsText(w io.Writer, gaps []failover.Gap) {
	if len(gaps) == 0 {
		fmt.Fprintln(w, "the data cover all of this time")
		return
	}
	fmt.Fprintln(w, "not covered, and not calm:")
	for _, g := range gaps {
		to := stamp(g.To)
		if g.To.IsZero() {
			to = "now"
		}
		fmt.Fprintf(w, "  %s to %s: %s\n", stamp(g.From), to, clean(g.Why))
	}
}

func (a *app) episodeTable(w io.Writer, js []failover.Judged) {
	rows := make([][]string, 0, len(js))
	for _, j := range js {
		gained := "-"
		if j.Gained > 0 {
			gained = age(j.Gained)
		}
		rows = append(rows, []string{stamp(j.Began), j.ID, j.Mode, fmt.Sprintf("%s -> %s", j.Active, j.Standby), stamp(j.WouldAt), string(j.Judgement), gained, j.Why})
	}
	a.table(w, []string{"BEGAN", "EPISODE", "MODE", "WAY", "WOULD MOVE", "JUDGEMENT", "GAINED", "WHY"}, rows)
}

func (a *app) shadowList() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:               "list [INSTANCE…]",
		Short:             "List the episodes with their judgements, blips included",
		Example:           "  pointsman shadow list orders --since 7d",
		ValidArgsFunction: a.completeMoreInstances,
	}
	a.sinceFlag(cmd, &since)
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now()
		from, err := sinceTime(since, now)
		if err != nil {
			return err
		}
		b, err := a.ledgerOfShadow(cmd.Context(), args, from, now)
		if err != nil {
			return err
		}
		js := []failover.Judged{}
		for _, e := range failover.Newest(b.episodes) {
			js = append(js, failover.Judge(e, failover.LookedTo(b.gaps, now)))
		}
		return a.print(js, func(w io.Writer) {
			a.episodeTable(w, js)
			if b.odd > 0 {
				fmt.Fprintf(w, "%d lines of the history cannot be read: pointsman history shows them\n", b.odd)
			}
		})
	}
	return cmd
}

func (a *app) shadowShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show EPISODE",
		Short:   "Show one episode with its evidence and every guard that spoke",
		Example: "  pointsman shadow show orders-e20260131T020000.000",
		Args:    exactly("EPISODE"),
	}
	cmd.ValidArgsFunction = a.completeEpisodes
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now()
		b, err := a.ledgerOfShadow(cmd.Context(), nil, time.Time{}, now)
		if err != nil {
			return err
		}
		var ids []string
		for _, e := range failover.Newest(b.episodes) {
			if e.ID == args[0] {
				j := failover.Judge(e, failover.LookedTo(b.gaps, now))
				return a.print(j, func(w io.Writer) { episodeText(w, &j) })
			}
			ids = append(ids, e.ID)
		}
		hint := "pointsman shadow list shows those that are kept"
		if n := nearest(args[0], ids); n != "" {
			hint = fmt.Sprintf("did you mean %s?", n)
		}
		return failed(hint, "there is no episode %q", args[0])
	}
	return cmd
}

// completeMoreInstances offers instances for every argument.
func (a *app) completeMoreInstances(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	names, d := a.completeInstances(cmd, nil, word)
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), d
}

// completeEpisodes offers the newest episodes.
func (a *app) completeEpisodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	ss, err := c.History(ctx, api.Query{Kind: episodeKind, Limit: api.DefaultPage})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	es, _ := decodeAll[failover.Episode](ss)
	var ids []string
	for _, e := range failover.Newest(es) {
		ids = append(ids, e.ID)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
