package healthcheck

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// InstanceReport is what one vantage says of one instance. Moments in it are
// ages relative to its sending; the receiver adds nothing to them.
type InstanceReport struct {
	Vantage    failover.VantageName  `json:"vantage"`
	Instance   failover.InstanceName `json:"instance"`
	Generation string                `json:"generation"`     // of the targets that are probed
	Sick       string                `json:"sick,omitempty"` // why the vantage abstains from everything
	Clusters   []ClusterReport       `json:"clusters"`       // sorted by name, each once

	// made is when the ages were taken, on our own clock; zero in a report
	// that came from elsewhere.
	made time.Time
}

// ClusterReport is the vote for one cluster. Durations are nanoseconds; an
// age that is missing means never.
type ClusterReport struct {
	Cluster failover.ClusterName `json:"cluster"`
	Vote    failover.Vote        `json:"vote"`
	Reason  string               `json:"reason,omitempty"`
	Fault   failover.Fault       `json:"fault,omitempty"` // class of the reason of an abstention

	Misses int `json:"misses"`
	Fall   int `json:"fall"`
	Hits   int `json:"hits"`
	Rise   int `json:"rise"`
	Failed int `json:"failed,omitempty"`
	Window int `json:"window,omitempty"`

	LastProbe *time.Duration `json:"last_probe_age_ns,omitempty"`
	FirstMiss *time.Duration `json:"first_miss_age_ns,omitempty"`
	LastMiss  *time.Duration `json:"last_miss_age_ns,omitempty"`
	UpFor     *time.Duration `json:"up_for_ns,omitempty"`
	// LastSuccess tells that an outage ended, also where no report came
	// through meanwhile.
	LastSuccess *time.Duration `json:"last_success_age_ns,omitempty"`

	Latency  time.Duration `json:"latency_ns,omitempty"` // of the newest success
	Identity bool          `json:"identity,omitempty"`   // the newest success proved which cluster answered
	Warnings []string      `json:"warnings,omitempty"`

	// CertificateEndsIn is the time that the certificate of the newest success
	// still counts, by the clock of the vantage; missing without TLS, below 0
	// when it ended since, and at most 10 years.
	CertificateEndsIn *time.Duration `json:"certificate_ends_in_ns,omitempty"`

	// What became of the newest writes, where the check makes any.
	Canary    failover.CanaryResult `json:"canary,omitempty"`
	CanaryAge *time.Duration        `json:"canary_age_ns,omitempty"`
	Client    failover.ClientResult `json:"client,omitempty"`
	ClientAge *time.Duration        `json:"client_age_ns,omitempty"`
}

// ages lists the places of all moments of the vote.
func (c *ClusterReport) ages() []**time.Duration {
	return []**time.Duration{&c.LastProbe, &c.FirstMiss, &c.LastMiss, &c.UpFor, &c.LastSuccess, &c.CanaryAge, &c.ClientAge}
}

// Event turns the report into what the core takes, on the clock of the one
// who received it; want is the generation that the controller expects.
func (r InstanceReport) Event(received time.Time, want string) failover.Report {
	at := func(age *time.Duration) time.Time {
		if age == nil {
			return time.Time{}
		}
		return received.Add(-*age)
	}
	e := failover.Report{
		Vantage: r.Vantage, Generation: r.Generation, Want: want, Sick: r.Sick,
		Clusters: make(map[failover.ClusterName]failover.Sighting, len(r.Clusters)),
	}
	for _, c := range r.Clusters {
		e.Clusters[c.Cluster] = failover.Sighting{
			Vote: c.Vote, Reason: c.Reason, Fault: c.Fault,
			Misses: c.Misses, Fall: c.Fall, Hits: c.Hits, Rise: c.Rise, Failed: c.Failed, Window: c.Window,
			Received: received, LastProbe: at(c.LastProbe), FirstMiss: at(c.FirstMiss), LastMiss: at(c.LastMiss), UpSince: at(c.UpFor), LastSuccess: at(c.LastSuccess),
			Identity: c.Identity, Warnings: slices.Clone(c.Warnings), Latency: c.Latency,
			CertificateEnds: ends(received, c.CertificateEndsIn),
			Canary:          c.Canary, CanaryAt: at(c.CanaryAge), Client: c.Client, ClientAt: at(c.ClientAge),
		}
	}
	return e
}

// ends is when a certificate ends on our own clock, in whole minutes so that
// it does not change with the travel of each report.
func ends(received time.Time, in *time.Duration) time.Time {
	if in == nil {
		return time.Time{}
	}
	return received.Add(*in).Round(time.Minute)
}

