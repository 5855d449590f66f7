package replication

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// Prefix begins the names of all tables of our own. They are never replicated.
const Prefix = "pointsman_"

// ResyncPolicy says what answers a gap in a stream.
type ResyncPolicy string

// Policies. The zero one is [ResyncAuto].
const (
	ResyncAuto ResyncPolicy = "auto" // the table is copied anew, after that was told
	ResyncAsk  ResyncPolicy = "ask"  // it waits for a person
)

// ClusterConfig is how one cluster is reached. The identities differ: one that
// reads the cluster while it is active, one that writes it while it is the
// standby, and one that keeps our own tables beside it.
type ClusterConfig struct {
	Source, Target, Control ots.Config
	// Region is that of the instance, as the vendor spells it; empty is not told.
	// It tells replicas of a global table apart whose instances have one name.
	Region string
}

// Config is what a Replicator is made of. Zero durations and numbers stand for
// the usual ones, which are said here.
type Config struct {
	Instance failover.InstanceName
	Mode     Mode // [ModeStream] if empty
	Clusters map[failover.ClusterName]ClusterConfig

	// Tables are globs of the tables that are replicated, all of them if empty;
	// Except are globs of those that are not. See [path.Match].
	Tables, Except []string

	// Visibility is how long a write may be acknowledged before its stream
	// shows it: 1 s.
	Visibility time.Duration
	Busy, Idle time.Duration // between two reads of a shard: 100 ms, 2 s
	Resync     ResyncPolicy
	Parallel   int           // ranges of one table that are copied at a time: 4
	Copies     int           // tables that are copied at a time: 2
	Lanes      int           // batches in flight: 8
	Timeout    time.Duration // longest life of one request: 10 s. No ots.Config may have a longer one
	// Discover is the time between two lists of the tables: 2 s. Where Tables has
	// patterns, exposure is never less than the age of the last list, since a
	// table made after it is not known.
	Discover time.Duration
	Look     time.Duration // between two comparisons of a table's settings: 30 s
	Save     time.Duration // between two savings of positions: 1 s

	GlobalTable string   // its name, in [ModeGlobalTable]
	External    External // in [ModeExternal]

	ControlTable string // [Prefix] + "replication" if empty
	DeadTable    string // [Prefix] + "dead_letters" if empty
	Dir          string // folder for what must outlast the process where no control table is in reach
	By           string // name of this controller

	// TellExposure and TellStandby tell the core. They must not block.
	TellExposure func(failover.Exposure)
	TellStandby  func(failover.StandbyChanged)
	Log          *slog.Logger

	// Fail is called before and after each request, with who makes it (source,
	// target or control), its operation, and before or after, as in
	// target/BatchWriteRow/before; and with "deliver" before a page of a stream is
	// taken. An error is the death of the process as far as replication can feel
	// it: nothing is sent any more, and Run ends with it.
	Fail func(point string) error
}

// complete checks a Config and fills in what was left out.
func (c Config) complete() (Config, error) {
	c.Mode = cmp.Or(c.Mode, ModeStream)
	c.Visibility = cmp.Or(c.Visibility, time.Second)
	c.Busy, c.Idle = cmp.Or(c.Busy, 100*time.Millisecond), cmp.Or(c.Idle, 2*time.Second)
	c.Resync = cmp.Or(c.Resync, ResyncAuto)
	c.Parallel, c.Copies, c.Lanes = cmp.Or(c.Parallel, 4), cmp.Or(c.Copies, 2), cmp.Or(c.Lanes, 8)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Discover, c.Look = cmp.Or(c.Discover, 2*time.Second), cmp.Or(c.Look, 30*time.Second)
	c.Save = cmp.Or(c.Save, time.Second)
	c.ControlTable = cmp.Or(c.ControlTable, Prefix+"replication")
	c.DeadTable = cmp.Or(c.DeadTable, Prefix+"dead_letters")
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.TellExposure == nil {
		c.TellExposure = func(failover.Exposure) {}
	}
	if c.TellStandby == nil {
		c.TellStandby = func(failover.StandbyChanged) {}
	}
	switch {
	case c.Instance == "":
		return c, errors.New("replication: no instance")
	case c.Mode != ModeExternal && len(c.Clusters) != 2:
		return c, fmt.Errorf("replication of %s: %d clusters, want two", c.Instance, len(c.Clusters))
	case !slices.Contains([]Mode{ModeStream, ModeGlobalTable, ModeExternal}, c.Mode):
		return c, fmt.Errorf("replication of %s: unknown mode %q", c.Instance, c.Mode)
	case c.Resync != ResyncAuto && c.Resync != ResyncAsk:
		return c, fmt.Errorf("replication of %s: unknown resync %q", c.Instance, c.Resync)
	case c.Visibility < 0 || c.Busy < 0 || c.Idle < c.Busy || c.Timeout < 0 || c.Discover < 0 || c.Look < 0 || c.Save < 0:
		return c, fmt.Errorf("replication of %s: a duration is negative, or idle is less than busy", c.Instance)
	case c.Parallel < 0 || c.Copies < 0 || c.Lanes < 0:
		return c, fmt.Errorf("replication of %s: a number is negative", c.Instance)
	}
	if c.Mode == ModeGlobalTable && c.GlobalTable == "" {
		return c, fmt.Errorf("replication of %s: no global table is named", c.Instance)
	}
	if c.Mode == ModeExternal {
		if _, err := newExternalMeter(c.External, c.Instance, "", ""); err != nil {
			return c, fmt.Errorf("replication of %s: %w", c.Instance, err)
		}
	}
	for _, glob := range slices.Concat(c.Tables, c.Except) {
		if _, err := path.Match(glob, ""); err != nil {
			return c, fmt.Errorf("replication of %s: table pattern %q: %w", c.Instance, glob, err)
		}
	}
	return c, nil
}

// wants says whether a table is to be replicated.
func (c *Config) wants(table string) bool {
	if c.own(table) {
		return false
	}
	hit := func(glob string) bool {
		ok, _ := path.Match(glob, table) // New has tried it
		return ok
	}
	return (len(c.Tables) == 0 || slices.ContainsFunc(c.Tables, hit)) && !slices.ContainsFunc(c.Except, hit)
}

// own says whether a table is one of this program.
func (c *Config) own(table string) bool {
	return strings.HasPrefix(table, Prefix) || table == c.ControlTable || table == c.DeadTable
}

// pattern says whether a glob can match more than its own text.
func pattern(glob string) bool { return strings.ContainsAny(glob, `*?[\`) }

// open says whether tables that are not known yet may be wanted.
func (c *Config) open() bool { return len(c.Tables) == 0 || slices.ContainsFunc(c.Tables, pattern) }

// literal are the tables that are named outright.
func (c *Config) literal() []string {
	return slices.DeleteFunc(slices.Clone(c.Tables), func(t string) bool { return pattern(t) || !c.wants(t) })
}
