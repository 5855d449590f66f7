package tablestore

import (
	"bytes"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// splitUnit is the unit of a split size if the request names none, in bytes:
// "in 100MB" by the comment of the message.
const splitUnit = 100 << 20

func (s *Server) computeSplitPointsBySize(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.ComputeSplitPointsBySizeRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	unit, limit := int64(splitUnit), math.MaxInt
	if m.SplitSizeUnitInByte != nil {
		unit = *m.SplitSizeUnitInByte
	}
	if m.SplitPointLimit != nil {
		limit = int(*m.SplitPointLimit)
	}
	switch {
	case m.GetSplitSize() <= 0:
		return nil, invalid("The split size must be greater than 0.")
	case unit <= 0:
		return nil, invalid("The split size unit must be greater than 0.")
	case limit <= 0:
		return nil, invalid("The split point limit must be greater than 0.")
	}
	size := int64(math.MaxInt64)
	if m.GetSplitSize() <= math.MaxInt64/unit {
		size = m.GetSplitSize() * unit
	}
	points, err := t.splitPoints(size, limit)
	if err != nil {
		return nil, refuse(codeInternal, "%v", err)
	}
	out := &otsprotocol.ComputeSplitPointsBySizeResponse{
		Consumed: &otsprotocol.ConsumedCapacity{CapacityUnit: &otsprotocol.CapacityUnit{
			Read: proto.Int32(1), Write: proto.Int32(0), // that it is one is a guess
		}},
	}
	for _, k := range t.Keys {
		out.Schema = append(out.Schema, &otsprotocol.PrimaryKeySchema{Name: proto.String(k.Name), Type: k.Type.Enum()})
	}
	for _, p := range points {
		out.SplitPoints = append(out.SplitPoints, plainbuffer.Append(nil, plainbuffer.Row{Key: p}))
	}
	return out, nil
}

// splitPoints cuts the table into ranges of about size bytes, at no more than
// limit points. A point has no more columns than tell the row after it from the
// row before: the others are understood to be the least there are. The rest of
// the table is in the last range.
func (t *table) splitPoints(size int64, limit int) ([][]plainbuffer.Cell, error) {
	var points [][]plainbuffer.Cell
	var sum int64
	var last []byte // the row before
	var fail error
	err := t.sizes(func(code []byte, n int64) bool {
		if sum > 0 && sum+n > size {
			same := 0
			for same < len(last) && last[same] == code[same] {
				same++
			}
			columns, end := 0, 0
			for end <= same {
				end += codeLen(code[end:], t.Keys[columns].Type)
				columns++
			}
			var p []plainbuffer.Cell
			if p, fail = t.decodePrefix(code[:end], columns); fail != nil {
				return false
			}
			points = append(points, p)
			sum = 0
		}
		sum += n
		last = append(last[:0], code...)
		return len(points) < limit
	})
	if fail != nil {
		err = fail
	}
	return points, err
}

// sizes calls do with the code of every row and about its size in bytes, in
// order, until it returns false.
func (t *table) sizes(do func(code []byte, size int64) bool) error {
	prefix := rowPrefix(t.ID)
	it, err := t.in.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v := it.LazyValue()
		if !do(it.Key()[len(prefix):], int64(len(it.Key())-len(prefix)+v.Len())) {
			break
		}
	}
	return it.Close()
}

// codeLen is how long the code of the first column is in a code of a key.
func codeLen(code []byte, t otsprotocol.PrimaryKeyType) int {
	if t == otsprotocol.PrimaryKeyType_INTEGER || code[0] != codeValue {
		return min(len(code), 9)
	}
	return bytes.Index(code, []byte{0, 1}) + 2
}

// decodePrefix reads the code of the first columns of a key.
func (t *table) decodePrefix(code []byte, columns int) ([]plainbuffer.Cell, error) {
	return (&table{tableRecord: tableRecord{Keys: t.Keys[:columns]}}).decodeKey(code)
}
