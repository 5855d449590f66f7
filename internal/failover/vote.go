package failover

import (
	"fmt"
	"time"
)

// The names of things are types of their own, so that a vantage can never be
// passed where a cluster is meant.
type (
	InstanceName string // one service behind one domain name
	ClusterName  string // one of the two back ends of an instance
	VantageName  string // a place from which probes run
	DomainName   string // a failure domain that vantages belong to
	RecordName   string // a fully qualified DNS name, lower case, with the final dot
	Target       string // a CNAME target, lower case, with the final dot
)

// Vote is what one vantage says of one cluster. The zero value is Unknown:
// silence is never down.
type Vote int8

const (
	Unknown Vote = iota
	Up
	Down
)

func (v Vote) String() string {
	switch v {
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		return "unknown"
	}
}

// MarshalText writes the word that String returns.
func (v Vote) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText refuses every word that is not up, down or unknown.
func (v *Vote) UnmarshalText(b []byte) error {
	switch string(b) {
	case "up":
		*v = Up
	case "down":
		*v = Down
	case "unknown":
		*v = Unknown
	default:
		return fmt.Errorf("vote %q is none of up, down, unknown", b)
	}
	return nil
}

// ClientResult is what a write with the client identity met. Unreachable is
// not refused: a crashed cluster cannot prove itself closed.
type ClientResult string

const (
	ClientNone     ClientResult = ""         // no client canary is configured
	ClientAccepted ClientResult = "accepted" // the write was acknowledged
	ClientRefused  ClientResult = "refused"  // refused with the code that a closed gate gives
	ClientSilent   ClientResult = "silent"   // no answer, or one that proves nothing
)

// Sighting is what one vantage last said of one cluster, on the clock of the
// controller that received it: the sender gives ages, never times, so no
// clock of another machine is ever compared with ours.
type Sighting struct {
	Vote   Vote
	Reason string // why, in words; for unknown the reason of the abstention
	Fault  Fault  // of a vote that is unknown, where the cluster's own answer is the reason

	Misses, Fall   int // consecutive misses so far, of how many
	Hits, Rise     int // consecutive successes so far, of how many
	Failed, Window int // failures within the last Window probes; Window 0 is no window

	Received  time.Time // when the report came in; the core counts staleness from when it is told
	LastProbe time.Time // when the newest probe was sent; too long ago is unknown
	FirstMiss time.Time // when the first probe of the present run of misses was sent; zero while up
	LastMiss  time.Time // when the newest miss was sent; zero when the newest probe was a success
	UpSince   time.Time // since when the vote has been up; zero unless Up

	LastSuccess time.Time // when the newest success that was counted was sent; zero: none

	Identity bool          // the last success proved which cluster answered
	Warnings []string      // slow, certificate near expiry, throttled: never down
	Client   ClientResult  // last write with the client identity, and when it was sent
	ClientAt time.Time     //
	Canary   CanaryResult  // last write with the service identity
	CanaryAt time.Time     //
	Latency  time.Duration // of the newest success

	CertificateEnds time.Time // of the certificate that the newest success showed; zero: it showed none
}

// Fault is the class of a reason for which a vantage that looked cannot say
// how the cluster is: the cluster answered, and what it said is about us. It
// stands beside a vote that is unknown and never makes it another one. The
// empty class says nothing.
type Fault string

const (
	FaultNone Fault = ""
	// FaultKey: the key is unknown there, disabled, of no user, or its
	// signature does not fit.
	FaultKey Fault = "key"
	// FaultDenied: the key is known and may not do it.
	FaultDenied Fault = "denied"
	// FaultPlace: the cluster refuses the network from which we ask.
	FaultPlace Fault = "place"
	// FaultClock: our clock and that of the cluster are too far apart.
	FaultClock Fault = "clock"
	// FaultSetup: what the config names is not there: no such instance, none of
	// our own tables.
	FaultSetup Fault = "setup"
)

// Faults lists every class but the empty one. Tapes name them by their place, so
// new ones come last.
var Faults = []Fault{FaultKey, FaultDenied, FaultPlace, FaultClock, FaultSetup}

// Auth says that the fault lies between a key and who checks it.
func (f Fault) Auth() bool { return f == FaultKey || f == FaultDenied }

// CanaryResult is what a write with the service identity met.
type CanaryResult string

const (
	CanaryNone CanaryResult = ""
	CanaryOK   CanaryResult = "ok"
	CanaryBad  CanaryResult = "bad"
)

// CountPolicy says how many probes make a vote.
type CountPolicy struct {
	Fall   int     // consecutive misses that make a down vote, at least 1
	Rise   int     // consecutive successes that make an up vote again, at least 1
	Window int     // number of recent probes watched for a failure ratio, at most 64; 0 switches it off
	Ratio  float64 // a failure ratio at or above this over a full window is down, in (0, 1]
}

