package main

import (
	"fmt"
	"time"

	"pointsman/internal/config"
	"pointsman/internal/failover"
)

const auditKind = "reload"

// maxDiffLines bounds the changes in one entry of the audit.
const maxDiffLines = 30

// auditOf are the entries of one reload: one of the process, with everything
// that is no instance's, and one of each instance that changes, with its diff.
func auditOf(now, next *fitting, changes []config.Change, a attempt) []failover.AuditEntry {
	at := time.Now()
	var own []config.Change
	var order []failover.InstanceName
	by := make(map[failover.InstanceName][]config.Change)
	for _, c := range changes {
		if c.Instance == "" {
			own = append(own, c)
			continue
		}
		if _, ok := by[c.Instance]; !ok {
			order = append(order, c.Instance)
		}
		by[c.Instance] = append(by[c.Instance], c)
	}
	text := fmt.Sprintf("%s is taken (%s)", next.cfg.File, a.By)
	if a.Reason != "" {
		text += ": " + a.Reason
	}
	if len(order) > 0 {
		text += fmt.Sprintf("; %d of %d instances change", len(order), len(next.cfg.Instances))
	}
	if len(own) > 0 {
		text += "; " + diffText(own, maxDiffLines)
	}
	out := []failover.AuditEntry{{
		At: at, Kind: auditKind, By: a.By, Text: text, Before: now.cfg.Hash, After: next.cfg.Hash,
	}}
	was, is := expected(now.cfg), expected(next.cfg)
	for _, i := range order {
		out = append(out, failover.AuditEntry{
			At: at, Instance: i, Kind: auditKind, By: a.By, Text: diffText(by[i], maxDiffLines), Before: was[i], After: is[i],
		})
	}
	return out
}

// expected are the hashes of the policies, as the records note them.
func expected(cfg *config.Config) map[failover.InstanceName]string {
	m := make(map[failover.InstanceName]string, len(cfg.Instances))
	for _, i := range cfg.Instances {
		m[i.Policy.Instance] = i.Policy.Expected
	}
	return m
}
