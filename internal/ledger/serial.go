package ledger

import (
	"slices"
	"time"

	"pointsman/internal/failover"
)

// nextSerial is the SOA serial after prev: the wall clock in seconds when that
// is later, else prev + 1, compared by serial number arithmetic (RFC 1982
// section 3). A clock that was set back therefore never lowers it. 0 means
// that there is none yet, so it is skipped on wrap-around.
func nextSerial(prev uint32, now time.Time) uint32 {
	clock := max(uint32(now.Unix()), 1)
	if prev == 0 || int32(clock-prev) > 0 {
		return clock
	}
	return max(prev+1, 1)
}

// shown is what a resolver can see of one embedded name.
type shown struct {
	zone  failover.RecordName
	value failover.Target
	ttl   uint32
	mark  string
}

func embedded(r *failover.Record) map[failover.RecordName]shown {
	names := make(map[failover.RecordName]shown, len(r.Names))
	for _, n := range r.Shown() {
		if n.Embedded {
			sh := shown{zone: n.Zone, value: n.Value, ttl: n.TTL}
			if n.Mark != (failover.Mark{}) {
				sh.mark = n.Mark.String()
			}
			names[n.Name] = sh
		}
	}
	return names
}

// changedZones lists, sorted, the zones in which the step from one record to
// the next changes what an embedded name shows. A name that came, went or
// moved to another zone changes its zones too.
func changedZones(before, after *failover.Record) []failover.RecordName {
	was, is := embedded(before), embedded(after)
	var zones []failover.RecordName
	for name, b := range was {
		if a, ok := is[name]; !ok || a != b {
			zones = append(zones, b.zone)
		}
	}
	for name, a := range is {
		if b, ok := was[name]; !ok || a != b {
			zones = append(zones, a.zone)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}
