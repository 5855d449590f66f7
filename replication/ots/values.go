package ots

import "time"

// Value is an int64, float64, bool, string or []byte.
type Value any

// KeyColumn is one column of a primary key: int64, string or []byte.
type KeyColumn struct {
	Name  string
	Value Value
}

// Key is a whole primary key, in the order of the table's schema. A nil Key
// stands for the end of a range: before all rows as a start, after all as an end.
type Key []KeyColumn

// CellOp is what happens to a column.
type CellOp uint8

// The zero CellOp puts.
const (
	Put       CellOp = iota // Value with Version
	DeleteOne               // exactly Version
	DeleteAll               // every version; Version means nothing
)

// Cell is one version of one column, or its deletion.
type Cell struct {
	Name    string
	Op      CellOp
	Value   Value
	Version int64 // ms since 1970
}

// Row is what a read returns: cells are puts, sorted by name, then by version
// from the newest.
type Row struct {
	Key   Key
	Cells []Cell
}

// Action is what a write does to a row.
type Action uint8

// Actions.
const (
	PutRow    Action = iota + 1 // the row is these cells and nothing else
	UpdateRow                   // the cells are applied to what is there
	DeleteRow                   // no cells
)

func (a Action) String() string {
	switch a {
	case PutRow:
		return "put"
	case UpdateRow:
		return "update"
	case DeleteRow:
		return "delete"
	}
	return "unknown"
}

// Sequence orders the records of one shard, and of no two. Time is of the
// server, in µs since 1970; Epoch goes up when that clock went back.
type Sequence struct {
	Epoch int32
	Time  int64
	Index int32
}

// Compare orders sequences of one shard: -1, 0 or 1.
func (s Sequence) Compare(o Sequence) int {
	for _, d := range [...]int64{int64(s.Epoch) - int64(o.Epoch), s.Time - o.Time, int64(s.Index) - int64(o.Index)} {
		switch {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
	}
	return 0
}

// Record is one change as a stream tells it. Increments come as the resulting
// put. Before has the old cells of the columns that the stream was told to keep.
type Record struct {
	Action Action
	Key    Key
	Cells  []Cell
	Before []Cell
	Seq    Sequence
}

// Shard is a part of a stream. A shard with parents begins where they end.
type Shard struct {
	ID      string
	Parents []string // none, one (a split) or two (a merge)
}

// Stream is what ListStream and DescribeStream say.
type Stream struct {
	ID        string
	Table     string
	Created   time.Time
	Retention time.Duration
}

// Page is one answer of GetStreamRecord.
type Page struct {
	Records []Record
	// Next is where to go on. It equals the iterator that was sent when an open
	// shard has nothing new, and is empty when a closed shard has been read.
	Next string
	More bool // the service says that more is there already; a hint
	Read int64

	// Sent and Received are of our clock. Server is the service's clock, from
	// its answer; zero when it said none.
	Sent, Received, Server time.Time
}

// KeySchema is one column of a primary key.
type KeySchema struct {
	Name          string
	Type          string // INTEGER, STRING or BINARY
	AutoIncrement bool
}

// Table is what DescribeTable says.
type Table struct {
	Name          string
	Key           []KeySchema
	TTL           int   // seconds; -1 is for ever
	MaxVersions   int   // at least 1
	Deviation     int64 // seconds that an explicit version may differ from now
	AllowUpdate   bool
	UpdateFullRow bool
	Stream        string        // its ID; empty when off
	Retention     time.Duration // of the stream
	StreamSince   time.Time     // when it was enabled last
	Indexes       []string      // names of secondary indexes
}

// Mutation is one row of a batch. Versions of puts are kept as they are.
type Mutation struct {
	Table  string
	Action Action
	Key    Key
	Cells  []Cell
}

// Result is what became of one Mutation; nil Err is done.
type Result struct {
	Err   error
	Write int64 // capacity units
}
