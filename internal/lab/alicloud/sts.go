package alicloud

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Role is what a RAM user, or a workload with an OIDC token, may become for an
// hour. Its ARN is acs:ram::ACCOUNT:role/NAME.
type Role struct {
	Name       string  `json:"name"`
	Policy     *Policy `json:"policy"` // what it may do; everything if nil
	ExternalID string  `json:"external_id"`
	// OIDC names the provider and the tokens of it that are taken, as they
	// stand in the file of a workload. A real STS checks signature, issuer,
	// audience and expiry of a token; here it has to be one of these.
	OIDCProvider string        `json:"oidc_provider"`
	OIDCTokens   []string      `json:"oidc_tokens"`
	MaxSession   time.Duration `json:"max_session_ns"` // an hour if 0
}

// RoleARN is the full name of a role.
func (s *Server) RoleARN(name string) string {
	return fmt.Sprintf("acs:ram::%s:role/%s", s.opts.Account, strings.ToLower(name))
}

func stsAPI() product {
	return product{
		name: "Sts", host: "sts.aliyuncs.com", version: "2015-04-01",
		actions: map[string]action{
			"AssumeRole":         {needs: []string{"RoleArn", "RoleSessionName"}, write: true, do: assumeRole},
			"AssumeRoleWithOIDC": {needs: []string{"RoleArn", "RoleSessionName", "OIDCProviderArn", "OIDCToken"}, write: true, do: assumeRoleWithOIDC},
			"GetCallerIdentity":  {do: getCallerIdentity},
		},
	}
}

func (c *call) role() (*Role, *apiError) {
	i := slices.IndexFunc(c.s.opts.Roles, func(r Role) bool { return c.s.RoleARN(r.Name) == strings.ToLower(c.params["RoleArn"]) })
	if i < 0 {
		return nil, refuse(http.StatusNotFound, "EntityNotExist.Role", "The role not exists: %s.", clip(c.params["RoleArn"]))
	}
	return &c.s.opts.Roles[i], nil
}

func assumeRole(c *call) (obj, *apiError) {
	r, e := c.role()
	if e != nil {
		return nil, e
	}
	if c.key.User == "" && c.key.role == "" {
		return nil, refuse(http.StatusForbidden, "NoPermission", "Roles may not be assumed by root account.")
	}
	if r.ExternalID != c.params["ExternalId"] {
		return nil, refuse(http.StatusForbidden, "NoPermission", "You are not authorized to do this action. You should be authorized by RAM.")
	}
	return c.lend(r)
}

func assumeRoleWithOIDC(c *call) (obj, *apiError) {
	r, e := c.role()
	if e != nil {
		return nil, e
	}
	if r.OIDCProvider == "" || c.params["OIDCProviderArn"] != r.OIDCProvider {
		return nil, refuse(http.StatusForbidden, "AuthenticationFail.NoPermission", "This operation is forbidden by trust policy.")
	}
	if !slices.Contains(r.OIDCTokens, strings.TrimSpace(c.params["OIDCToken"])) {
		return nil, bad("AuthenticationFail.OIDCToken.Invalid", "This OIDCToken is invalid.")
	}
	o, e := c.lend(r)
	if e == nil {
		o["OIDCTokenInfo"] = obj{"Subject": "lab", "Issuer": "https://oidc.lab.invalid", "ClientIds": "lab"}
	}
	return o, e
}

// lend makes temporary credentials.
func (c *call) lend(r *Role) (obj, *apiError) {
	seconds, e := c.number("DurationSeconds", 3600)
	if e != nil {
		return nil, e
	}
	longest := cmp.Or(r.MaxSession, time.Hour)
	if seconds < 900 || time.Duration(seconds)*time.Second > longest {
		return nil, bad("InvalidParameter.DurationSeconds", "The specified DurationSeconds is not valid: 900 to %.0f.", longest.Seconds())
	}
	var session *Policy
	if text := c.params["Policy"]; text != "" {
		session = &Policy{}
		if json.Unmarshal([]byte(text), session) != nil || session.validate() != nil {
			return nil, bad("InvalidParameter.PolicyGrammar", "The parameter Policy has not passed grammar check.")
		}
	}
	name := c.params["RoleSessionName"]
	k := &key{
		Key: Key{
			ID: "STS.NT" + random(11), Secret: random(22), Token: "CAIS" + random(64), Policy: r.Policy,
			Expires: c.s.wall().Add(time.Duration(seconds) * time.Second).Truncate(time.Second),
		},
		role: r.Name + ":" + name, session: session,
	}
	maps.DeleteFunc(c.s.keys, func(_ string, k *key) bool { return !k.Expires.IsZero() && c.s.wall().Sub(k.Expires) > time.Hour })
	c.s.keys[k.ID] = k
	return obj{
		"Credentials": obj{
			"AccessKeyId": k.ID, "AccessKeySecret": k.Secret, "SecurityToken": k.Token,
			"Expiration": k.Expires.UTC().Format("2006-01-02T15:04:05Z"),
		},
		"AssumedRoleUser": obj{
			"Arn": c.s.RoleARN(r.Name) + "/" + name, "AssumedRoleId": "300000000000000001:" + name,
		},
	}, nil
}

func getCallerIdentity(c *call) (obj, *apiError) {
	kind, arn := "Account", "acs:ram::"+c.s.opts.Account+":root"
	switch {
	case c.key.role != "":
		role, session, _ := strings.Cut(c.key.role, ":")
		kind, arn = "AssumedRoleUser", c.s.RoleARN(role)+"/"+session
	case c.key.User != "":
		kind, arn = "RAMUser", "acs:ram::"+c.s.opts.Account+":user/"+c.key.User
	}
	return obj{"AccountId": c.s.opts.Account, "IdentityType": kind, "Arn": arn, "PrincipalId": c.key.ID, "UserId": c.key.User}, nil
}
