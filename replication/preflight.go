package replication

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// Level is how much a finding of the preflight weighs.
type Level string

// Levels.
const (
	LevelBlock Level = "block" // rows would be refused or lost: the standby is not protected
	LevelWarn  Level = "warn"  // rows cross; something else will hurt one day
)

// Finding is one thing that does not fit. Its ID is stable; docs/replication.md
// lists all of them.
type Finding struct {
	ID       string `json:"id"`
	Level    Level  `json:"level"`
	Table    string `json:"table,omitempty"` // empty: of the instance
	Evidence string `json:"evidence"`
	Hint     string `json:"hint"`
}

// What the preflight holds tables to.
const (
	// WideDeviation is the window of versions that takes every row, however old,
	// in seconds: 68 years.
	WideDeviation = 1<<31 - 1
	// LongRetention is the longest that a stream remembers.
	LongRetention = 168 * time.Hour
	// shortRetention is the least that leaves somebody a working day to answer.
	shortRetention = 24 * time.Hour
	// TableQuota is how many tables an instance may have, secondary indexes
	// among them, unless a ticket raised it.
	TableQuota = 64
	// oldRow is the age of rows, in seconds, that a full copy has to expect of a
	// table that keeps them for ever: the service is not much older.
	oldRow = 10 * 365 * 86400

	prepareVerb = "pointsman replication prepare"
	prepareHint = prepareVerb + " shows what is missing, and makes it"
)

// HintFor makes the verb in a hint one that can be typed for an instance.
func HintFor(i failover.InstanceName, hint string) string {
	return strings.ReplaceAll(hint, prepareVerb, prepareVerb+" "+string(i)+" --key-file FILE")
}

// Pair is one table at both sides; nil is not there.
type Pair struct {
	Table          string
	Source, Target *ots.Table
}

// pairOf takes a Table without a name for one that is not there.
func pairOf(source, target ots.Table) Pair {
	p := Pair{Table: source.Name}
	if source.Name != "" {
		p.Source = &source
	}
	if target.Name != "" {
		p.Target = &target
		p.Table = target.Name
	}
	return p
}

// parity is the judgement of [Judge] as the reasons why a table is not
// protected, with what helps against the first of them, and those to worry. A
// Table without a name is not there.
func parity(_ context.Context, source, target ots.Table) (block, warn []string, hint string) {
	for _, f := range Judge(pairOf(source, target)) {
		switch f.Level {
		case LevelBlock:
			if len(block) == 0 {
				hint = f.Hint
			}
			block = append(block, f.Evidence)
		case LevelWarn:
			warn = append(warn, f.Evidence)
		}
	}
	return block, warn, hint
}

// judge gathers the findings about one pair.
type judge struct {
	Pair
	found []Finding
}

func (j *judge) say(l Level, id, hint, format string, args ...any) {
	j.found = append(j.found, Finding{ID: id, Level: l, Table: j.Table, Evidence: fmt.Sprintf(format, args...), Hint: hint})
}

// Judge says what stands in the way of carrying a table's rows from source to
// target, and, as warnings, what would stand in the way back. It is pure.
func Judge(p Pair) []Finding {
	j := &judge{Pair: p}
	switch {
	case p.Source == nil && p.Target == nil:
		j.say(LevelBlock, "table.missing", "is its name right?", "the table is at neither cluster")
		return j.found
	case p.Source == nil:
		j.say(LevelBlock, "table.missing", "did somebody drop it? Take it out of replication.tables, or make it again", "the table is not at the source")
		return j.found
	}
	j.stream()
	if p.Target == nil {
		j.say(LevelBlock, "table.missing", prepareHint, "the table is not at the target")
		return j.found
	}
	j.keys()
	j.life()
	j.versions()
	j.writes()
	j.indexes()
	j.back()
	return j.found
}

// stream: without one there is nothing to follow.
func (j *judge) stream() {
	s := j.Source
	switch {
	case s.Stream == "":
		j.say(LevelBlock, "stream.off", prepareHint+" (a stream that is enabled again has a new ID: the table is copied anew)", "the table has no stream at the source")
	case s.Retention < shortRetention:
		j.say(LevelWarn, "stream.retention", retentionHint,
			"the stream at the source remembers %s: a standby that is away for longer is copied anew", hoursText(s.Retention))
	case s.Retention < LongRetention:
		j.say(LevelWarn, "stream.retention", retentionHint,
			"the stream at the source remembers %s of the possible %s", hoursText(s.Retention), hoursText(LongRetention))
	}
}

