package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Tool runs the operator verbs of a pointsman binary, as a person would.
type Tool struct {
	Path   string // of the binary
	Config string // of the controller whose socket is meant
}

// ErrVerb is returned when a verb ends with a status other than 0.
var ErrVerb = errors.New("verb failed")

// View is what the lab reads of one instance in status -o json.
type View struct {
	Instance string        `json:"instance"`
	At       time.Time     `json:"at"`
	Phase    string        `json:"phase"`
	Waiting  string        `json:"waiting"`
	Leading  bool          `json:"leading"`
	Mode     string        `json:"mode"`
	Active   string        `json:"active"`
	Clusters []ClusterView `json:"clusters"`
	Names    []struct {
		Name   string    `json:"name"`
		Value  string    `json:"value"`
		Want   *struct{} `json:"want"`   // nil: no write is open
		Limits string    `json:"limits"` // what its provider does not promise
	} `json:"names"`
	Op      *Op        `json:"op"`
	LastOp  *OpSummary `json:"last_op"`
	Stops   []Stop     `json:"stops"`
	Missing []string   `json:"missing"`
	Notices []string   `json:"notices"`
	Refused []struct {
		Guard string `json:"guard"`
		Why   string `json:"why"`
	} `json:"refused"`
}

// ClusterView is the quorum's word on one cluster.
type ClusterView struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"` // up, down, unknown
	Why     string `json:"why"`
}

// Op is what the lab reads of an operation.
type Op struct {
	ID         string               `json:"id"`
	Kind       string               `json:"kind"`
	Step       string               `json:"step"`
	From       string               `json:"from"`
	To         string               `json:"to"`
	Since      time.Time            `json:"since"`       // the intent: when it was decided
	FaultAt    time.Time            `json:"fault_at"`    // the first miss that counts
	DetectedAt time.Time            `json:"detected_at"` // the quorum said down
	MovedAt    time.Time            `json:"moved_at"`
	StepAt     map[string]time.Time `json:"step_at"`
	Evidence   []string             `json:"evidence"` // what each vantage said when it was decided
}

// OpSummary is an operation that has ended.
type OpSummary struct {
	Op      Op        `json:"op"`
	Outcome string    `json:"outcome"` // settled, unwound, yielded
	At      time.Time `json:"at"`
	Why     string    `json:"why"`
}

// Stop is a standing reason not to start.
type Stop struct {
	Kind string `json:"kind"`
	Why  string `json:"why"`
}

// Verdict returns the quorum's word on a cluster, "" when it is not shown.
func (v View) Verdict(cluster string) string {
	for _, c := range v.Clusters {
		if c.Name == cluster {
			return c.Verdict
		}
	}
	return ""
}

// Stopped returns the first stop, in words, or "".
func (v View) Stopped() string {
	if len(v.Stops) == 0 {
		return ""
	}
	return strings.TrimSuffix(v.Stops[0].Kind+": "+v.Stops[0].Why, ": ")
}

// Has says whether a stop of that kind stands.
func (v View) Has(stop string) bool {
	for _, s := range v.Stops {
		if s.Kind == stop {
			return true
		}
	}
	return false
}

// Do runs one verb and returns what it wrote to stdout.
func (t Tool) Do(ctx context.Context, args ...string) ([]byte, error) {
	return t.DoWithin(ctx, 15*time.Second, args...)
}

// DoWithin is Do for a verb that may take longer than usual, or must not take
// as long.
func (t Tool) DoWithin(ctx context.Context, patience time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.Path, append(args, "-c", t.Config)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(errs.String())
		if said == "" {
			said = strings.TrimSpace(out.String())
		}
		return out.Bytes(), fmt.Errorf("pointsman %s: %w: %w: %s", strings.Join(args, " "), ErrVerb, err, said)
	}
	return out.Bytes(), nil
}

// Status asks for every instance.
func (t Tool) Status(ctx context.Context) ([]View, error) {
	b, err := t.Do(ctx, "status", "-o", "json")
	if err != nil {
		return nil, err
	}
	var views []View
	if err := json.Unmarshal(b, &views); err != nil {
		return nil, fmt.Errorf("pointsman status: read its JSON: %w", err)
	}
	return views, nil
}

// View asks for one instance.
func (t Tool) View(ctx context.Context, instance string) (View, error) {
	views, err := t.Status(ctx)
	if err != nil {
		return View{}, err
	}
	for _, v := range views {
		if v.Instance == instance {
			return v, nil
		}
	}
	return View{}, fmt.Errorf("pointsman status: shows no instance %s", instance)
}

// Commits returns every value that the audit says one name was given,
// beginning at since.
func (t Tool) Commits(ctx context.Context, instance, name string, since time.Time) ([]Commit, error) {
	entries, err := t.audit(ctx, instance)
	if err != nil {
		return nil, err
	}
	return writesOf(entries, name, since), nil
}

// auditEntry is what the lab reads of a line of the audit.
type auditEntry struct {
	At    time.Time `json:"at"`
	Kind  string    `json:"kind"`
	Text  string    `json:"text"`
	After string    `json:"after"`
}

func (t Tool) audit(ctx context.Context, instance string) ([]auditEntry, error) {
	b, err := t.Do(ctx, "audit", instance, "-o", "json", "--limit", "1000")
	if err != nil {
		return nil, err
	}
	return parseAudit(b)
}

func parseAudit(b []byte) ([]auditEntry, error) {
	var entries []auditEntry
	if err := json.Unmarshal(b, &entries); err != nil {
		return nil, fmt.Errorf("pointsman audit: read its JSON: %w", err)
	}
	return entries, nil
}

// writesOf takes the writes of one name. The audit notes a write before the
// record with it is committed, and so before anybody can see it.
func writesOf(entries []auditEntry, name string, since time.Time) []Commit {
	var commits []Commit
	for _, e := range entries {
		if e.Kind == "write" && strings.HasPrefix(e.Text, name+" ") && !e.At.Before(since) {
			commits = append(commits, Commit{At: e.At, Target: e.After})
		}
	}
	return commits
}
