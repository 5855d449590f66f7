package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// Bounds of the parts of a bundle that say how far one could trust it: votes
// for a replay, health reports, the score, and what people were told.
const (
	maxBundledTapes   = 1_000 // the newest
	maxBundledLives   = 500   // the newest
	maxBundledReports = 500   // in the list
	maxBundledNames   = 10    // reports of which the newest is there
)

// longestTape is how long before a moment a tape of it may begin; see
// [failover.Tape].
const longestTape = 24 * time.Hour

// trustParts adds them.
func trustParts(ctx context.Context, b *bundle, c *api.Client, names []failover.InstanceName, q api.Query) {
	votesPart(ctx, b, c, names, q.Since)
	reportsPart(ctx, b, c)
	scorePart(ctx, b, c, names, q.Since)
	part(ctx, b, "notify.json", c.Channels)
}

// votesPart is what a replay needs, as samples of the history: the policies that
// ran and the lives of the controller, however old, and the votes since then. A
// policy is noted once in a life, so the newest page of the history need not
// have it.
func votesPart(ctx context.Context, b *bundle, c *api.Client, names []failover.InstanceName, since time.Time) {
	const name = bundledVotes
	list := func(q api.Query) ([]api.Sample, error) {
		return askedFor(ctx, func(ctx context.Context) ([]api.Sample, error) { return c.History(ctx, q) })
	}
	if len(names) > maxDetailed || names == nil {
		names = []failover.InstanceName{""}
	}
	lives, err := list(api.Query{Kind: recordingKind, Limit: maxBundledLives})
	if err != nil {
		b.miss(name, shortly(err))
		return
	}
	var policies, tapes []api.Sample
	cut := ""
	for _, i := range names {
		ps, err := list(api.Query{Instance: i, Kind: policyKind, Limit: api.MaxPage})
		if err != nil {
			b.miss(name, shortly(err))
			return
		}
		policies = append(policies, newestPolicies(ps)...)
		ts, err := list(api.Query{Instance: i, Kind: ledger.KindVotes, Since: since.Add(-longestTape), Limit: maxBundledTapes})
		if err != nil {
			b.miss(name, shortly(err))
			return
		}
		if len(ts) >= maxBundledTapes {
			cut = fmt.Sprintf("of an instance the newest %d tapes of votes", maxBundledTapes)
		}
		for _, t := range ts {
			var x failover.Tape
			if json.Unmarshal(t.Data, &x) != nil || !x.Until.Before(since) {
				tapes = append(tapes, t) // what cannot be read is for whoever looks
			}
		}
	}
	slices.SortStableFunc(tapes, func(x, y api.Sample) int { return x.At.Compare(y.At) })
	// Without its policy no tape can be played: policies go before tapes.
	policies, left := newestWithin(policies, maxPart/4)
	lives, more := newestWithin(lives, maxPart/8)
	tapes, most := newestWithin(tapes, maxPart/2)
	if n := left + more + most; n > 0 {
		cut = joinWords(cut, fmt.Sprintf("%d older lines left out, for their size", n))
	}
	b.json(name, append(append(policies, lives...), tapes...), cut)
}

// newestPolicies keeps one line of each policy of each instance.
func newestPolicies(ss []api.Sample) []api.Sample {
	seen := map[string]bool{}
	var out []api.Sample
	for _, s := range slices.Backward(ss) {
		var p failover.Policy
		if json.Unmarshal(s.Data, &p) != nil || seen[string(s.Instance)+"/"+p.Expected] {
			continue
		}
		seen[string(s.Instance)+"/"+p.Expected] = true
		out = append(out, s)
	}
	slices.Reverse(out)
	return out
}

// reportsPart is the list of the health reports that are kept, and the newest of
// each name.
func reportsPart(ctx context.Context, b *bundle, c *api.Client) {
	l, err := askedFor(ctx, func(ctx context.Context) (api.ReportList, error) { return c.Reports(ctx, "") })
	if err != nil {
		b.miss("reports.json", shortly(err))
		return
	}
	cut := ""
	if n := len(l.Reports) - maxBundledReports; n > 0 {
		cut = fmt.Sprintf("the newest %d of %d", maxBundledReports, len(l.Reports))
	}
	var newest []string
	seen := map[string]bool{}
	for _, r := range l.Reports {
		if !seen[r.Name] && r.Trouble == "" {
			seen[r.Name] = true
			newest = append(newest, r.ID)
		}
	}
	l.Reports = l.Reports[:min(len(l.Reports), maxBundledReports)]
	b.json("reports.json", l, cut)
	for i, id := range newest {
		if i == maxBundledNames {
			b.miss("reports", fmt.Sprintf("the newest of %d names more than %d", len(newest)-i, maxBundledNames))
			return
		}
		name := "reports/" + id + ".json"
		r, err := askedFor(ctx, func(ctx context.Context) (api.ReportText, error) { return c.Report(ctx, id, "json") })
		switch {
		case err != nil:
			b.miss(name, shortly(err))
		case len(r.Text) > maxPart:
			b.miss(name, fmt.Sprintf("it has %d bytes, and a part has at most %d", len(r.Text), maxPart))
		default:
			b.add(name, indented(r.Text), "")
		}
	}
}

// indented is JSON over lines, unless it is too large for a part that way.
func indented(text string) []byte {
	var out bytes.Buffer
	if json.Indent(&out, []byte(text), "", " ") != nil || out.Len() > maxPart {
		return []byte(text)
	}
	return out.Bytes()
}

// scorePart is what 'shadow score' says since then.
func scorePart(ctx context.Context, b *bundle, c *api.Client, names []failover.InstanceName, since time.Time) {
	const name = "shadow-score.json"
	var of []string
	for _, n := range names {
		of = append(of, string(n))
	}
	if len(of) > maxDetailed {
		of = nil // of all
	}
	now := time.Now()
	book, err := askedFor(ctx, func(ctx context.Context) (shadowBook, error) { return ledgerOfShadow(ctx, c, of, since, now) })
	if err != nil {
		b.miss(name, shortly(err))
		return
	}
	v := scoreView{Score: failover.ScoreOf(book.episodes, book.gaps, since, now), Odd: book.odd, Instances: perInstance(&book, since, now)}
	var left, more, rest int
	v.Judged, left = newestWithin(v.Judged, maxPart/2)
	v.Gaps, more = newestWithin(v.Gaps, maxPart/8)
	v.Instances, rest = newestWithin(v.Instances, maxPart/8)
	cut := ""
	if n := left + more + rest; n > 0 {
		cut = fmt.Sprintf("%d older incidents, %d gaps and %d instances left out, for their size; all are counted", left, more, rest)
	}
	b.json(name, v, cut)
}
