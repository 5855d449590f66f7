package api

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"pointsman/internal/failover"
)

// CommandRequest is the body of a command and of a request for a plan. It is
// a type of its own, so that a field of the core that is not meant for people
// (the reference, the id of the operation) can never be set from outside.
type CommandRequest struct {
	Verb failover.Verb `json:"verb"`
	By   string        `json:"by"` // who asks, for the audit

	To           failover.ClusterName `json:"to,omitempty"`
	Reason       string               `json:"reason,omitempty"`
	Override     []failover.Guard     `json:"override,omitempty"`
	AcceptLoss   string               `json:"accept_loss,omitempty"` // a duration, or "unknown"
	AcceptPinned bool                 `json:"accept_pinned,omitempty"`
	OrFailover   bool                 `json:"or_failover,omitempty"`
	ExpectActive failover.ClusterName `json:"expect_active,omitempty"`
	ExpectEpoch  *uint64              `json:"expect_epoch,omitempty"`
	Mode         failover.Mode        `json:"mode,omitempty"`   // arm
	Change       string               `json:"change,omitempty"` // arm: number of the change request
	For          string               `json:"for,omitempty"`    // pause: a duration; absent is until resumed
	Seen         failover.Target      `json:"seen,omitempty"`   // adopt, restore: the value that the person saw
	TermBase     uint64               `json:"term_base,omitempty"`
	Proposal     string               `json:"proposal,omitempty"` // approve, deny
}

// LossUnknown is the word for accepting a loss that nobody can bound.
const LossUnknown = "unknown"

const (
	maxWord = 253  // bytes of a name: the longest DNS name (RFC 1035 section 2.3.4)
	maxText = 1000 // bytes of a reason
)

var verbs = []failover.Verb{
	failover.DoSwitchover, failover.DoFailover, failover.DoAbort, failover.DoPause, failover.DoResume,
	failover.DoAck, failover.DoAdopt, failover.DoRestore, failover.DoArm, failover.DoDisarm,
	failover.DoApprove, failover.DoDeny, failover.DoRefill,
}

// Guards lists every guard that a person may try to override by name; which
// of them may be is for the core to say. For messages and completion.
var Guards = failover.Guards()

// Command checks the form of a request and turns it into a command of the
// core. Whether it makes sense for the instance is the core's to say.
func (r CommandRequest) Command() (failover.Command, error) {
	c := failover.Command{
		Do: r.Verb, By: r.By, To: r.To, Reason: r.Reason, Override: r.Override,
		AcceptPinned: r.AcceptPinned, OrFailover: r.OrFailover,
		ExpectActive: r.ExpectActive, ExpectEpoch: r.ExpectEpoch,
		Mode: r.Mode, Change: r.Change, Seen: r.Seen, TermBase: r.TermBase, Proposal: r.Proposal,
	}
	if !slices.Contains(verbs, r.Verb) {
		return c, fmt.Errorf("verb %.40q is none of %v", r.Verb, verbs)
	}
	for _, f := range []struct{ name, text string }{
		{"by", r.By},
		{"to", string(r.To)},
		{"expect_active", string(r.ExpectActive)},
		{"change", r.Change},
		{"seen", string(r.Seen)},
		{"proposal", r.Proposal},
	} {
		if err := checkText(f.name, f.text, maxWord); err != nil {
			return c, err
		}
	}
	if err := checkText("reason", r.Reason, maxText); err != nil {
		return c, err
	}
	if strings.TrimSpace(r.By) == "" {
		return c, fmt.Errorf("by: say who asks")
	}
	known := Guards
	if r.Verb == failover.DoRefill {
		known = []failover.Guard{failover.GuardUnsynced}
	}
	if err := checkOverride(r.Override, known, r.Reason); err != nil {
		return c, err
	}
	if r.Verb == failover.DoArm && !slices.Contains(failover.ArmedModes, r.Mode) {
		return c, fmt.Errorf("mode %.40q is none of %v", string(r.Mode), failover.ArmedModes)
	}
	if (r.Verb == failover.DoApprove || r.Verb == failover.DoDeny) && r.Proposal == "" {
		return c, fmt.Errorf("proposal: say which one")
	}
	if r.AcceptLoss == LossUnknown {
		loss := time.Duration(-1)
		c.AcceptLoss = &loss
	} else if r.AcceptLoss != "" {
		loss, err := positive("accept_loss", r.AcceptLoss)
		if err != nil {
			return c, err
		}
		c.AcceptLoss = &loss
	}
	if r.For != "" {
		d, err := positive("for", r.For)
		if err != nil {
			return c, err
		}
		c.For = d
	}
	return c, nil
}

// maxSpan keeps durations from people far from overflow.
const maxSpan = 366 * 24 * time.Hour

func positive(field, s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > maxSpan {
		return 0, fmt.Errorf("%s: %.40q is not a duration above 0 and up to %s, such as 40s or 2h", field, s, maxSpan)
	}
	return d, nil
}

func checkOverride(gs, known []failover.Guard, reason string) error {
	if len(gs) == 0 {
		return nil
	}
	if strings.TrimSpace(reason) == "" {
		return fmt.Errorf("override: a reason is needed")
	}
	for i, g := range gs {
		if !slices.Contains(known, g) {
			return fmt.Errorf("override: there is no guard %.40q", string(g))
		}
		if slices.Contains(gs[:i], g) {
			return fmt.Errorf("override: %s is named twice", g)
		}
	}
	return nil
}

// checkText refuses what could forge a line in a log or on a terminal.
func checkText(field, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%s: longer than %d bytes", field, most)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return fmt.Errorf("%s: has a character that cannot be printed", field)
		}
	}
	return nil
}

// Reply is the answer to a command.
type Reply struct {
	Code    failover.ReplyCode `json:"code"`
	Guard   failover.Guard     `json:"guard,omitempty"` // of a refusal; the first when several refuse
	Text    string             `json:"text"`
	Hint    string             `json:"hint,omitempty"`
	OpID    string             `json:"op_id,omitempty"` // of the operation that was started
	Refused []failover.Refusal `json:"refused,omitempty"`
}

func replyOf(r failover.Reply) Reply {
	return Reply{Code: r.Code, Guard: r.Guard, Text: r.Text, Hint: r.Hint, OpID: r.OpID, Refused: r.Refused}
}
