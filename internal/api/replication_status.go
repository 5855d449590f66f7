package api

import (
	"time"

	"pointsman/internal/failover"
)

// The values here are those of the room that replicates, which this one does
// not know.

// ReplicationStatus is the replication of one instance.
type ReplicationStatus struct {
	Instance failover.InstanceName `json:"instance"`
	Mode     string                `json:"mode"` // stream, global-table or external
	From     failover.ClusterName  `json:"from,omitempty"`
	To       failover.ClusterName  `json:"to,omitempty"`
	At       time.Time             `json:"at"`
	Doing    string                `json:"doing"`
	// Idle says why this process replicates nothing, empty while it does.
	Idle     string                `json:"idle,omitempty"`
	Paused   *ReplicationPause     `json:"paused,omitempty"`
	Exposure ReplicationExposure   `json:"exposure"`
	RPO      string                `json:"rpo"` // what an automatic failover may lose: none, zero, or a duration
	Standby  failover.StandbyState `json:"standby"`
	Why      []string              `json:"why,omitempty"` // why the standby is not protected
	Warnings []string              `json:"warnings,omitempty"`
	Tables   []ReplicationTable    `json:"tables"`
	Units    ReplicationUnits      `json:"units"` // since the start
	Refused  int64                 `json:"refused_rows"`
	Lost     *LossSummary          `json:"lost,omitempty"`
}

// ReplicationPause is a standing order of a person.
type ReplicationPause struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// ReplicationExposure is an upper bound of what a switch would lose.
type ReplicationExposure struct {
	Known bool          `json:"known"`
	Lag   time.Duration `json:"lag_ns"`
	Rows  int64         `json:"rows"`  // at least
	About int64         `json:"about"` // an estimate
	At    time.Time     `json:"at"`
	Gap   string        `json:"gap,omitempty"`
	Why   string        `json:"why,omitempty"`
}

// ReplicationTable is one table.
type ReplicationTable struct {
	Table    string              `json:"table"`
	Phase    string              `json:"phase"`
	Why      string              `json:"why,omitempty"`
	Hint     string              `json:"hint,omitempty"`
	Ordered  bool                `json:"ordered,omitempty"` // it is copied anew because a person wanted it
	Exposure ReplicationExposure `json:"exposure"`
	Copy     *CopyProgress       `json:"copy,omitempty"`
	Shards   int                 `json:"shards"`
	Applied  int64               `json:"applied_rows"`
	Rate     float64             `json:"rows_per_second"`
	Refused  int64               `json:"refused_rows"`
	Stream   string              `json:"stream,omitempty"`
	Oldest   time.Time           `json:"oldest,omitzero"`
	Units    int64               `json:"stream_units"` // of reading, since the start
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
	Removed    int64         `json:"removed_rows"`
	Throttled  time.Duration `json:"throttled_ns"`
}

// ReplicationUnits are consumed capacity units, as the services count them.
type ReplicationUnits struct {
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
	Cut     time.Time            `json:"cut"`
	Begins  time.Time            `json:"window_begins"`
	Ends    time.Time            `json:"window_ends,omitzero"`
	Bound   time.Duration        `json:"bound_ns"`
	Read    time.Time            `json:"read_to,omitzero"`
	Exact   bool                 `json:"exact"`
	Why     string               `json:"why,omitempty"`
	Rows    int64                `json:"rows"`
	Until   time.Time            `json:"readable_until,omitzero"`
	ByClass map[string]int64     `json:"by_class,omitempty"`
	ByTable map[string]int64     `json:"by_table,omitempty"`
}

// LostRow is one write that did not cross.
type LostRow struct {
	Table   string    `json:"table"`
	Key     string    `json:"key"`
	Action  string    `json:"action"`
	Columns []string  `json:"columns,omitempty"`
	At      time.Time `json:"at"`
	Class   string    `json:"class"`
}

// DeadLetter is a row that the target refused and that nobody has dealt with.
type DeadLetter struct {
	ID     string    `json:"id"`
	Table  string    `json:"table"`
	Key    string    `json:"key"`
	Action string    `json:"action"`
	At     time.Time `json:"at"`    // server time of the write
	Kept   time.Time `json:"kept"`  // when it was put aside
	Cause  string    `json:"cause"` // what the target said
	From   string    `json:"from,omitempty"`
	Hint   string    `json:"hint,omitempty"`  // what can be done about it
	Later  bool      `json:"later,omitempty"` // later updates of the row were applied: it can only be accepted
}
