package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/notify"
)

// news of these kinds want nobody: what they tell of is over, or can wait.
var calmKinds = []string{pageLost, pagePaused, "hook", "pause-stands", "ttl", string(failover.Settled), string(failover.Unwound), string(failover.Yielded)}

// pageMessage makes a message of a call for people and of how the instance
// stands.
func pageMessage(v *failover.View, pg failover.Page, now time.Time) notify.Message {
	m := notify.Message{
		Instance: v.Instance, Kind: pg.Kind, State: notify.Fire, At: now, Since: sinceOf(v, pg.Kind), Title: verdicts(v), Text: pg.Text,
		Evidence: sights(v), Commands: commandsFor(v, pg.Kind), Unknown: unknowns(v), Shadow: v.Mode == failover.ModeShadow.String(),
	}
	switch {
	case slices.Contains(calmKinds, pg.Kind):
		m.State, m.Change = notify.Info, !slices.Contains([]string{"pause-stands", "ttl", pagePaused}, pg.Kind)
	case pg.Kind == "operation" && v.Op != nil && !v.Op.Auto:
		// A person began it, and knows.
		m.State, m.Change = notify.Info, true
	}
	if v.Exposure.Applies && v.Exposure.Known {
		m.Loss = &notify.Loss{Bound: v.Exposure.Bound, Rows: v.Exposure.Rows}
	}
	m.Will, m.WillTo, m.WillAt = willOf(v, pg.Kind)
	return m
}

// overMessage ends an incident.
func overMessage(v *failover.View, now time.Time) notify.Message {
	return notify.Message{
		Instance: v.Instance, Kind: notify.Over, State: notify.Resolve, At: now, Title: verdicts(v),
		Text:     fmt.Sprintf("%s serves and nothing waits for a person", v.Active),
		Evidence: sights(v), Commands: []string{"pointsman history " + string(v.Instance)}, Shadow: v.Mode == failover.ModeShadow.String(),
	}
}

// well says that nothing of an instance calls for a person.
func well(v *failover.View) bool {
	if !v.Leading || v.Phase != failover.PhaseIdle || v.Op != nil || v.Wants != "" {
		return false
	}
	if waiting(v) != nil {
		return false
	}
	for _, c := range v.Clusters {
		if c.Name == v.Active && c.Verdict != failover.Up {
			return false
		}
	}
	if !v.AuthFault.IsZero() {
		return false
	}
	for _, c := range v.Clusters {
		if c.Fault != failover.FaultNone {
			return false
		}
	}
	for _, s := range v.Stops {
		switch s.Kind {
		case failover.StopDrift, failover.StopLockout, failover.StopUnacknowledged:
			return false
		}
	}
	for _, n := range v.Names {
		if n.SeenErr != "" || n.Published != nil && !n.Published.Agree {
			return false
		}
	}
	return true
}

// waiting is the proposal that people may answer, or nil.
func waiting(v *failover.View) *failover.Proposal {
	if p := v.Proposal; p != nil && p.Denied == nil && !p.Expired {
		return p
	}
	return nil
}

// verdicts says in a few words how the clusters stand.
func verdicts(v *failover.View) string {
	var out []string
	for _, c := range v.Clusters {
		out = append(out, fmt.Sprintf("%s %s", c.Name, c.Verdict))
	}
	return strings.Join(out, ", ")
}

func sights(v *failover.View) []notify.Sight {
	var out []notify.Sight
	for _, c := range v.Clusters {
		for _, x := range c.Votes {
			why := x.Reason
			if x.AgeMS >= 0 {
				why = strings.TrimPrefix(why+", "+age(time.Duration(x.AgeMS)*time.Millisecond)+" ago", ", ")
			}
			out = append(out, notify.Sight{Cluster: string(c.Name), Vantage: string(x.Vantage), Domain: string(x.Domain), Vote: x.Vote, Reason: why})
		}
	}
	return out
}