// The service refuses to change the hours of a stream that is on.
const retentionHint = "only a stream that is enabled again can have other hours, and then the table is copied anew: choose the moment"

// keys: the rows must find their place.
func (j *judge) keys() {
	s, t := j.Source.Key, j.Target.Key
	same := slices.EqualFunc(s, t, func(a, b ots.KeySchema) bool { return a.Name == b.Name && a.Type == b.Type })
	if !same {
		j.say(LevelBlock, "table.key", "a primary key cannot be changed: drop the table at the target, if nobody needs it, and prepare makes it anew",
			"the primary key is (%s) at the source and (%s) at the target", keyText(s), keyText(t))
	}
	for _, k := range t {
		if k.AutoIncrement {
			j.say(LevelBlock, "table.auto_increment", "make the table at the target with that column as a plain INTEGER: prepare does where the table is missing",
				"the target chooses the values of %s itself and refuses those of the source", k.Name)
		}
	}
	for _, k := range s {
		if k.AutoIncrement {
			j.say(LevelWarn, "table.auto_increment", "let clients write values of their own, or fail over by hand and rebuild the old side",
				"the source chooses the values of %s and the target does not: after a switch, clients that leave it to the service are refused, and no row can be carried back", k.Name)
		}
	}
}

// life: a row must live as long at the standby as at the active cluster.
func (j *judge) life() {
	s, t := lifeOf(j.Source.TTL), lifeOf(j.Target.TTL)
	switch {
	case t < s:
		j.say(LevelBlock, "table.ttl", prepareHint, "rows live %s at the source and only %s at the target", lifeText(j.Source.TTL), lifeText(j.Target.TTL))
	case t > s:
		j.say(LevelWarn, "table.ttl", "set the same time to live at both, by hand: shortening it deletes rows, and prepare never does",
			"rows live %s at the source and %s at the target: what has expired at the one is still at the other", lifeText(j.Source.TTL), lifeText(j.Target.TTL))
	}
}

// versions: as many, and in a window that takes them.
func (j *judge) versions() {
	s, t := j.Source, j.Target
	switch {
	case t.MaxVersions < s.MaxVersions:
		j.say(LevelBlock, "table.max_versions", prepareHint, "the source keeps %d versions of a column and the target %d", s.MaxVersions, t.MaxVersions)
	case t.MaxVersions > s.MaxVersions:
		j.say(LevelWarn, "table.max_versions", "set the same number at both, by hand: lowering it deletes versions, and prepare never does",
			"the source keeps %d versions of a column and the target %d: deleting the newest shows an older one at the target alone", s.MaxVersions, t.MaxVersions)
	}
	// A version is refused outside of [max(now-deviation, now-TTL), now+deviation).
	// What is past its time to live is dead at the source as well.
	if need := min(int64(lifeOf(s.TTL)), oldRow); t.Deviation < need {
		j.say(LevelBlock, "table.deviation", prepareHint,
			"the target refuses versions that are more than %s from now, and the source may have rows that are %s old", secondsText(t.Deviation), secondsText(need))
		return
	}
	if t.Deviation < WideDeviation {
		j.say(LevelWarn, "table.deviation", prepareHint, "the target refuses versions that are more than %s from now; %d s refuses none", secondsText(t.Deviation), WideDeviation)
	}
}

// writes: what the source allows, the target must take.
func (j *judge) writes() {
	s, t := j.Source, j.Target
	if t.UpdateFullRow {
		j.say(LevelBlock, "table.update_full_row", "it is fixed when a table is made: make the table at the target without it, or let the vendor's Global Table replicate it (mode: global-table)",
			"the target updates rows as a whole and refuses the versions of the source")
	}
	switch {
	case s.AllowUpdate && !t.AllowUpdate:
		j.say(LevelBlock, "table.allow_update", prepareHint, "the source takes updates of rows and the target refuses them")
	case !s.AllowUpdate && t.AllowUpdate:
		j.say(LevelWarn, "table.allow_update", "forbid updates at the target as well, by hand", "the source refuses updates of rows and the target takes them")
	}
}

