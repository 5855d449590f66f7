package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"pointsman/internal/failover"
)

// Role is what a principal may do.
type Role string

const (
	RoleViewer   Role = "viewer"   // looks, and asks for plans
	RoleApprover Role = "approver" // looks, and says yes or no to proposals
	RoleOperator Role = "operator" // everything
)

// Roles lists them, from the least to the most.
var Roles = []Role{RoleViewer, RoleApprover, RoleOperator}

// Principal is a person or a program with a token of its own: what it asks for
// bears its name in the audit, and its approvals count as those of one.
type Principal struct {
	Name  string
	Role  Role
	Token []byte // at least MinToken bytes
}

// SetPrincipals replaces the principals: requests that come later are theirs.
// It may be called while requests are served. Error: ErrNoToken for a short
// token; nothing was changed then.
func (s *Server) SetPrincipals(ps []Principal) error {
	known := make([]knownToken, 0, len(ps))
	for _, p := range ps {
		if len(p.Token) < MinToken {
			return fmt.Errorf("principal %s: %w (at least %d bytes)", p.Name, ErrNoToken, MinToken)
		}
		known = append(known, knownToken{sha256.Sum256(p.Token), p.Name, p.Role})
	}
	s.people.Store(&known)
	return nil
}

type knownToken struct {
	sum  [sha256.Size]byte
	name string
	role Role
}

// caller is who sent a request, as far as the listener could tell.
type caller struct {
	name string // of a principal; empty: the shared token, or the socket
	role Role
	who  string // the same for two requests of one person; empty: not known
}

type callerKey struct{}

func callerOf(r *http.Request) caller {
	if c, ok := r.Context().Value(callerKey{}).(caller); ok {
		return c
	}
	return caller{}
}

// identify finds the principal of a token, or the holder of the shared one.
// Every token is compared, in constant time: hashing first hides lengths too.
func (s *Server) identify(r *http.Request) (c caller, ok bool) {
	got, has := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !has {
		return caller{}, false
	}
	sum := sha256.Sum256([]byte(got))
	for _, p := range *s.people.Load() {
		if subtle.ConstantTimeCompare(sum[:], p.sum[:]) == 1 {
			c, ok = caller{name: p.name, role: p.role, who: failover.Principal(p.name)}, true
		}
	}
	if shared := *s.token.Load(); len(shared) > 0 {
		want := sha256.Sum256(shared)
		if subtle.ConstantTimeCompare(sum[:], want[:]) == 1 && !ok {
			c, ok = caller{role: RoleOperator}, true // several may hold it: nobody in particular
		}
	}
	return c, ok
}

// socketCaller is who comes over the socket without a token. Where principals
// are configured it is nobody in particular, lest one person be two.
func (s *Server) socketCaller() caller {
	c := caller{role: RoleOperator}
	if len(*s.people.Load()) == 0 {
		c.who = failover.SocketPerson
	}
	return c
}

// withRole lets a request through as far as the role of its caller goes.
// Reading is for all; of the rest, approvers may only answer proposals, which
// the command itself says.
func withRole(next http.Handler, c caller, w http.ResponseWriter, r *http.Request) {
	reads := r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/plan")
	answers := c.role == RoleApprover && strings.HasSuffix(r.URL.Path, "/commands")
	if c.role != RoleOperator && !reads && !answers {
		writeProblem(w, notForRole(c))
		return
	}
	next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
}

func notForRole(c caller) Problem {
	return Problem{
		Status: http.StatusForbidden, Message: fmt.Sprintf("%s has the role %s and may not order this", c.name, c.role),
		Hint: "ask an operator, or change the role under controller.principals",
	}
}

// mayOrder says whether the role of the caller covers the verb.
func (c caller) mayOrder(v failover.Verb) bool {
	return c.role != RoleApprover || slices.Contains([]failover.Verb{failover.DoApprove, failover.DoDeny}, v)
}
