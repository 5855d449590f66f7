package healthcheck

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// Refusal is why a message, or one report in it, was not taken.
type Refusal string

const (
	RefusedMethod          Refusal = "method"           // not a POST
	RefusedUnknownVantage  Refusal = "unknown-vantage"  // no such vantage is configured
	RefusedSignature       Refusal = "bad-signature"    // none of the vantage's keys made it
	RefusedTooLarge        Refusal = "too-large"        // above ReceiverConfig.MaxBody
	RefusedMalformed       Refusal = "malformed"        // not what a vantage of this version sends
	RefusedDouble          Refusal = "double"           // two votes for one cluster, or two reports of one instance
	RefusedChallenge       Refusal = "challenge"        // first contact, or signed for another receiver, an earlier process or an earlier boot
	RefusedClock           Refusal = "clock"            // send time outside ClockBound
	RefusedReplay          Refusal = "replay"           // sequence not growing, or a boot that was replaced
	RefusedStale           Refusal = "stale"            // the newest probe is older than two rounds, or the message was held back
	RefusedUnknownInstance Refusal = "unknown-instance" // not configured here; the rest of the message counts
)

// ClockBound is how far the wall clock of a vantage may be from ours. It is
// the only place where the two are compared, and an outer bound only: what is
// a replay says the challenge, how old a vote is say the ages. It limits how
// long the very first message of a boot can be held back on its way, when
// there is no other to compare its travel with.
const ClockBound = 5 * time.Minute

// ReceiverConfig is who may report what.
type ReceiverConfig struct {
	// Vantages maps each vantage that may vote to its keys: one, or two while
	// a key is being replaced.
	Vantages map[failover.VantageName][]Key
	// Instances maps each configured instance to the length of its round.
	Instances map[failover.InstanceName]time.Duration
	// MaxBody is the largest message in bytes, default 1 MiB.
	MaxBody int64
	// BodyTime is how long a vantage may take to send a message, default 5 s.
	BodyTime time.Duration
	// Deliver takes each report that passed, with the time of its arrival on
	// our own clock. Reports of one vantage come in order; it must return at
	// once.
	Deliver func(v failover.VantageName, r InstanceReport, received time.Time)
	// Config is told when a vantage says something else of its configuration
	// than before; may be nil. It must return at once.
	Config func(v failover.VantageName, c VantageConfig)
	// Clock is told of each reading of a vantage's clock; may be nil. It must
	// return at once.
	Clock func(v failover.VantageName, c ClockReading)
}

// Validate returns every fault.
func (c ReceiverConfig) Validate() []Fault {
	var f faults
	for _, v := range sortedNames(c.Vantages) {
		if !isName(string(v)) {
			f.add("vantages", "", "%q is no printable name", v)
		}
		if len(c.Vantages[v]) == 0 {
			f.add(fmt.Sprintf("vantages.%s", v), "", "has no key")
		}
		for i, k := range c.Vantages[v] {
			if len(k) < minKey {
				f.add(fmt.Sprintf("vantages.%s[%d]", v, i), "", "key has %d bytes, at least %d are needed", len(k), minKey)
			}
		}
	}
	for _, in := range sortedNames(c.Instances) {
		if c.Instances[in] <= 0 {
			f.add(fmt.Sprintf("instances.%s", in), "", "round %s must be above 0", c.Instances[in])
		}
	}
	return f
}

// Receiver takes the reports of all vantages; mount it at ReportPath. A
// message is taken as a whole or refused as a whole; only a stale report or
// one of an instance that is not configured here is dropped alone. It answers
// 204, or 200 with a line per dropped report. Every answer to a known vantage
// bears the challenge that its next message must echo, inside what it signs: a
// message for one receiver is worth nothing at another, and what was captured
// before a restart is worth nothing after it.
type Receiver struct {
	// rules guards config and peers; it is held for reading while a message is
	// judged and delivered, so that nothing counts by rules that are gone.
	rules  sync.RWMutex
	config ReceiverConfig
	peers  map[failover.VantageName]*peer

	mu       sync.Mutex
	accepted uint64
	refused  map[Refusal]uint64
}

// NewReceiver makes a receiver.
func NewReceiver(c ReceiverConfig) (*Receiver, error) {
	if f := c.Validate(); len(f) > 0 {
		return nil, joinFaults(f)
	}
	if c.Deliver == nil {
		c.Deliver = func(failover.VantageName, InstanceReport, time.Time) {}
	}
	r := &Receiver{refused: map[Refusal]uint64{}}
	r.follow(c)
	return r, nil
}

// follow takes a valid config. Vantages that stay keep their challenge and
// sequence.
func (r *Receiver) follow(c ReceiverConfig) {
	if c.MaxBody <= 0 {
		c.MaxBody = 1 << 20
	}
	if c.BodyTime <= 0 {
		c.BodyTime = 5 * time.Second
	}
	peers := make(map[failover.VantageName]*peer, len(c.Vantages))
	for v := range c.Vantages {
		if peers[v] = r.peers[v]; peers[v] == nil {
			peers[v] = &peer{draw: newNonce, challenge: newNonce()}
		}
	}
	r.config, r.peers = c, peers
}

// Check says what Reload would refuse, and changes nothing.
func (r *Receiver) Check(c ReceiverConfig) error {
	if f := c.Validate(); len(f) > 0 {
		return joinFaults(f)
	}
	return nil
}