// indexes: they serve reads after a switch, and the vendor keeps them.
func (j *judge) indexes() {
	var missing []string
	for _, i := range j.Source.Indexes {
		if !slices.Contains(j.Target.Indexes, i) {
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 {
		j.say(LevelWarn, "table.indexes", "create them at the target: reads through them fail after a switch", "secondary indexes that only the source has: %s", strings.Join(missing, ", "))
	}
	if len(j.Target.Indexes) > 0 {
		j.say(LevelWarn, "table.indexes", "watch the first rows of it, and the dead letters: the vendor's pages do not say whether versions of our own are taken",
			"the target has secondary indexes, which are filled by the service: %s", strings.Join(j.Target.Indexes, ", "))
	}
}

// back is what a switchover would meet when it turns the direction round.
func (j *judge) back() {
	s, t := j.Source, j.Target
	switch {
	case t.Stream == "":
		j.say(LevelWarn, "reverse.stream", prepareHint, "the table has no stream at the target: after a switch the way back begins with a full copy")
	case t.Retention < LongRetention:
		j.say(LevelWarn, "reverse.retention", retentionHint, "the stream at the target remembers %s of the possible %s, for the way back", hoursText(t.Retention), hoursText(LongRetention))
	}
	if s.UpdateFullRow && !t.UpdateFullRow {
		j.say(LevelWarn, "reverse.update_full_row", "after a switch, rebuild the old side in a new table", "the source updates rows as a whole and refuses versions of others: no row can be carried back")
	}
	if s.Deviation < WideDeviation {
		j.say(LevelWarn, "reverse.deviation", prepareHint, "the source refuses versions that are more than %s from now: on the way back older rows would be refused", secondsText(s.Deviation))
	}
}

// OwnTable judges a table of ours against what it must be. A nil table is not
// there.
func OwnTable(want ots.Table, have *ots.Table) []Finding {
	j := &judge{Pair: Pair{Table: want.Name}}
	switch {
	case have == nil:
		j.say(LevelBlock, "own.missing", prepareHint, "the table of our own is not there")
	case !slices.Equal(want.Key, have.Key):
		j.say(LevelBlock, "own.key", "who made it? Name another table under replication.control", "its primary key is (%s) and should be (%s)", keyText(have.Key), keyText(want.Key))
	case have.MaxVersions != 1 || have.UpdateFullRow || !have.AllowUpdate:
		j.say(LevelBlock, "own.options", "drop it while nothing replicates, and prepare makes it anew", "it must keep one version, take updates, and not update rows as a whole")
	case have.TTL != -1:
		j.say(LevelBlock, "own.ttl", prepareHint, "its rows live only %s: positions and refused rows would expire", lifeText(have.TTL))
	}
	return j.found
}

// Quota judges the number of tables at one instance of the service: those that
// are there, secondary indexes among them, and those still to be made.
func Quota(instance string, there, toMake, limit int) []Finding {
	j := &judge{}
	switch all := there + toMake; {
	case all > limit:
		j.say(LevelBlock, "quota.tables", "keep the tables of our own in another instance (replication.control), drop what nobody uses, or ask the vendor for more",
			"%s has %d tables of the %d that it may have, and %d more are needed", instance, there, limit, toMake)
	case all > limit-limit/10:
		j.say(LevelWarn, "quota.tables", "keep the tables of our own in another instance (replication.control), or ask the vendor for more",
			"%s comes to %d tables of the %d that it may have", instance, all, limit)
	}
	return j.found
}

// lifeOf is a time to live that sorts.
func lifeOf(ttl int) int64 {
	if ttl < 0 {
		return 1<<63 - 1
	}
	return int64(ttl)
}

func lifeText(ttl int) string {
	if ttl < 0 {
		return "for ever"
	}
	return secondsText(int64(ttl))
}

// secondsText are told in days where they are many; a time.Duration would not hold
// the greatest.
func secondsText(n int64) string {
	if n >= 86400 && n%86400 == 0 {
		return fmt.Sprintf("%d d", n/86400)
	}
	return fmt.Sprintf("%d s", n)
}

func hoursText(d time.Duration) string { return fmt.Sprintf("%d h", int64(d/time.Hour)) }

func keyText(k []ots.KeySchema) string {
	var out []string
	for _, c := range k {
		text := c.Name + " " + c.Type
		if c.AutoIncrement {
			text += " auto-increment"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}
