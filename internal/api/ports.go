package api

import (
	"context"
	"encoding/json"
	"time"

	"pointsman/internal/failover"
)

// Instances gives the newest view of every instance. Calls never wait for a
// decision and are safe for concurrent use.
type Instances interface {
	// Names lists every configured instance in config order.
	Names() []failover.InstanceName
	// View returns the newest view; false means that there is no such instance.
	View(failover.InstanceName) (failover.View, bool)
	// Sketch returns the part of it that lists are made of; see failover.Sketch.
	Sketch(failover.InstanceName) (failover.View, bool)
	// Changed returns a channel that is closed at the next change of any view.
	Changed() <-chan struct{}
}

// Decisions asks the owner of an instance. The instance is known to exist.
// An error means that the owner could not be asked (it is ending, or ctx
// ended first), never a refusal: that is a Reply or part of a Plan.
type Decisions interface {
	Explain(context.Context, failover.InstanceName) (failover.Explanation, error)
	Plan(context.Context, failover.InstanceName, failover.Command) (failover.Plan, error)
	Do(context.Context, failover.InstanceName, failover.Command) (failover.Reply, error)
}

// Audit reads the chained audit.
type Audit interface {
	// Audit lists entries, oldest first: the newest Limit of those that match.
	Audit(context.Context, Query) ([]AuditLine, error)
	// VerifyChain returns nil when every entry still follows from the one before it.
	VerifyChain(context.Context) error
}

// History reads the measured history, oldest first: the newest Limit samples
// that match.
type History interface {
	History(context.Context, Query) ([]Sample, error)
}

// Probes reads what this process's own vantage measured, oldest first.
type Probes interface {
	Probes(context.Context, Query) ([]ProbeLine, error)
}

// Health says how the process fares.
type Health interface {
	// Live returns nil while the decision loops turn.
	Live() error
	// Ready lists conditions; the process is ready when every one is met.
	// A process that does not lead is ready too.
	Ready() []Condition
}

// Condition is one line of readiness.
type Condition struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

// Query narrows a listing. The zero value asks for the newest lines of all.
type Query struct {
	Instance failover.InstanceName
	Since    time.Time
	Limit    int    // 1 to MaxPage; 0 is DefaultPage
	Below    int64  // only lines before the one that has this place; 0: the newest too
	Kind     string // of the history: only samples of it; empty: all
}

const (
	// DefaultPage is the number of lines of a listing that names no limit.
	DefaultPage = 100
	// MaxPage is the greatest limit of a listing.
	MaxPage = 10_000
)

// AuditLine is one entry of the audit with its place in the chain.
type AuditLine struct {
	Seq uint64 `json:"seq"`
	failover.AuditEntry
	Hash string `json:"hash"` // over this entry and the hash before it
}

// Place is what Query.Below takes for the lines before this one.
func (l AuditLine) Place() int64 { return int64(l.Seq) }

// Sample is one line of the measured history.
type Sample struct {
	ID       int64                 `json:"id"`
	At       time.Time             `json:"at"`
	Instance failover.InstanceName `json:"instance"`
	Kind     string                `json:"kind"`
	Data     json.RawMessage       `json:"data"`
}

// Place is what Query.Below takes for the lines before this one.
func (s Sample) Place() int64 { return s.ID }

// ProbeLine is the result of one probe of this process's own vantage.
type ProbeLine struct {
	At       time.Time             `json:"at"`
	Instance failover.InstanceName `json:"instance"`
	Cluster  failover.ClusterName  `json:"cluster"`
	Result   string                `json:"result"` // ok, miss, or unknown for a fault of our own
	Reason   string                `json:"reason,omitempty"`
	Phase    string                `json:"phase,omitempty"` // where it failed: dial, tls, headers …
	Address  string                `json:"address,omitempty"`
	Took     time.Duration         `json:"took_ns"`
}

// Place is what Query.Below takes for the lines before this one.
func (l ProbeLine) Place() int64 { return l.At.UnixNano() }

// Version says what runs.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Name     string `json:"name,omitempty"` // of the controller
	Shadow   bool   `json:"shadow"`         // started with --shadow
}
