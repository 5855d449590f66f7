package alicloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Policy says what a RAM user or a role may do, in the vendor's form. What no
// statement allows is denied, and a statement that denies wins.
type Policy struct {
	Version   string      `json:"Version,omitempty"` // 1
	Statement []Statement `json:"Statement"`
}

// Statement is one rule. Actions are written product:Operation, resources
// acs:product::account:what; * stands for anything in both. Conditions are not
// known here, and a policy with one is refused.
type Statement struct {
	Effect    string `json:"Effect"` // Allow or Deny
	Action    Words  `json:"Action"`
	Resource  Words  `json:"Resource"`
	Condition any    `json:"Condition,omitempty"`
}

// Words are one text or several, as policies write both.
type Words []string

// UnmarshalJSON reads "a" and ["a", "b"].
func (w *Words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = Words{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	*w = many
	return nil
}

// Allow is a policy that allows these actions on these zones and nothing else.
// Zones are names of public ones, or IDs of private ones; none is every zone.
func Allow(actions []string, zones ...string) *Policy {
	st := Statement{Effect: "Allow", Action: actions, Resource: Words{"*"}}
	if len(zones) > 0 {
		st.Resource = nil
		for _, z := range zones {
			st.Resource = append(st.Resource, "acs:alidns:*:*:domain/"+z, "acs:pvtz:*:*:zone/"+z)
		}
	}
	return &Policy{Version: "1", Statement: []Statement{st}}
}

func (p *Policy) validate() error {
	if p == nil {
		return nil
	}
	for i, st := range p.Statement {
		switch {
		case st.Effect != "Allow" && st.Effect != "Deny":
			return fmt.Errorf("statement %d: effect %q is neither Allow nor Deny", i+1, st.Effect)
		case len(st.Action) == 0 || len(st.Resource) == 0:
			return fmt.Errorf("statement %d: no action or no resource", i+1)
		case st.Condition != nil:
			return fmt.Errorf("statement %d: conditions are not known here", i+1)
		}
	}
	return nil
}

// says is Allow, Deny, or nothing where no statement speaks of it.
func (p *Policy) says(action string, resources []string) string {
	verdict := ""
	for _, st := range p.Statement {
		if matches(st.Action, true, action) && matches(st.Resource, false, resources...) {
			if st.Effect == "Deny" {
				return "Deny"
			}
			verdict = "Allow"
		}
	}
	return verdict
}

// matches says whether one of the patterns matches one of the texts.
func matches(patterns []string, fold bool, texts ...string) bool {
	for _, p := range patterns {
		quoted := "^" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(p)) + "$"
		if fold {
			quoted = "(?i)" + quoted
		}
		re := regexp.MustCompile(quoted)
		if slices.ContainsFunc(texts, re.MatchString) {
			return true
		}
	}
	return false
}

// resources are the names under which a policy may speak of what a call is
// about. The documents of Alidns disagree whether a domain goes by its name or
// its ID: either will do.
func (c *call) resources() []string {
	account := c.s.opts.Account
	if c.product.name == "Sts" {
		return []string{c.params["RoleArn"]}
	}
	if c.action == "DescribeSupportLines" || c.action == "DescribeZoneVpcTree" {
		return []string{"*"}
	}
	kind := "acs:alidns::" + account + ":domain/"
	if c.product.private {
		kind = "acs:pvtz::" + account + ":zone/"
	}
	z := c.s.aim(c).zone
	switch {
	case z != nil && z.Private == c.product.private && z.Private:
		return []string{kind + z.ID}
	case z != nil && z.Private == c.product.private:
		return []string{kind + z.Name, kind + z.ID}
	case c.params["DomainName"] != "" && !c.product.private:
		return []string{kind + canonical(c.params["DomainName"])}
	}
	return []string{kind + "*"}
}

// authorize asks the policies of the key. s.mu is held.
func (s *Server) authorize(c *call) *apiError {
	action := strings.ToLower(c.product.name) + ":" + c.action
	resources := c.resources()
	for _, p := range []*Policy{c.key.Policy, c.key.session} {
		if p == nil {
			continue
		}
		said := p.says(action, resources)
		if said == "Allow" {
			continue
		}
		kind := "ImplicitDeny"
		if said == "Deny" {
			kind = "ExplicitDeny"
		}
		policy := "AccountLevelIdentityBasedPolicy"
		if p == c.key.session {
			policy = "SessionPolicy"
		}
		who, name := "SubUser", c.key.User
		if c.key.role != "" {
			who, name = "AssumedRoleUser", c.key.role
		}
		e := refuse(http.StatusForbidden, "Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM.")
		e.detail = obj{
			"AuthAction": action, "AuthPrincipalOwnerId": s.opts.Account, "AuthPrincipalType": who, "AuthPrincipalDisplayName": name,
			"NoPermissionType": kind, "PolicyType": policy, "EncodedDiagnosticMessage": "",
		}
		return e
	}
	return nil
}
