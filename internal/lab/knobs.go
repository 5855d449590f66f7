package lab

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Knobs are the faults that a cluster can be given while its process lives.
// The zero value is a healthy cluster. Faults of the process itself (kill,
// stall) are signals and stand in no knob.
type Knobs struct {
	// SlowMS is how long every answer is held back, in milliseconds.
	SlowMS int `json:"slow_ms,omitempty"`
	// ErrorRate is the share of requests answered 503, from 0 to 1.
	ErrorRate float64 `json:"error_rate,omitempty"`
	// Identity is the cluster that this one claims to be; empty is the truth.
	Identity string `json:"identity,omitempty"`
	// FlapMS closes and opens the port in turn, each for so many
	// milliseconds, beginning with closed; 0 is no flapping.
	FlapMS int `json:"flap_ms,omitempty"`
	// Closed closes the port: connections are refused.
	Closed bool `json:"closed,omitempty"`
	// Refuse lets a Tablestore refuse every request as it does for a reason of
	// Refusals; empty is none.
	Refuse string `json:"refuse,omitempty"`
	// PartitionMS lets one partition of a Tablestore, that of one key of each
	// table, answer 503 for so many milliseconds from when the knob was turned.
	PartitionMS int `json:"partition_ms,omitempty"`
}

// The reasons for which a Tablestore can be made to refuse everything. All are
// 403 OTSAuthFailed: only the message tells whether the cluster is down or the
// fault lies with who asks.
const (
	RefuseNotRunning = "not-running" // the instance is not running
	RefuseKey        = "key"         // the access key is disabled
)

// Refusals are these reasons.
var Refusals = []string{RefuseNotRunning, RefuseKey}

// Validate returns every fault at once.
func (k Knobs) Validate() error {
	var errs []error
	if k.SlowMS < 0 || k.SlowMS > 600_000 {
		errs = append(errs, fmt.Errorf("slow_ms %d is outside 0 to 600000", k.SlowMS))
	}
	if !(k.ErrorRate >= 0 && k.ErrorRate <= 1) { // also refuses NaN
		errs = append(errs, fmt.Errorf("error_rate %v is outside 0 to 1", k.ErrorRate))
	}
	if k.FlapMS < 0 || k.FlapMS > 600_000 || k.FlapMS > 0 && k.FlapMS < 10 {
		errs = append(errs, fmt.Errorf("flap_ms %d is neither 0 nor in 10 to 600000", k.FlapMS))
	}
	if k.Refuse != "" && !slices.Contains(Refusals, k.Refuse) {
		errs = append(errs, fmt.Errorf("refuse %q is none of %v", k.Refuse, Refusals))
	}
	if k.PartitionMS < 0 || k.PartitionMS > 600_000 {
		errs = append(errs, fmt.Errorf("partition_ms %d is outside 0 to 600000", k.PartitionMS))
	}
	return errors.Join(errs...)
}

// open says whether the port is open at now, and until when that holds; a
// zero time means until the next change of knobs.
func (k Knobs) open(since, now time.Time) (bool, time.Time) {
	if k.Closed {
		return false, time.Time{}
	}
	if k.FlapMS <= 0 {
		return true, time.Time{}
	}
	half := time.Duration(k.FlapMS) * time.Millisecond
	n := now.Sub(since) / half
	return n%2 == 1, since.Add((n + 1) * half)
}

// Words says what the knobs do, for people; "healthy" when they do nothing.
func (k Knobs) Words() string {
	s := ""
	add := func(format string, args ...any) {
		if s != "" {
			s += ", "
		}
		s += fmt.Sprintf(format, args...)
	}
	if k.Closed {
		add("port closed")
	}
	if k.FlapMS > 0 {
		add("flapping every %d ms", k.FlapMS)
	}
	if k.SlowMS > 0 {
		add("%d ms slower", k.SlowMS)
	}
	if k.ErrorRate > 0 {
		add("%g %% errors", k.ErrorRate*100)
	}
	if k.Identity != "" {
		add("says that it is %s", k.Identity)
	}
	switch k.Refuse {
	case RefuseNotRunning:
		add("says that the instance is not running")
	case RefuseKey:
		add("says that the access key is disabled")
	}
	if k.PartitionMS > 0 {
		add("one partition away for %d ms", k.PartitionMS)
	}
	if s == "" {
		return "healthy"
	}
	return s
}