// Aged returns the report with its ages as of now. Only a report that was
// made in this process grows older this way.
func (r InstanceReport) Aged(now time.Time) InstanceReport {
	if r.made.IsZero() {
		return r
	}
	grown := max(now.Sub(r.made), 0)
	r.made = r.made.Add(grown)
	r.Clusters = slices.Clone(r.Clusters)
	for i := range r.Clusters {
		for _, age := range r.Clusters[i].ages() {
			if *age != nil {
				older := **age + grown
				*age = &older
			}
		}
		if in := r.Clusters[i].CertificateEndsIn; in != nil {
			left := max(*in-grown, -maxAge)
			r.Clusters[i].CertificateEndsIn = &left
		}
	}
	return r
}

// newest is the age of the youngest probe in the report; ok is false when
// nothing was probed yet.
func (r InstanceReport) newest() (age time.Duration, ok bool) {
	for _, c := range r.Clusters {
		if c.LastProbe != nil && (!ok || *c.LastProbe < age) {
			age, ok = *c.LastProbe, true
		}
	}
	return age, ok
}

// message is the body of a POST: reports of several instances, in the order
// of their making, under one sequence number.
type message struct {
	Version int                  `json:"v"`
	Vantage failover.VantageName `json:"vantage"`
	// Challenge is the random number that the receiver asked for in its last
	// answer, so that no message counts at another receiver or at a later
	// process of the same. It is empty at first contact, which is refused.
	Challenge string `json:"challenge,omitempty"`
	Boot      string `json:"boot"` // 32 hex digits, random at each start of the vantage, the same for all receivers
	Seq       uint64 `json:"seq"`  // grows with each message of a boot, whoever it is for
	// SentMS is the wall clock of the vantage in Unix milliseconds. It is only
	// an outer bound against replays: see ClockBound.
	SentMS int64 `json:"sent_unix_ms"`
	// Uptime is the monotonic clock of the vantage since its start. Its
	// distance to the receiver's own clock shows messages that were held back.
	Uptime  time.Duration    `json:"uptime_ns"`
	Reports []InstanceReport `json:"reports"`
	// Config is there while the newest file of the vantage is refused. A
	// receiver that does not know the key refuses the message: see post.
	Config *ConfigRefusal `json:"config_refused,omitempty"`
	// Answered is there once a message on this line was answered. A receiver
	// that does not know the key refuses the message, too.
	Answered *answered `json:"answered,omitempty"`
}

const (
	wireVersion     = 1
	vantageHeader   = "Pointsman-Vantage"
	signatureHeader = "Pointsman-Signature"
	challengeHeader = "Pointsman-Challenge" // of every answer to a known vantage

	maxBatch    = 256     // reports in a message
	maxClusters = 8       // in a report
	maxWarnings = 16      // of a cluster
	maxText     = 512     // bytes of a reason, a warning, a name
	maxCount    = 1 << 30 // of any counter
	maxAge      = 10 * 365 * 24 * time.Hour
)

// ReportPath is where a controller takes reports.
const ReportPath = "/v1/report"

func (m *message) encode() ([]byte, error) { return json.Marshal(m) }

var errMalformed = errors.New("malformed report")

// decodeMessage is strict: unknown keys, anything after the end, duplicates
// and impossible values are refused as a whole.
func decodeMessage(body []byte) (*message, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var m message
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: more after its end", errMalformed)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return &m, nil
}

var errDouble = errors.New("votes twice")

func (m *message) check() error {
	switch {
	case m.Version != wireVersion:
		return fmt.Errorf("version %d, this receiver knows %d", m.Version, wireVersion)
	case !isNonce(m.Boot):
		return fmt.Errorf("boot is not %d hex digits", 2*nonceSize)
	case m.Challenge != "" && !isNonce(m.Challenge):
		return fmt.Errorf("challenge is not %d hex digits", 2*nonceSize)
	case m.Seq == 0 || m.SentMS <= 0 || m.Uptime < 0 || m.Uptime > maxAge:
		return errors.New("sequence, send time or uptime is out of range")
	case len(m.Reports) == 0 || len(m.Reports) > maxBatch:
		return fmt.Errorf("%d reports are outside 1 to %d", len(m.Reports), maxBatch)
	}
	if m.Config != nil {
		if err := m.Config.check(); err != nil {
			return err
		}
	}
	seen := map[failover.InstanceName]bool{}
	for i := range m.Reports {
		r := &m.Reports[i]
		if r.Vantage != m.Vantage {
			return fmt.Errorf("reports[%d] speaks for vantage %s", i, quote(string(r.Vantage)))
		}
		if seen[r.Instance] {
			return fmt.Errorf("instance %s: %w", quote(string(r.Instance)), errDouble)
		}
		seen[r.Instance] = true
		if err := r.check(); err != nil {
			return fmt.Errorf("reports[%d]: %w", i, err)
		}
	}
	return nil
}

