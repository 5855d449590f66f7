package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/internal/hook"
)

// minHookSecret is the least length of the secret that signs requests: of
// HMAC-SHA256 shorter ones can be guessed.
const minHookSecret = 16

// hookKind is the kind of a sample of the history.
const hookKind = "hook"

// readHookSecrets reads each file once, however many hooks name it.
func readHookSecrets(cfg *config.Config, s *secrets) []error {
	var faults []error
	s.hooks = make(map[string][]byte)
	for _, i := range cfg.Instances {
		for _, h := range i.Hooks {
			if _, known := s.hooks[h.SecretFile]; known || h.SecretFile == "" {
				continue
			}
			secret, err := cfg.ReadSecret(h.SecretFile)
			if err == nil && len(secret) < minHookSecret {
				err = fmt.Errorf("%s: shorter than %d bytes", h.SecretFile, minHookSecret)
				secret = nil
			}
			if err != nil {
				hint := "make one by: (umask 077; openssl rand -base64 32 > " + h.SecretFile + ")"
				faults = append(faults, failed(orElse(hintOf(err), hint), "hook %s: %w", h.Name, err))
			}
			s.hooks[h.SecretFile] = secret
		}
	}
	return faults
}

// hooksOf is what the hooks run with. One whose secret could not be read is
// left out, and so has no verdict.
func hooksOf(cfg *config.Config, s *secrets) hook.Config {
	c := hook.Config{
		Controller: cfg.Controller.Name, Hooks: make(map[failover.InstanceName][]hook.Def),
		Program:   healthcheck.CommandFile,
		Forbidden: func(a netip.Addr) error { return healthcheck.Forbidden(a, nil) },
	}
	for _, i := range cfg.Instances {
		for _, h := range i.Hooks {
			d := h.Def
			if d.URL != "" {
				if d.Secret = s.hooks[h.SecretFile]; len(d.Secret) == 0 {
					continue
				}
			}
			c.Hooks[i.Policy.Instance] = append(c.Hooks[i.Policy.Instance], d)
		}
	}
	return c
}

// hooked runs hooks for the controller and tells the history.
type hooked struct{ p *process }

func (h hooked) Run(ctx context.Context, i failover.InstanceName, a failover.RunHooks) ([]failover.HookResult, error) {
	res, err := h.p.hooks.Run(ctx, i, a)
	if err == nil {
		h.p.remember(i, hookKind, hookNoteOf(a, res, false))
	}
	return res, err
}

// hookNote is a run of hooks in the measured history.
type hookNote struct {
	Text    string                `json:"text"`
	When    failover.HookWhen     `json:"when"`
	Op      string                `json:"op"`
	Attempt int                   `json:"attempt"`
	Test    bool                  `json:"test,omitempty"`
	Results []failover.HookResult `json:"results"`
}

func hookNoteOf(a failover.RunHooks, res []failover.HookResult, test bool) hookNote {
	n := hookNote{When: a.When, Op: a.Op.ID, Attempt: a.Attempt, Test: test, Results: res}
	var parts []string
	for _, r := range res {
		part := fmt.Sprintf("%s: %s after %s", r.Name, r.Verdict, age(r.Took))
		if r.Reason != "" {
			part += " (" + r.Reason + ")"
		}
		parts = append(parts, part)
	}
	of := "of " + a.Op.ID
	if test {
		of = "tried by hand"
	}
	n.Text = fmt.Sprintf("%s-hooks %s, attempt %d: %s", a.When, of, a.Attempt, strings.Join(parts, "; "))
	return n
}

// hookTrial answers hook test (api.Hooks).
type hookTrial struct{ p *process }

func (t hookTrial) TestHooks(ctx context.Context, v failover.View, q api.HookTestRequest) (api.HookTestReply, error) {
	var run failover.RunHooks
	for _, d := range t.p.now.Load().hooks.Hooks[v.Instance] {
		if d.When != q.When || len(d.On) > 0 && !slices.Contains(d.On, q.Kind) {
			continue
		}
		if len(q.Hooks) == 0 || slices.Contains(q.Hooks, d.Name) {
			run.Hooks = append(run.Hooks, d.Hook)
		}
	}
	rep := api.HookTestReply{Instance: v.Instance, When: q.When, Kind: q.Kind}
	if len(run.Hooks) == 0 {
		return rep, errors.New("the config has no such hook of this instance")
	}
	now := time.Now()
	run.When, run.Attempt = q.When, 1
	run.Op = failover.HookOp{
		ID: fmt.Sprintf("%s-test-%d", v.Instance, now.Unix()), Kind: q.Kind, From: v.Active, To: v.Standby,
		By: q.By, Reason: orElse(q.Reason, "hook test"), Since: now,
	}
	if q.When == failover.HookPost {
		run.Op.Outcome, run.Op.EndedAt = failover.Settled, now
	}
	res, err := t.p.hooks.Test(ctx, v.Instance, run)
	if err != nil {
		return rep, err
	}
	rep.Results = res
	t.p.remember(v.Instance, hookKind, hookNoteOf(run, res, true))
	t.p.log.Info("hooks were tried by hand", "instance", v.Instance, "when", q.When, "by", q.By)
	return rep, nil
}
