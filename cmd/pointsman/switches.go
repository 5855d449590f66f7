package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// switchLine is one finished operation with the time that it took, by phase.
type switchLine struct {
	At       time.Time             `json:"at"`
	Instance failover.InstanceName `json:"instance"`
	ID       string                `json:"id"`
	Kind     failover.OpKind       `json:"kind"`
	From     failover.ClusterName  `json:"from"`
	To       failover.ClusterName  `json:"to"`
	Auto     bool                  `json:"auto"`
	Outcome  failover.Outcome      `json:"outcome"`
	Why      string                `json:"why,omitempty"`
	RTO      time.Duration         `json:"rto_ns,omitempty"` // missing where the name never moved
	Slowest  string                `json:"slowest"`
	Phases   []failover.PhaseTime  `json:"phases"`
	Place    int64                 `json:"place"` // for --below

	By        string              `json:"by"` // who asked, and who approved: what auditors file
	Change    string              `json:"change,omitempty"`
	Approvals []failover.Approval `json:"approvals,omitempty"`
}

// switches lists finished operations, the time of each split by phase.
func (a *app) switches(ctx context.Context, q api.Query) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	q.Kind = outcomeKind
	ss, err := c.History(ctx, q)
	if err != nil {
		return nearInstance(err, string(q.Instance))
	}
	lines := make([]switchLine, 0, len(ss))
	odd := 0
	for _, s := range ss {
		l, ok := switchOf(s)
		if !ok {
			odd++
			continue
		}
		lines = append(lines, l)
	}
	return a.print(lines, func(w io.Writer) {
		rows := make([][]string, 0, len(lines))
		for _, l := range lines {
			rto := "-"
			if l.RTO > 0 {
				rto = took(l.RTO)
			}
			rows = append(rows, []string{
				stamp(l.At), string(l.Instance), fmt.Sprintf("%s %s", l.Kind, l.ID), fmt.Sprintf("%s -> %s", l.From, l.To),
				string(l.Outcome), rto, orElse(l.Slowest, "-"), phaseWords(l.Phases),
			})
		}
		a.table(w, []string{"AT", "INSTANCE", "OPERATION", "WAY", "OUTCOME", "RTO", "SLOWEST", "PHASES"}, rows)
		if odd > 0 {
			fmt.Fprintf(w, "%d lines of the history cannot be read as operations: pointsman history shows them\n", odd)
		}
		pageBefore(w, ss, q)
	})
}

// outcomeKind is the kind of the samples that finished operations leave.
const outcomeKind = "outcome"

func switchOf(s api.Sample) (switchLine, bool) {
	var sum failover.OpSummary
	if json.Unmarshal(s.Data, &sum) != nil || sum.Op.ID == "" {
		return switchLine{}, false
	}
	o := &sum.Op
	l := switchLine{
		By: o.By, Change: o.Change, Approvals: o.Approvals,
		At: sum.At, Instance: s.Instance, ID: o.ID, Kind: o.Kind, From: o.From, To: o.To, Auto: o.Auto, Outcome: sum.Outcome, Why: sum.Why,
		Phases: sum.Phases(), Place: s.ID,
	}
	l.Slowest = failover.Slowest(l.Phases).Phase
	l.RTO, _ = sum.RTO()
	return l, true
}

func phaseWords(ps []failover.PhaseTime) string {
	out := make([]string, 0, len(ps))
	for _, p := range ps {
		out = append(out, fmt.Sprintf("%s %s", p.Phase, took(p.Took)))
	}
	return strings.Join(out, ", ")
}

// took writes a measured time; a short one with a digit more than age does.
func took(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return age(d)
}
