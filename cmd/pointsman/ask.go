package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// moveFlags are the flags that make a request for a move, or for its plan.
type moveFlags struct {
	by, reason   string
	to, from     string
	override     []string
	acceptLoss   string
	acceptPinned bool
	orFailover   bool
	expectActive string
	expectEpoch  uint64
}

func (m *moveFlags) register(a *app, cmd *cobra.Command, kind failover.OpKind) {
	f := cmd.Flags()
	f.StringVar(&m.to, "to", "", "`CLUSTER` to move to")
	f.StringVar(&m.reason, "reason", "", "why, for the audit")
	f.StringVar(&m.by, "by", "", "who asks, for the audit (default user@host)")
	f.StringArrayVar(&m.override, "override", nil, "`GUARD` to go past, may be repeated; needs --reason")
	f.StringVar(&m.expectActive, "expect-active", "", "refuse unless this `CLUSTER` is the active one")
	f.Uint64Var(&m.expectEpoch, "expect-epoch", 0, "refuse unless the instance is at this `EPOCH`")
	f.BoolVar(&m.acceptPinned, "accept-pinned-clients", false, "accept that pooled clients stay on the old cluster")
	if kind == failover.Switchover {
		f.StringVar(&m.from, "from", "", "refuse unless this `CLUSTER` is the active one")
		f.BoolVar(&m.orFailover, "or-failover", false, "go on as a failover when the old cluster goes down meanwhile")
	} else {
		f.StringVar(&m.acceptLoss, "accept-loss", "", "accept the loss of at most this `DURATION` of writes, or \"unknown\"")
	}
	for _, name := range []string{"to", "from", "expect-active"} {
		if f.Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, a.completeClusters)
		}
	}
	_ = cmd.RegisterFlagCompletionFunc("override", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return guardNames(), cobra.ShellCompDirectiveNoFileComp
	})
}

// guardNames lists the guards that may be overridden.
func guardNames() []string {
	var names []string
	for _, g := range api.Guards {
		if failover.Overridable(g) {
			names = append(names, string(g))
		}
	}
	return names
}

func checkGuard(name string) error {
	if slices.Contains(guardNames(), name) {
		return nil
	}
	hint := "these can be: " + strings.Join(guardNames(), ", ")
	if slices.Contains(api.Guards, failover.Guard(name)) {
		return failed(hint, "--override: guard %s cannot be overridden", name)
	}
	if n := nearest(name, guardNames()); n != "" {
		hint = fmt.Sprintf("did you mean --override %s?", n)
	}
	return failed(hint, "--override: there is no guard %q", name)
}

// request checks what can be checked here and builds the body.
func (m *moveFlags) request(a *app, cmd *cobra.Command, verb failover.Verb) (api.CommandRequest, error) {
	r := api.CommandRequest{
		Verb: verb, By: orElse(m.by, a.who()), To: failover.ClusterName(m.to), Reason: m.reason,
		AcceptLoss: m.acceptLoss, AcceptPinned: m.acceptPinned, OrFailover: m.orFailover,
		ExpectActive: failover.ClusterName(orElse(m.expectActive, m.from)),
	}
	if m.from != "" && m.expectActive != "" && m.from != m.expectActive {
		return r, failed("give one of them", "--from %s and --expect-active %s do not agree", m.from, m.expectActive)
	}
	if cmd.Flags().Changed("expect-epoch") {
		r.ExpectEpoch = &m.expectEpoch
	}
	for _, name := range m.override {
		if err := checkGuard(name); err != nil {
			return r, err
		}
		r.Override = append(r.Override, failover.Guard(name))
	}
	if len(r.Override) > 0 && strings.TrimSpace(m.reason) == "" {
		return r, failed("add --reason TEXT: it goes into the audit", "--override needs a reason")
	}
	if _, err := r.Command(); err != nil {
		return r, failed(fmt.Sprintf("see '%s --help'", cmd.CommandPath()), "%w", err)
	}
	return r, nil
}