func (r *InstanceReport) check() error {
	if !isName(string(r.Instance)) || len(r.Generation) > maxText || len(r.Clusters) > maxClusters {
		return errors.New("instance, generation or number of clusters is out of range")
	}
	r.Sick = clean(r.Sick, maxText)
	seen := map[failover.ClusterName]bool{}
	for i := range r.Clusters {
		c := &r.Clusters[i]
		if seen[c.Cluster] {
			return fmt.Errorf("cluster %s: %w", quote(string(c.Cluster)), errDouble)
		}
		seen[c.Cluster] = true
		if err := c.check(); err != nil {
			return fmt.Errorf("clusters[%d]: %w", i, err)
		}
	}
	return nil
}

// check refuses what no honest count can say, and makes texts fit to show.
func (c *ClusterReport) check() error {
	if !isName(string(c.Cluster)) {
		return errors.New("cluster has no name")
	}
	for _, n := range []int{c.Misses, c.Fall, c.Hits, c.Rise, c.Failed, c.Window} {
		if n < 0 || n > maxCount {
			return fmt.Errorf("counter %d is out of range", n)
		}
	}
	for _, age := range c.ages() {
		if *age != nil && (**age < 0 || **age > maxAge) {
			return fmt.Errorf("age %d is out of range", **age)
		}
	}
	switch {
	case c.LastMiss != nil && c.LastProbe == nil, c.LastMiss != nil && c.FirstMiss == nil:
		return errors.New("a last miss needs a first miss and a probe")
	case c.LastMiss != nil && (*c.LastMiss < *c.LastProbe || *c.FirstMiss < *c.LastMiss):
		return errors.New("first miss, last miss and last probe are out of order")
	case c.LastSuccess != nil && (c.LastProbe == nil || *c.LastSuccess < *c.LastProbe):
		return errors.New("a last success needs a probe, and is not younger than the last one")
	case c.Vote != failover.Unknown && c.LastProbe == nil:
		return errors.New("a vote without a probe")
	case c.Vote == failover.Down && c.FirstMiss == nil:
		return errors.New("a down vote without a miss")
	case c.Vote != failover.Up && c.UpFor != nil:
		return errors.New("up for a while, but the vote is not up")
	case c.Latency < 0 || c.Latency > maxAge:
		return errors.New("latency is out of range")
	case c.CertificateEndsIn != nil && (*c.CertificateEndsIn > maxAge || *c.CertificateEndsIn < -maxAge):
		return errors.New("end of the certificate is out of range")
	case c.Fault != failover.FaultNone && (c.Vote != failover.Unknown || !slices.Contains(failover.Faults, c.Fault)):
		return fmt.Errorf("no vote has the fault %s", quote(string(c.Fault)))
	case !slices.Contains([]failover.CanaryResult{failover.CanaryNone, failover.CanaryOK, failover.CanaryBad}, c.Canary), (c.Canary == failover.CanaryNone) != (c.CanaryAge == nil):
		return fmt.Errorf("no canary is %s, or its age is missing", quote(string(c.Canary)))
	case !slices.Contains([]failover.ClientResult{failover.ClientNone, failover.ClientAccepted, failover.ClientRefused, failover.ClientSilent}, c.Client), (c.Client == failover.ClientNone) != (c.ClientAge == nil):
		return fmt.Errorf("no client write is %s, or its age is missing", quote(string(c.Client)))
	case len(c.Warnings) > maxWarnings:
		return fmt.Errorf("more than %d warnings", maxWarnings)
	}
	c.Reason = clean(c.Reason, maxText)
	for i := range c.Warnings {
		c.Warnings[i] = clean(c.Warnings[i], maxText)
	}
	return nil
}

func isName(s string) bool { return s != "" && len(s) <= maxText && clean(s, maxText) == s }

const nonceSize = 16 // bytes

// newNonce is a random number that nobody can guess or get twice.
func newNonce() string {
	var b [nonceSize]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	return hex.EncodeToString(b[:])
}

func isNonce(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == nonceSize
}

// sign is HMAC-SHA256 (RFC 2104) over the bytes of the body, which name the
// vantage, so that a key which two vantages share by mistake cannot be used
// by one to speak for the other unnoticed.
func sign(key Key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// signed says whether one of the keys made the signature, in constant time.
func signed(keys []Key, body []byte, signature string) bool {
	ok := false
	for _, k := range keys {
		if len(k) > 0 && hmac.Equal([]byte(sign(k, body)), []byte(signature)) {
			ok = true
		}
	}
	return ok
}

// sortedNames lists the keys of a map in order.
func sortedNames[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
