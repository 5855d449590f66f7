package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Hooks runs hooks by hand. Safe for concurrent use.
type Hooks interface {
	// TestHooks runs the hooks that the request names as if an operation stood
	// before them, or had ended. The error means that none was run.
	TestHooks(ctx context.Context, v failover.View, q HookTestRequest) (HookTestReply, error)
}

// HookTestRequest is the body of POST /v1/instances/{instance}/hooks/test.
type HookTestRequest struct {
	By     string            `json:"by"`
	Reason string            `json:"reason,omitempty"`
	When   failover.HookWhen `json:"when"`
	Kind   failover.OpKind   `json:"kind"`
	Hooks  []string          `json:"hooks,omitempty"` // names; none: all
}

// HookTestReply is what the hooks said.
type HookTestReply struct {
	Instance failover.InstanceName `json:"instance"`
	When     failover.HookWhen     `json:"when"`
	Kind     failover.OpKind       `json:"kind"`
	Results  []failover.HookResult `json:"results"`
}

// hookTestTimeout is what all hooks of an instance may take: the longest are
// those that run after an operation.
const hookTestTimeout = failover.MaxHooks*failover.MaxPostTimeout + time.Minute

func (r *HookTestRequest) check() error {
	if err := checkText("by", r.By, maxWord); err != nil {
		return err
	}
	if err := checkText("reason", r.Reason, maxText); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(r.By) == "":
		return errors.New("by: say who asks")
	case r.When != failover.HookPre && r.When != failover.HookPost:
		return fmt.Errorf("when: %.40q is neither pre nor post", string(r.When))
	case r.Kind != failover.Failover && r.Kind != failover.Switchover:
		return fmt.Errorf("kind: %.40q is neither failover nor switchover", string(r.Kind))
	case len(r.Hooks) > failover.MaxHooks:
		return fmt.Errorf("hooks: more than %d names", failover.MaxHooks)
	}
	for _, h := range r.Hooks {
		if err := checkText("hooks", h, maxWord); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) postHookTest(w http.ResponseWriter, r *http.Request, v failover.View) {
	var req HookTestRequest
	status, err := readBody(w, r, &req)
	if err == nil {
		status, err = http.StatusBadRequest, req.check()
	}
	if err != nil {
		writeProblem(w, Problem{Status: status, Message: err.Error()})
		return
	}
	if s.cfg.Hooks == nil {
		writeProblem(w, Problem{Status: http.StatusConflict, Message: "this controller runs no hooks", Hint: "it was started with --shadow, which does nothing outside"})
		return
	}
	req.By = signed(r, req.By)
	ctx, cancel := context.WithTimeout(r.Context(), hookTestTimeout)
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(hookTestTimeout + stopTimeout))
	rep, err := s.cfg.Hooks.TestHooks(ctx, v, req)
	if err != nil {
		writeProblem(w, Problem{Status: http.StatusNotFound, Message: fmt.Sprintf("test the hooks of %s: %v", v.Instance, err), Hint: "pointsman config validate -v lists what is configured"})
		return
	}
	writeJSON(w, http.StatusOK, rep)
}

// TestHooks runs hooks of an instance by hand.
func (c *Client) TestHooks(ctx context.Context, name failover.InstanceName, q HookTestRequest) (HookTestReply, error) {
	ctx, cancel := context.WithTimeout(ctx, hookTestTimeout+5*time.Second)
	defer cancel()
	var rep HookTestReply
	return rep, c.callLong(ctx, http.MethodPost, instancePath(name, "/hooks/test"), q, &rep)
}