// Reload takes another config: all of it, or, with an error, nothing. When it
// returns no message counts by the old one any more. Vantages that stay keep
// their challenge and sequence, so nothing captured before counts again, and
// the counters go on. Deliver, Config and Clock stay when they are nil. Not to be
// called from any of them.
func (r *Receiver) Reload(c ReceiverConfig) error {
	if err := r.Check(c); err != nil {
		return err
	}
	r.rules.Lock()
	defer r.rules.Unlock()
	if c.Deliver == nil {
		c.Deliver = r.config.Deliver
	}
	if c.Config == nil {
		c.Config = r.config.Config
	}
	if c.Clock == nil {
		c.Clock = r.config.Clock
	}
	r.follow(c)
	return nil
}

// peer finds a vantage, and the bounds of what it may send.
func (r *Receiver) peer(v failover.VantageName) (from *peer, maxBody int64, bodyTime time.Duration) {
	r.rules.RLock()
	defer r.rules.RUnlock()
	return r.peers[v], r.config.MaxBody, r.config.BodyTime
}

// ReceiverStats counts since the start.
type ReceiverStats struct {
	Accepted uint64             // reports delivered
	Refused  map[Refusal]uint64 // messages, or for stale and unknown-instance single reports
}

// Stats returns a copy of the counters.
func (r *Receiver) Stats() ReceiverStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := ReceiverStats{r.accepted, make(map[Refusal]uint64, len(r.refused))}
	for k, n := range r.refused {
		out.Refused[k] = n
	}
	return out
}

// refusal is an error that knows how it is counted and answered.
type refusal struct {
	why    Refusal
	status int
	err    error
}

func (e *refusal) Error() string { return string(e.why) + ": " + e.err.Error() }

func refuse(why Refusal, status int, format string, args ...any) *refusal {
	return &refusal{why, status, fmt.Errorf(format, args...)}
}

func (r *Receiver) tally(why Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused[why]++
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	// Not every ResponseWriter can; then the server's own limits hold.
	v := failover.VantageName(req.Header.Get(vantageHeader))
	_, maxBody, bodyTime := r.peer(v)
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	dropped, err := r.take(w, req, v, maxBody)
	if from, _, _ := r.peer(v); from != nil {
		w.Header().Set(challengeHeader, from.asks())
	}
	if bad, ok := errors.AsType[*refusal](err); ok {
		r.tally(bad.why)
		http.Error(w, bad.Error(), bad.status)
		return
	}
	if len(dropped) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	for _, d := range dropped {
		r.tally(d.why)
		fmt.Fprintln(w, d)
	}
}

func (r *Receiver) take(w http.ResponseWriter, req *http.Request, v failover.VantageName, maxBody int64) ([]*refusal, error) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, refuse(RefusedMethod, http.StatusMethodNotAllowed, "%s is not POST", clean(req.Method, 16))
	}
	unknown := refuse(RefusedUnknownVantage, http.StatusUnauthorized, "%s is not configured", quote(string(v)))
	if from, _, _ := r.peer(v); from == nil {
		return nil, unknown
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(RefusedTooLarge, http.StatusRequestEntityTooLarge, "more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, refuse(RefusedMalformed, http.StatusBadRequest, "read body: %w", err)
	}
	received := time.Now()
	r.rules.RLock()
	defer r.rules.RUnlock()
	from := r.peers[v] // may be gone since its body began to come
	if from == nil {
		return nil, unknown
	}
	if !signed(r.config.Vantages[v], body, req.Header.Get(signatureHeader)) {
		return nil, refuse(RefusedSignature, http.StatusUnauthorized, "not signed by a key of %s", v)
	}
	m, err := decodeMessage(body)
	switch {
	case errors.Is(err, errDouble):
		return nil, refuse(RefusedDouble, http.StatusBadRequest, "%w", err)
	case err != nil:
		return nil, refuse(RefusedMalformed, http.StatusBadRequest, "%w", err)
	case m.Vantage != v:
		return nil, refuse(RefusedMalformed, http.StatusBadRequest, "header and body name different vantages")
	}
	return r.deliver(from, m, received)
}

// deliver holds the peer's lock, so the reports of a vantage stay in order.
func (r *Receiver) deliver(from *peer, m *message, received time.Time) (dropped []*refusal, err error) {
	from.mu.Lock()
	defer from.mu.Unlock()
	if bad := from.admit(m, received); bad != nil {
		return nil, bad
	}
	held := from.held(m, received)
	if from.config.hear(m.Config, received) && r.config.Config != nil {
		r.config.Config(m.Vantage, from.config)
	}
	if c, ok := from.read(m, received); ok && r.config.Clock != nil {
		r.config.Clock(m.Vantage, c)
	}
	for _, rep := range m.Reports {
		round, known := r.config.Instances[rep.Instance]
		if !known {
			dropped = append(dropped, refuse(RefusedUnknownInstance, http.StatusOK, "%s", rep.Instance))
			continue
		}
		// An abstention may be old: its probes rest, its reason is news.
		if age, ok := rep.newest(); ok && rep.Sick == "" && age+held > 2*round {
			dropped = append(dropped, refuse(RefusedStale, http.StatusOK, "%s: newest probe is %s old and was %s on the way, two rounds are %s",
				rep.Instance, age.Round(time.Millisecond), held.Round(time.Millisecond), 2*round))
			continue
		}
		r.config.Deliver(m.Vantage, rep, received)
		r.mu.Lock()
		r.accepted++
		r.mu.Unlock()
	}
	return dropped, nil
}