// sinceOf is when the trouble began that a kind of call is about.
func sinceOf(v *failover.View, kind string) time.Time {
	for _, s := range v.Stops {
		if kind == string(s.Kind) || kind == "pause-stands" && s.Kind == failover.StopPause {
			return s.Since
		}
	}
	if v.Op != nil {
		if kind == "held" && v.Op.Held != nil {
			return v.Op.Held.Since
		}
		if !v.Op.FaultAt.IsZero() {
			return v.Op.FaultAt
		}
		return v.Op.Since
	}
	switch kind {
	case "auth-fault":
		return v.AuthFault
	case "both-down", "proposal", "refused":
		for _, c := range v.Clusters {
			if c.Name == v.Active {
				return c.DownSince
			}
		}
	}
	return time.Time{}
}

// willOf is what the controller does by itself from here.
func willOf(v *failover.View, kind string) (will, to string, at time.Time) {
	switch {
	case v.Op != nil && v.Op.Unwind:
		return notify.WillUnwind, string(v.Op.From), deadline(v)
	case v.Op != nil:
		return notify.WillContinue, string(v.Op.To), deadline(v)
	case waiting(v) != nil:
		return notify.WillExpire, string(v.Proposal.To), v.Proposal.Expires
	case kind == "write-path", kind == "move", kind == "ttl", kind == "slow-reads":
		return notify.WillRetry, "", time.Time{}
	case v.Wants != "" && v.Mode == failover.ModeAuto.String() && v.Auto == failover.AutoAuto && kind != "both-down":
		return notify.WillFailover, string(v.Standby), time.Time{}
	}
	return "", "", time.Time{}
}

// deadline is the end of the step in hand; zero while it is held.
func deadline(v *failover.View) time.Time {
	if v.Step == nil || v.Op.Held != nil {
		return time.Time{}
	}
	return v.Step.Deadline
}

// commandsFor are the two commands for whoever was woken.
func commandsFor(v *failover.View, kind string) []string {
	i := string(v.Instance)
	explain := "pointsman explain " + i
	switch kind {
	case pageGap, pageResync:
		return []string{"pointsman replication status " + i, "pointsman replication resync " + i + " --reason TEXT"}
	case pageRefused:
		return []string{"pointsman replication status " + i, "pointsman replication dead-letters " + i}
	case pageExposed, pageBare:
		return []string{"pointsman replication status " + i, "pointsman replication tables " + i}
	case pagePaused:
		return []string{"pointsman replication status " + i, "pointsman replication resume " + i}
	case pageLost:
		return []string{"pointsman replication status " + i, "pointsman replication lost " + i}
	}
	switch {
	case kind == "drift":
		return []string{"pointsman adopt " + i, "pointsman restore " + i}
	case waiting(v) != nil:
		return []string{"pointsman approve " + v.Proposal.ID, "pointsman deny " + v.Proposal.ID}
	case kind == "proposal", kind == "proposal-expired":
		return []string{explain, fmt.Sprintf("pointsman failover %s --to %s", i, v.Standby)}
	case kind == "pause-stands":
		return []string{"pointsman status " + i, "pointsman resume " + i}
	case kind == string(failover.Settled), kind == string(failover.Unwound):
		return []string{explain, "pointsman ack " + i}
	case kind == "ledger", kind == "yield", kind == "fault", kind == "config":
		return []string{explain, "pointsman config running"}
	case v.Op != nil:
		return []string{explain, "pointsman abort " + i}
	default:
		return []string{explain, "pointsman pause " + i}
	}
}

// unknowns lists what nobody knows just now.
func unknowns(v *failover.View) []string {
	var out []string
	for _, c := range v.Clusters {
		if c.Verdict == failover.Unknown {
			out = append(out, fmt.Sprintf("whether %s is up: %s", c.Name, c.Why))
		}
		if c.Name != v.Active && c.Proof == nil {
			out = append(out, fmt.Sprintf("whether %s serves clients under their name: it was not proved", c.Name))
		}
	}
	switch {
	case !v.Exposure.Applies:
		out = append(out, "what a move would lose: nothing measures the replication")
	case !v.Exposure.Known:
		out = append(out, "what a move would lose: "+orElse(v.Exposure.Gap, "the replication was not measured lately"))
	}
	return append(out, v.Missing...)
}
