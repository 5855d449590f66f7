package config

import (
	"fmt"
	"slices"

	"pointsman/internal/failover"
)

// roles are those of internal/api, which this room may not import.
var roles = []string{"viewer", "approver", "operator"}

const (
	maxPrincipals = 200
	maxApprovals  = 5 // people, besides the one who asks
)

// principals takes the people and programs with tokens of their own.
func (c *compiler) principals(doc *controllerDoc, ctl *Controller) {
	if len(doc.Principals) > maxPrincipals {
		c.fault(doc.Principals[maxPrincipals].pos, "put a proxy with single sign-on in front", "%d principals are written, at most %d are taken", len(doc.Principals), maxPrincipals)
		return
	}
	names, files := map[string]pos{}, map[string]pos{}
	if doc.TokenFile.set {
		files[c.path(doc.TokenFile.v)] = doc.TokenFile.at
	}
	for _, p := range doc.Principals {
		if p.Name.set {
			c.word("a principal", p.Name.v, p.Name.at)
			c.twice(names, "principal", p.Name)
		}
		c.secretPath("token_file", p.TokenFile)
		path := c.path(p.TokenFile.v)
		if p.TokenFile.set {
			if first, ok := files[path]; ok {
				c.fault(p.TokenFile.at, "give each principal a token of its own", "the token file %q is also that of line %d: who asks could not be told", p.TokenFile.v, first.line)
			}
			files[path] = p.TokenFile.at
		}
		if p.Role.set && !slices.Contains(roles, p.Role.v) {
			c.fault(p.Role.at, choice(p.Role.v, roles), "role %q is not known", p.Role.v)
		}
		ctl.Principals = append(ctl.Principals, Principal{Name: p.Name.v, Role: p.Role.or("operator"), TokenFile: path})
	}
}

// approvers takes those whose yes counts, and wants as many people as an
// instance asks for: a number that nobody can reach would keep every move
// waiting until its time is over.
func (c *compiler) approvers(cfg *Config, doc *instanceDoc, p *failover.Policy) {
	p.People = nil
	for _, x := range cfg.Controller.Principals {
		if x.Role != "viewer" {
			p.People = append(p.People, failover.Principal(x.Name))
		}
	}
	n := len(p.People)
	if n == 0 {
		p.People = []string{failover.SocketPerson}
	}
	switch {
	case p.Approvals > 0 && n < p.Approvals+1:
		c.fault(doc.Approval.at, "add people under controller.principals: {name: ann, token_file: ann.token, role: operator}",
			"approval: %s more than the one who asks must agree, and controller.principals names %d who may", fmt.Sprint(p.Approvals), n)
	case p.Auto == failover.AutoApprove && n == 0:
		c.warn(doc.Auto.place(doc.pos), "add people under controller.principals, so that the audit says who approved",
			"auto: approve takes the approval of whoever may open the socket, because controller.principals is empty")
	}
}
