package doctor

import (
	"fmt"
	"strings"
	"time"
)

// ReplicaKeyFacts are what one identity of replication may do at one cluster.
type ReplicaKeyFacts struct {
	Instance, Cluster string
	As                string   // source or target
	KeyID             string   // empty: it could not be read
	Err               string   // nothing could be tried
	Granted           int      // rights that are needed and there
	Missing           []string // needed, and refused: action and table
	Unknown           []string // something else was in the way
	Broad             []string // granted, and not needed
	SameAs            string   // another identity with the same key
}

// JudgeReplicaKey says whether a key has what it needs and no more.
func JudgeReplicaKey(k ReplicaKeyFacts) []Finding {
	const id = "replication.rights"
	about := fmt.Sprintf("%s/%s as %s", k.Instance, k.Cluster, k.As)
	if k.Err != "" {
		return []Finding{bad(Fail, id, about, "write a file of mode 0600 with AccessKeyId and AccessKeySecret; pointsman init rights prints what the key needs", "%s", k.Err)}
	}
	var out []Finding
	if len(k.Missing) > 0 {
		out = append(out, bad(Fail, id, about, "grant it: pointsman init rights prints the policy", "key %s lacks %s", k.KeyID, listed(k.Missing)))
	}
	if len(k.Broad) > 0 {
		out = append(out, bad(Warn, id, about, "narrow its policy: pointsman init rights prints it", "key %s may do more than it needs: %s", k.KeyID, strings.Join(k.Broad, ", ")))
	}
	if k.SameAs != "" {
		out = append(out, bad(Warn, id, about, "give each identity a key of its own: whoever gets this one can read and overwrite every row", "key %s is that of %s too", k.KeyID, k.SameAs))
	}
	if len(k.Unknown) > 0 {
		out = append(out, Skip(id, about, "key %s: not known: %s", k.KeyID, listed(k.Unknown)))
	}
	if len(out) == 0 {
		out = append(out, okay(id, about, "key %s has the %d rights that were tried, and no table may be changed with it; writing people's rows was not tried", k.KeyID, k.Granted))
	}
	return out
}

// LagFacts are what somebody else's replication says of itself.
type LagFacts struct {
	Instance, Mode string
	Lag            time.Duration
	Limited        bool // an automatic failover may lose no more than Limit
	Limit          time.Duration
	Err            string // why nothing is known
	Fix            string
}

// JudgeLag says whether that can be known, and is within bounds.
func JudgeLag(f LagFacts) Finding {
	const id = "replication.lag"
	switch {
	case f.Err != "":
		return bad(Fail, id, f.Instance, f.Fix, "how far the standby is behind is not known (mode %s), so no automatic failover has a bound: %s", f.Mode, f.Err)
	case f.Limited && f.Lag > f.Limit:
		return bad(Warn, id, f.Instance, "see why it is behind, or raise rpo: until then no failover happens by itself", "the standby is %s behind (mode %s), and an automatic failover may lose %s", roughly(f.Lag), f.Mode, roughly(f.Limit))
	}
	return okay(id, f.Instance, "the standby is %s behind (mode %s)", roughly(f.Lag), f.Mode)
}

// IdleFacts are what reading the streams of an idle instance comes to.
type IdleFacts struct {
	Instance, Cluster string
	Tables, Shards    int // shards that are open
	Idle, Busy        time.Duration
	Err               string
}

// manyUnits is what a day of idle reading may cost before it is worth a word.
const manyUnits = 10_000_000

// JudgeIdle says what a day of reading costs in which nothing is written.
func JudgeIdle(f IdleFacts) Finding {
	const id = "replication.cost"
	about := f.Instance + "/" + f.Cluster
	if f.Err != "" {
		return Skip(id, about, "%s", f.Err)
	}
	idle, busy := perDay(f.Shards, f.Idle), perDay(f.Shards, f.Busy)
	evidence := fmt.Sprintf("%d open shards of %d tables, each read every %s while idle: about %s read units a day, at a unit for an empty read; under load, every %s, up to %s",
		f.Shards, f.Tables, roughly(f.Idle), thousands(idle), roughly(f.Busy), thousands(busy))
	if idle > manyUnits {
		return bad(Warn, id, about, "replicate fewer tables, or read less often when idle (replication.poll.idle): the exposure of an idle table grows by as much", "%s", evidence)
	}
	return okay(id, about, "%s; replication status shows what was consumed", evidence)
}

func perDay(shards int, every time.Duration) int64 {
	if every <= 0 {
		return 0
	}
	return int64(shards) * int64(24*time.Hour/every)
}

// thousands writes a number so that people can read it.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// JudgeReplicaClock says how far the clock of a service is from ours: moments
// of its records become moments of ours by it.
func JudgeReplicaClock(instance, cluster string, known bool, low, high time.Duration) Finding {
	f := JudgeClock("replication.clock", ClockFacts{
		With: instance + "/" + cluster, How: "the time in its answers", Offset: low + (high-low)/2, Unsure: (high - low) / 2,
		Limit: serviceLife, LimitOf: "requests are refused beyond 15 minutes (vendor's OTSAuthFailed, mismatch of the times)",
	})
	if !known {
		return Skip("replication.clock", instance+"/"+cluster, "it said no time")
	}
	return f
}

// serviceLife is how old a signed request of Tablestore may be.
const serviceLife = 15 * time.Minute
