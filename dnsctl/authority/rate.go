package authority

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// RateLimit bounds the answers over UDP to one network (an IPv4 /24 or IPv6
// /56), so that a spoofed source is not drowned in them. Answers with records
// are counted for each name, the others together by class, and all of them
// together once more. The zero value is the defaults.
type RateLimit struct {
	PerSecond int           `yaml:"responses_per_second"`     // of one name or class; 1 to 1,000,000; 200; below zero: no limit
	Total     int           `yaml:"all_responses_per_second"` // 1 to 1,000,000; 5,000; below zero: no limit
	Window    time.Duration `yaml:"window"`                   // so much of the rate may come at once; 1 s to 1 min; 5 s
	// Slip: of the answers above the limit one in so many is sent as a bare TC,
	// so that a true client asks again over TCP. 1 (the default) to 100; below
	// zero: none is.
	Slip     int            `yaml:"slip"`
	Exempt   []netip.Prefix `yaml:"exempt"`   // networks without a limit, at most 64
	Loopback LoopbackRate   `yaml:"loopback"` // exempt
}

// LoopbackRate says whether clients on this machine are limited.
type LoopbackRate string

// What a LoopbackRate can be; "" is LoopbackExempt.
const (
	LoopbackExempt  LoopbackRate = "exempt"
	LoopbackLimited LoopbackRate = "limited"
)

// NoRateLimit as RateLimit.PerSecond or Total is no limit, as RateLimit.Slip no
// TC.
const NoRateLimit = -1

// class is what answers are limited together as.
type class int8

const (
	classAnswer class = iota
	classNoData
	classNoName
	classError
	classNetwork // all of them
	classes
)

func (c class) String() string {
	return [classes]string{"answer", "nodata", "nxdomain", "error", "network"}[c]
}

func classOf(t *template, rcode int) class {
	switch {
	case rcode == dns.RcodeNameError:
		return classNoName
	case rcode != dns.RcodeSuccess:
		return classError
	case t != nil && t.counts[0] > 0:
		return classAnswer
	}
	return classNoData
}

// verdict is what becomes of an answer.
type verdict int8

const (
	pass     verdict = iota
	slip             // a bare TC
	withhold         // nothing
	demand           // BADCOOKIE, with a cookie to come again with
	verdicts
)

func (v verdict) String() string {
	return [verdicts]string{"pass", "truncated", "dropped", "badcookie"}[v]
}

// quota is a RateLimit made ready.
type quota struct {
	off      bool
	every    uint64 // ticks between two answers at the rate
	ahead    uint64 // ticks by which a bucket may be ahead of now
	slip     uint64 // 0: none
	exempt   []netip.Prefix
	loopback bool // exempt
}

// quotas are those of each name or class, and of all together.
func (c RateLimit) quotas() (each, all quota) { return c.quota(c.PerSecond), c.quota(c.Total) }

func (c RateLimit) quota(perSecond int) quota {
	q := quota{off: perSecond <= 0, exempt: c.Exempt, loopback: c.Loopback != LoopbackLimited}
	if !q.off {
		q.every = uint64(time.Second) / tick / uint64(perSecond)
		q.ahead = uint64(c.Window) / tick
	}
	if c.Slip > 0 {
		q.slip = uint64(c.Slip)
	}
	return q
}

// covers says whether answers to an address are limited, where there is a limit.
func (q *quota) covers(a netip.Addr) bool {
	if !a.IsValid() || q.loopback && a.IsLoopback() {
		return false
	}
	for _, p := range q.exempt {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

const (
	tick = uint64(time.Microsecond)

	ways       = 8 // a cache line
	answerSets = 8192
	tagShift   = 40
	moment     = 1<<tagShift - 1 // a time of 40 bits in ticks, which wraps after 12 days
	maxRetries = 4
)

// limiter is a table of buckets of fixed size, shared by all sockets. A bucket
// is one word: the moment at which it is empty again (the generic cell rate
// algorithm: a bucket is full when that is too far ahead), and a tag of its
// key. Of a set that is full the bucket that would be empty first gives way.
// Nothing is allocated and no lock is taken.
type limiter struct {
	seed    maphash.Seed
	start   time.Time
	slips   atomic.Uint64
	evicted atomic.Uint64
	table   [][ways]atomic.Uint64
}

func newLimiter(sets int) *limiter {
	return &limiter{seed: maphash.MakeSeed(), start: time.Now(), table: make([][ways]atomic.Uint64, sets)}
}

// rateKey is whom and what a bucket is for. Networks are a /24 or a /56; the
// name counts only for answers with records, and that of the zone for denials.
type rateKey [8 + 1 + maxNameOctets]byte

func (k *rateKey) of(from netip.Addr, c class, name []byte) []byte {
	if from.Is4() {
		a := from.As4()
		copy(k[:8], []byte{4, a[0], a[1], a[2], 0, 0, 0, 0})
	} else {
		a := from.As16()
		k[0] = 6
		copy(k[1:8], a[:7])
	}
	k[8] = byte(c)
	n := 9
	if c == classAnswer || c == classNoName {
		n += copy(k[9:], name)
	}
	return k[:n]
}

// judge takes one answer out of the bucket of key at now and says what becomes
// of it.
func (l *limiter) judge(q *quota, key []byte, now uint64) verdict {
	if l.take(q, maphash.Bytes(l.seed, key), now&moment) {
		return pass
	}
	if q.slip == 0 || q.slip > 1 && l.slips.Add(1)%q.slip != 0 {
		return withhold
	}
	return slip
}

// now is the present in ticks.
func (l *limiter) now() uint64 { return uint64(time.Since(l.start)) / tick }

func (l *limiter) take(q *quota, hash, now uint64) bool {
	tag := hash>>tagShift | 1 // 0 is a bucket that was never used
	set := &l.table[hash%uint64(len(l.table))]
	for range maxRetries {
		var at *atomic.Uint64
		var was, least uint64
		for i := range set {
			w := set[i].Load()
			ahead := q.aheadOf(w, now)
			if w>>tagShift == tag {
				at, was, least = &set[i], w, ahead
				break
			}
			if at == nil || ahead < least {
				at, was, least = &set[i], w, ahead
			}
		}
		if was>>tagShift != tag {
			if least > 0 {
				l.evicted.Add(1)
			}
			least = 0
		}
		if least+q.every > q.ahead {
			return false
		}
		if at.CompareAndSwap(was, tag<<tagShift|(now+least+q.every)&moment) {
			return true
		}
	}
	return true // so many at once on one bucket: the next will see it
}

// aheadOf returns by how much a bucket is ahead of now. What lies further ahead
// than any bucket can is in the past, or from before the wrap.
func (q *quota) aheadOf(w, now uint64) uint64 {
	d := (w - now) & moment
	if d > q.ahead {
		return 0
	}
	return d
}