// Count turns single probe results into a vote: down after Fall consecutive
// misses or a bad ratio over a full window, up after Rise consecutive
// successes. The window catches the 40 % of failing requests that never add
// up to consecutive ones (gdnsd's ok_thresh has the same aim). A fresh Count
// votes unknown until either bound is reached. The zero value is ready.
type Count struct {
	vote         Vote
	misses, hits int
	recent       uint64 // newest probe in bit 0, a set bit is a miss
	seen         int
	firstMiss    time.Time
	lastMiss     time.Time
	lastProbe    time.Time
	upSince      time.Time
	lastSuccess  time.Time
}

// Add counts one probe that was sent at the given time and returns the new
// count. Faults of our own are not added: the vote then is unknown by the
// vantage's own word, and the count stays as it was.
func (c Count) Add(ok bool, sent time.Time, p CountPolicy) Count {
	c.recent <<= 1
	if c.seen < 64 {
		c.seen++
	}
	if !ok {
		c.recent |= 1
	}
	return c.add(ok, sent, p)
}

// Recheck counts a probe that was sent out of turn, because another one missed.
// It counts as every other, but not in the window: a blip draws many re-checks,
// and with them it would fill the window and pass for a mixture of failures
// and successes.
func (c Count) Recheck(ok bool, sent time.Time, p CountPolicy) Count { return c.add(ok, sent, p) }

// Lapse is the count before a probe sent at the given time, where none was
// counted for longer than gap: misses from before cannot be joined to those
// that come, for nobody saw what lay between them. An up vote stays; who reads
// it sees the age of its newest probe.
func (c Count) Lapse(sent time.Time, gap time.Duration) Count {
	switch {
	case c.lastProbe.IsZero() || sent.Sub(c.lastProbe) <= gap:
		return c
	case c.vote == Up:
		c.misses, c.firstMiss, c.lastMiss = 0, time.Time{}, time.Time{}
		return c
	}
	return Count{lastSuccess: c.lastSuccess}
}

func (c Count) add(ok bool, sent time.Time, p CountPolicy) Count {
	c.lastProbe = sent
	if ok {
		c.misses, c.hits, c.lastSuccess = 0, c.hits+1, sent
		c.lastMiss = time.Time{}
	} else {
		// A success between two runs of misses ends a blip, so the clock of
		// the outage starts anew, unless the window says that failures and
		// successes have been mixed all along.
		if c.misses == 0 && (c.firstMiss.IsZero() || !c.badWindow(p)) {
			c.firstMiss = sent
		}
		c.misses, c.hits = c.misses+1, 0
		c.lastMiss = sent
	}
	switch {
	case c.misses >= max(p.Fall, 1):
		c.vote = Down
	case c.hits >= max(p.Rise, 1):
		if c.vote != Up { // up again: the window begins anew
			c.upSince, c.recent, c.seen = sent, 0, 0
		}
		c.vote = Up
	case c.badWindow(p) && !ok: // a success alone never turns a vote down
		c.vote = Down
	}
	if c.vote != Up {
		c.upSince = time.Time{}
	} else if c.misses == 0 {
		c.firstMiss = time.Time{}
	}
	return c
}

func (c Count) badWindow(p CountPolicy) bool {
	if p.Window <= 0 || p.Ratio <= 0 || c.seen < min(p.Window, 64) {
		return false
	}
	return float64(c.failed(p)) >= p.Ratio*float64(min(p.Window, 64))
}

func (c Count) failed(p CountPolicy) int {
	n := min(p.Window, 64, c.seen)
	failed := 0
	for i := range n {
		if c.recent&(1<<uint(i)) != 0 {
			failed++
		}
	}
	return failed
}

// Vote is what the count says now.
func (c Count) Vote() Vote { return c.vote }

// Missing says that the newest probe was a miss while the vote is not down
// yet: the moment for a burst of re-checks.
func (c Count) Missing() bool { return c.misses > 0 && c.vote != Down }

// Sighting fills in the counting part of a sighting; the caller adds what it
// alone knows (reason, identity, warnings, arrival).
func (c Count) Sighting(p CountPolicy) Sighting {
	return Sighting{
		Vote:   c.vote,
		Misses: c.misses, Fall: max(p.Fall, 1),
		Hits: c.hits, Rise: max(p.Rise, 1),
		Failed: c.failed(p), Window: p.Window,
		LastProbe: c.lastProbe, FirstMiss: c.firstMiss, LastMiss: c.lastMiss, UpSince: c.upSince,
		LastSuccess: c.lastSuccess,
	}
}
