package replication

import (
	"time"

	"pointsman/internal/failover"
)

// Mode is how rows get to the standby.
type Mode string

// Modes.
const (
	ModeStream      Mode = "stream"       // this program copies and follows
	ModeGlobalTable Mode = "global-table" // the vendor does; its rpoNanos is the exposure
	ModeExternal    Mode = "external"     // somebody else does; a URL or a command says the lag
)

// Course is what the record of an instance says, as far as replication must
// know it. A Course with a lower token than one seen before is ignored.
type Course struct {
	Token   failover.Token
	Leading bool // only the leader writes anywhere
	// Until is when the right to write ends unless a later Course renews it;
	// zero is never.
	Until   time.Time
	Active  failover.ClusterName
	Standby failover.ClusterName
	State   failover.StandbyState // invalidated: nothing is written to Standby
	Op      string                // ID of the operation in hand; empty in Idle
	OpKind  failover.OpKind
	// Step is where Op is. From Open on, nothing is applied to its target any
	// more; before, until the deadline of the drain.
	Step failover.StepName

	drained    bool      // its drain has ended: nothing is applied until another one, or until it is over
	applyUntil time.Time // the deadline of its drain; zero is none
}

// Phase is where a table is on its way to the standby.
type Phase string

// Phases of a table.
const (
	PhaseWaiting   Phase = "waiting"   // for its turn, or for somebody: Why says it
	PhaseCopying   Phase = "copying"   // the whole of it, by ranges
	PhaseCatchUp   Phase = "catch-up"  // copied; the stream since before the copy is being applied
	PhaseFollowing Phase = "following" // every write is on its way within moments
	PhaseGap       Phase = "gap"       // the stream was trimmed or re-created: what was lost is unknown until it is copied anew
	PhaseRefused   Phase = "refused"   // it cannot be replicated: Why and Hint say it
	PhaseCut       Phase = "cut"       // an operation ended it
)

// Status is what people see of the replication of one instance.
type Status struct {
	Instance failover.InstanceName `json:"instance"`
	Mode     Mode                  `json:"mode"`
	From     failover.ClusterName  `json:"from,omitempty"`
	To       failover.ClusterName  `json:"to,omitempty"`
	At       time.Time             `json:"at"`
	Doing    string                `json:"doing"` // one phrase: "following 3 tables", "paused by alice: …", "cut by op-7", "not leading"
	Paused   *Pause                `json:"paused,omitempty"`
	Exposure ExposureNow           `json:"exposure"`
	Standby  failover.StandbyState `json:"standby"`
	Why      []string              `json:"why,omitempty"` // why the standby is not protected
	Warnings []string              `json:"warnings,omitempty"`
	Tables   []TableStatus         `json:"tables"`
	Units    Units                 `json:"units"`        // measured, since the start
	Refused  int64                 `json:"refused_rows"` // kept in the dead-letter table, open
	Lost     *LossSummary          `json:"lost,omitempty"`
}

// Pause is a standing order of a person to stop copying and applying.
type Pause struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// ExposureNow is an upper bound of what a switch at At would lose. Unknown is
// never shown as zero.
type ExposureNow struct {
	Known bool          `json:"known"`
	Lag   time.Duration `json:"lag_ns"` // as of At
	Rows  int64         `json:"rows"`   // read and not yet applied, and refused: at least so many
	About int64         `json:"about"`  // with what is unread, by the rate of the last minute: an estimate
	At    time.Time     `json:"at"`
	Gap   string        `json:"gap,omitempty"`
	Why   string        `json:"why,omitempty"` // the table and shard that it hangs on, or why it is unknown
}

// TableStatus is one table.
type TableStatus struct {
	Table    string        `json:"table"`
	Phase    Phase         `json:"phase"`
	Why      string        `json:"why,omitempty"`
	Hint     string        `json:"hint,omitempty"`
	Ordered  bool          `json:"ordered,omitempty"` // it is copied anew because a person wanted it
	Exposure ExposureNow   `json:"exposure"`
	Copy     *CopyProgress `json:"copy,omitempty"`
	Shards   int           `json:"shards"` // open ones that are followed
	Applied  int64         `json:"applied_rows"`
	Rate     float64       `json:"rows_per_second"`
	Refused  int64         `json:"refused_rows"`
	Stream   string        `json:"stream,omitempty"`
	Oldest   time.Time     `json:"oldest,omitzero"` // the moment up to which everything is on the standby
	Units    int64         `json:"stream_units"`    // that reading its stream took, since the start
}

// CopyProgress is how far a full copy is.
type CopyProgress struct {
	Since      time.Time     `json:"since"`
	Ranges     int           `json:"ranges"`
	RangesDone int           `json:"ranges_done"`
	Rows       int64         `json:"rows"`
	Bytes      int64         `json:"bytes"`
	TotalRows  int64         `json:"total_rows,omitempty"` // an estimate; 0 is unknown
	Rate       float64       `json:"rows_per_second"`
	Left       time.Duration `json:"left_ns,omitempty"` // 0 is unknown
	Removed    int64         `json:"removed_rows"`      // that the source no longer has
	Throttled  time.Duration `json:"throttled_ns"`
}

// Units are consumed capacity units, as the services count them.
type Units struct {
	SourceRead  int64 `json:"source_read"`
	SourceWrite int64 `json:"source_write"`
	TargetRead  int64 `json:"target_read"`
	TargetWrite int64 `json:"target_write"`
}

// LossSummary is what an operation left behind on the old side.
type LossSummary struct {
	Op      string               `json:"op"`
	From    failover.ClusterName `json:"from"`
	To      failover.ClusterName `json:"to"`
	Cut     time.Time            `json:"cut"`                     // when the last row was applied
	Begins  time.Time            `json:"window_begins"`           // everything written before is on the new side
	Ends    time.Time            `json:"window_ends,omitzero"`    // zero: the old side may still accept writes
	Bound   time.Duration        `json:"bound_ns"`                // that the decision was made on
	Read    time.Time            `json:"read_to,omitzero"`        // everything that the old side acknowledged before it was read; zero: not yet
	Exact   bool                 `json:"exact"`                   // every record up to Read was, by this process, and nothing fails now
	Why     string               `json:"why,omitempty"`           // why not
	Rows    int64                `json:"rows"`                    // that did not cross
	Until   time.Time            `json:"readable_until,omitzero"` // when the stream forgets the first of them
	ByClass map[string]int64     `json:"by_class,omitempty"`
	ByTable map[string]int64     `json:"by_table,omitempty"`
}

// LostRow is one write that did not cross.
type LostRow struct {
	Table   string    `json:"table"`
	Key     string    `json:"key"`
	Action  string    `json:"action"`
	Columns []string  `json:"columns,omitempty"`
	At      time.Time `json:"at"`    // server time of the write
	Class   string    `json:"class"` // what the new side has in its place
}
