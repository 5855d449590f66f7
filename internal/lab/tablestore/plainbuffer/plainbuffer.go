package plainbuffer

import "fmt"

const header = 0x75

const (
	tagKey          = 0x01
	tagColumns      = 0x02
	tagCell         = 0x03
	tagName         = 0x04
	tagValue        = 0x05
	tagOp           = 0x06
	tagTime         = 0x07
	tagDelete       = 0x08
	tagRowChecksum  = 0x09
	tagCellChecksum = 0x0A
	tagExtension    = 0x0B
	tagSequence     = 0x0C
	tagEpoch        = 0x0D
	tagMicros       = 0x0E
	tagIndex        = 0x0F
)

// The lengths that an extension which holds a sequence states of itself.
const (
	sequenceLen  = 1 + 4 + 1 + 8 + 1 + 4
	extensionLen = 1 + 4 + sequenceLen
)

// Kind is the type of a value, as the wire has it.
type Kind byte

// The kinds of values. The last three stand for positions in a key, not for
// something stored: before all values, after all values, and one that the
// service is to choose.
const (
	Integer       Kind = 0x00
	Double        Kind = 0x01
	Boolean       Kind = 0x02
	String        Kind = 0x03
	Null          Kind = 0x06
	Blob          Kind = 0x07
	InfMin        Kind = 0x09
	InfMax        Kind = 0x0A
	AutoIncrement Kind = 0x0B
)

// String returns the vendor's name of k, such as VT_INTEGER: the one in the
// messages of the service.
func (k Kind) String() string {
	switch k {
	case Integer:
		return "VT_INTEGER"
	case Double:
		return "VT_DOUBLE"
	case Boolean:
		return "VT_BOOLEAN"
	case String:
		return "VT_STRING"
	case Null:
		return "VT_NULL"
	case Blob:
		return "VT_BLOB"
	case InfMin:
		return "VT_INF_MIN"
	case InfMax:
		return "VT_INF_MAX"
	case AutoIncrement:
		return "VT_AUTO_INCREMENT"
	}
	return fmt.Sprintf("kind 0x%02x", byte(k))
}

// Value is one value. Two values of which neither is a NaN are the same exactly
// if they are ==, but that a negative zero equals the positive one.
type Value struct {
	Kind   Kind
	Int    int64   // of an Integer; of a Boolean 0 or 1
	Double float64 // of a Double, any bits
	Bytes  string  // of a String and a Blob; nothing asks whether it is UTF-8
}

// Op is what a cell of an update does.
type Op byte

// The ops. Put is the absence of one on the wire.
const (
	Put       Op = 0
	DeleteAll Op = 1 // all versions of the column: neither value nor time
	DeleteOne Op = 3 // the version at Time: no value
	Increment Op = 4 // by the value, an Integer
)

// Cell is one column of a row in one version. That an op has the value and the
// time that it needs, and no other, is for the caller to ask.
type Cell struct {
	Name    string
	Value   *Value // nil: none
	Op      Op
	Time    int64 // the version, milliseconds since 1970; only if HasTime
	HasTime bool
}

// Extension is the place of a stream record among those of its shard: in the
// order of Epoch, Micros, Index.
type Extension struct {
	Epoch  int32
	Micros int64 // the time of the write, microseconds since 1970
	Index  int32 // tells apart records of the same microsecond
}

// Row is one row, or the change of one.
type Row struct {
	Key     []Cell
	Columns []Cell
	Delete  bool // the whole row is to be deleted
	Ext     *Extension
}
