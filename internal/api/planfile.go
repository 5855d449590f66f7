package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// ApplyRequest is the body that carries a saved plan out.
type ApplyRequest struct {
	By   string        `json:"by"`
	Plan failover.Plan `json:"plan"`
}

// ParsePlan reads a plan file. It refuses unknown fields, other versions and
// anything that no plan of ours contains; whether the world is still the one
// of the plan is for the controller to say.
func ParsePlan(data []byte) (failover.Plan, error) {
	var p failover.Plan
	if len(data) > MaxBody {
		return p, fmt.Errorf("plan: larger than %d bytes", MaxBody)
	}
	if err := decodeStrict(data, &p); err != nil {
		return failover.Plan{}, fmt.Errorf("plan: %w", err)
	}
	if err := checkPlan(p); err != nil {
		return failover.Plan{}, err
	}
	return p, nil
}

func checkPlan(p failover.Plan) error {
	switch {
	case p.Version > failover.PlanVersion:
		return fmt.Errorf("plan: version %d was written by a newer pointsman; this one reads %d", p.Version, failover.PlanVersion)
	case p.Version != failover.PlanVersion:
		return fmt.Errorf("plan: version %d is not %d", p.Version, failover.PlanVersion)
	case p.Kind != failover.Failover && p.Kind != failover.Switchover:
		return fmt.Errorf("plan: kind %.40q is neither failover nor switchover", string(p.Kind))
	case p.Instance == "" || p.From == "" || p.To == "" || p.From == p.To:
		return fmt.Errorf("plan: instance, from and to must be named, and from is not to")
	case p.Hash == "":
		return fmt.Errorf("plan: it has no hash of the world that it was made for")
	case p.AcceptLoss != nil && (*p.AcceptLoss > maxSpan || *p.AcceptLoss == 0):
		return fmt.Errorf("plan: accept_loss_ns %d is out of range", *p.AcceptLoss)
	}
	for _, f := range []struct{ name, text string }{
		{"instance", string(p.Instance)}, {"from", string(p.From)}, {"to", string(p.To)}, {"hash", p.Hash},
	} {
		if err := checkText(f.name, f.text, maxWord); err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	if err := checkText("reason", p.Reason, maxText); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if err := checkOverride(p.Override, Guards, p.Reason); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	return nil
}

// command is what carrying a plan out asks of the core: the same move, for
// the same world or not at all.
func (r ApplyRequest) command() (failover.Command, error) {
	if err := checkPlan(r.Plan); err != nil {
		return failover.Command{}, err
	}
	if err := checkText("by", r.By, maxWord); err != nil {
		return failover.Command{}, err
	}
	if strings.TrimSpace(r.By) == "" {
		return failover.Command{}, fmt.Errorf("by: say who asks")
	}
	p := r.Plan
	epoch := p.Epoch
	var loss *time.Duration
	if p.AcceptLoss != nil {
		l := *p.AcceptLoss
		loss = &l
	}
	return failover.Command{
		Do: failover.Verb(p.Kind), By: r.By, To: p.To, Reason: p.Reason,
		Override: slices.Clone(p.Override), AcceptLoss: loss, AcceptPinned: p.AcceptPinned, OrFailover: p.OrFailover,
		ExpectActive: p.From, ExpectEpoch: &epoch, PlanHash: p.Hash,
	}, nil
}
