package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// offlineView is what status --offline prints.
type offlineView struct {
	Offline bool              `json:"offline"`
	Ledger  string            `json:"ledger"`
	Written time.Time         `json:"written"`
	Term    uint64            `json:"term"`
	Records []failover.Record `json:"records"`
}

// offline shows what the ledger's file says, without a controller.
func (a *app) offline(ctx context.Context, name string) error {
	if a.config == "" {
		return failed("add -c FILE, the configuration of the controller: it says where the ledger is", "--offline reads a file and was told of none")
	}
	if a.server != "" || a.socket != "" {
		return failed("leave --server and --socket out", "--offline asks nobody")
	}
	ctl, err := config.LoadController(a.config)
	if err != nil {
		return configError(err)
	}
	p, err := ledger.Peek(ctx, ctl.Data)
	if err != nil {
		return peekError(ctl.Data, err)
	}
	v := offlineView{Offline: true, Ledger: p.Path, Written: p.Written, Term: p.Term, Records: p.Records}
	if name != "" {
		v.Records = slices.DeleteFunc(v.Records, func(r failover.Record) bool { return string(r.Instance) != name })
		if len(v.Records) == 0 {
			return failed("pointsman status --offline lists all", "the ledger has no record of %q", name)
		}
	}
	return a.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "OFFLINE  %s, written last %s, term %d: nobody was asked, and what was not committed is not here\n", clean(v.Ledger), stamp(v.Written), v.Term)
		a.offlineTable(w, v.Records)
		if name != "" {
			offlineDetail(w, &v.Records[0])
		}
	})
}

func (a *app) offlineTable(w io.Writer, rs []failover.Record) {
	rows := make([][]string, 0, len(rs))
	for i := range rs {
		r := &rs[i]
		v := failover.View{Phase: failover.PhaseIdle, Op: r.Op, Stops: r.Stops}
		names := make([]string, 0, len(r.Names))
		for _, n := range r.Names {
			names = append(names, fmt.Sprintf("%s CNAME %s", n.Name, n.Value))
		}
		rows = append(rows, []string{string(r.Instance), string(r.Active), r.Mode.String(), clean(doing(v)), stops(v), clean(orElse(strings.Join(names, ", "), "-"))})
	}
	a.table(w, []string{"INSTANCE", "ACTIVE", "MODE", "DOING", "STOPS", "NAMES"}, rows)
}

// offlineDetail says of one record what a person wants to know before doing
// something by hand.
func offlineDetail(w io.Writer, r *failover.Record) {
	fmt.Fprintln(w)
	fmt.Fprintf(w, "record %d, epoch %d, standby %s\n", r.Rev, r.Epoch, r.Standby.State)
	for _, n := range r.Shown() {
		fmt.Fprintf(w, "%s %d IN CNAME %s  (the embedded authority; mark %q)\n", n.Name, n.TTL, n.Value, n.Mark.String())
	}
	for _, n := range r.Names {
		if !n.Embedded {
			fmt.Fprintf(w, "%s %d IN CNAME %s  (provider %s; mark %q)\n", n.Name, n.TTL, n.Value, clean(n.Provider), n.Mark.String())
		}
		if n.Want != nil {
			fmt.Fprintf(w, "  a write was under way to %s with TTL %d (%s): ask the provider which of the two stands\n", n.Want.Value, n.Want.TTL, clean(n.Want.Why))
		}
	}
	for _, s := range r.Stops {
		fmt.Fprintf(w, "stop %s by %s: %s, %s\n", s.Kind, clean(s.By), clean(s.Why), untilWhen(s))
	}
	if o := r.Op; o != nil {
		fmt.Fprintf(w, "operation %s: %s from %s to %s is at %s since %s: %s\n", o.ID, o.Kind, o.From, o.To, stepWords(o), stamp(o.StepSince), clean(o.Reason))
	}
	if l := r.LastOp; l != nil {
		fmt.Fprintf(w, "last operation %s: %s from %s to %s, %s %s: %s\n", l.Op.ID, l.Op.Kind, l.Op.From, l.Op.To, l.Outcome, stamp(l.At), clean(l.Op.Reason))
	}
}

func stepWords(o *failover.Op) string {
	if o.Unwind {
		return string(o.Step) + " (unwinding)"
	}
	return string(o.Step)
}
