package healthcheck

import (
	"errors"
	"time"

	"pointsman/internal/failover"
)

// ConfigRefusal tells, beside the reports of a vantage, that the newest file of
// its configuration was refused and an older one goes on.
type ConfigRefusal struct {
	Age    time.Duration `json:"age_ns"` // since it was refused
	Reason string        `json:"reason,omitempty"`
}

// maxRefusal bounds the reason, in bytes.
const maxRefusal = 256

func (c *ConfigRefusal) check() error {
	if c.Age < 0 || c.Age > maxAge {
		return errors.New("age of the refusal is out of range")
	}
	c.Reason = clean(c.Reason, maxRefusal)
	return nil
}

// refused is what a sender tells of its configuration.
type refused struct {
	since  time.Time
	reason string
}

// Refused says from now on, to every controller, that the newest file is
// refused and since when; a zero time: that it is not. It returns at once. A
// controller of an earlier version, which would refuse messages that say so, is
// not told.
func (s *Sender) Refused(since time.Time, reason string) {
	if since.IsZero() {
		s.config.Store(nil)
		return
	}
	s.config.Store(&refused{since, clean(reason, maxRefusal)})
}

// refusal is what a message says of the configuration.
func (s *Sender) refusal(now time.Time) *ConfigRefusal {
	r := s.config.Load()
	if r == nil {
		return nil
	}
	return &ConfigRefusal{Age: min(max(now.Sub(r.since), 0), maxAge), Reason: r.reason}
}

// VantageConfig is what a vantage said last of its configuration.
type VantageConfig struct {
	Heard   time.Time // its newest message; zero: none since our start
	Refused time.Time // since when its newest file is refused; zero: it is not
	Reason  string
}

// sameRefusal is how far two messages may be apart on when a refusal began
// although they tell of the same: they travel at different speeds.
const sameRefusal = 5 * time.Second

// hear notes what a message that was admitted says of the configuration, and
// says whether that is other than before.
func (c *VantageConfig) hear(r *ConfigRefusal, received time.Time) (other bool) {
	c.Heard = received
	if r == nil {
		other = !c.Refused.IsZero()
		c.Refused, c.Reason = time.Time{}, ""
		return other
	}
	since := received.Add(-r.Age)
	if !c.Refused.IsZero() && c.Reason == r.Reason && since.Sub(c.Refused).Abs() < sameRefusal {
		return false
	}
	c.Refused, c.Reason = since, r.Reason
	return true
}

// Configs says of each configured vantage what it told of its configuration.
func (r *Receiver) Configs() map[failover.VantageName]VantageConfig {
	r.rules.RLock()
	defer r.rules.RUnlock()
	out := make(map[failover.VantageName]VantageConfig, len(r.peers))
	for v, p := range r.peers {
		p.mu.Lock()
		out[v] = p.config
		p.mu.Unlock()
	}
	return out
}
