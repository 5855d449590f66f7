package tablestore

import (
	"bytes"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// The most rows of one batch, by the vendor's page of limits.
const (
	maxBatchWrite = 200
	maxBatchGet   = 100
)

// wire is what a batch tells of one row.
func (r *refusal) wire() *otsprotocol.Error {
	return &otsprotocol.Error{Code: &r.code, Message: &r.message}
}

func (s *Server) batchWriteRow(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.BatchWriteRowRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	if ref := checkBatchWrite(&m); ref != nil {
		return nil, ref
	}
	if m.GetIsAtomic() && m.TransactionId != nil {
		// What the service does is not known; the transaction is the atom.
		return nil, invalid("An atomic batch cannot be of a local transaction.")
	}
	muts := make([][]*mutation, len(m.Tables))
	for i, part := range m.Tables {
		muts[i] = make([]*mutation, len(part.Rows))
		for j, r := range part.Rows {
			var ref *refusal
			if muts[i][j], ref = parse(actions[r.GetType()], r.RowChange, r.Condition, r.ReturnContent); ref != nil {
				return nil, ref
			}
		}
	}
	resp := &otsprotocol.BatchWriteRowResponse{}
	var waits []func() error
	for i, part := range m.Tables {
		out, durable, ref := c.batchWriteTable(part.GetTableName(), muts[i], m.GetIsAtomic(), m.TransactionId)
		if ref != nil {
			for _, durable := range waits {
				_ = durable() // what was done stays done
			}
			return nil, ref
		}
		resp.Tables = append(resp.Tables, out)
		if durable != nil {
			waits = append(waits, durable)
		}
	}
	for _, durable := range waits {
		if err := durable(); err != nil {
			return nil, refuse(codeInternal, "%v.", err)
		}
	}
	return resp, nil
}

// checkBatchWrite judges a batch as a whole; what is wrong with one row is told
// of that row.
func checkBatchWrite(m *otsprotocol.BatchWriteRowRequest) *refusal {
	rows, size := 0, 0
	names := map[string]bool{}
	for _, t := range m.Tables {
		if ref := checkTableName(t.GetTableName()); ref != nil {
			return ref
		}
		if names[t.GetTableName()] {
			return invalid("Duplicated table name: %s.", t.GetTableName())
		}
		names[t.GetTableName()] = true
		for _, r := range t.Rows {
			if actions[r.GetType()] == 0 {
				return invalid("The type of row in batch write operation is invalid.")
			}
		}
		if len(t.Rows) == 0 {
			return invalid("No operation is specified for table: '%s'.", t.GetTableName())
		}
		rows += len(t.Rows)
		for _, r := range t.Rows {
			size += len(r.RowChange)
		}
	}
	switch {
	case rows == 0:
		return invalid("No row is specified in BatchWriteRow.")
	case rows > maxBatchWrite:
		return invalid("Rows count exceeds the upper limit: %d.", maxBatchWrite)
	case size > maxWrite:
		return invalid("The total data size of BatchWriteRow request exceeds the limit, limit size: %d, data size: %d.", maxWrite, size)
	}
	return nil
}

var actions = map[otsprotocol.OperationType]otsprotocol.ActionType{
	otsprotocol.OperationType_PUT:    actionPut,
	otsprotocol.OperationType_UPDATE: actionUpdate,
	otsprotocol.OperationType_DELETE: actionDelete,
}

// batchWriteTable makes the changes of one table in one batch of the store, in
// their order.
func (c *call) batchWriteTable(name string, muts []*mutation, atomic bool, id *string) (*otsprotocol.TableInBatchWriteRowResponse, func() error, *refusal) {
	out := &otsprotocol.TableInBatchWriteRowResponse{TableName: &name}
	refs := make([]*refusal, len(muts))
	results := make([]result, len(muts))
	t, ref := c.inst.table(name)
	if ref != nil {
		for i := range refs {
			refs[i] = ref
		}
		out.Rows = rowResults(results, refs)
		return out, nil, nil
	}
	for i, m := range muts {
		if refs[i] = t.judge(m, c.now); refs[i] == nil {
			refs[i] = c.partition(t, m.code[:m.part])
		}
	}
	repeats := checkRepeats(muts, refs)
	if atomic {
		checkSamePartition(muts, refs)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := c.renew()
	if id != nil {
		for i, m := range muts {
			if refs[i] == nil {
				results[i], refs[i] = t.applyInTxn(*id, m, now)
			}
		}
		out.Rows = rowResults(results, refs)
		return out, t.in.store.settled, nil
	}
	w := t.begin(now, repeats)
	failed := firstRefusal(refs)
	for i, m := range muts {
		if atomic && failed != nil {
			break
		}
		if refs[i] == nil {
			if results[i], refs[i] = w.apply(m); failed == nil {
				failed = refs[i]
			}
		}
	}
	if atomic && failed != nil {
		for i := range refs {
			refs[i] = failed
		}
		w.drop()
		out.Rows = rowResults(results, refs)
		return out, t.in.store.settled, nil
	}
	durable, err := w.commit()
	if err != nil {
		return nil, nil, refuse(codeInternal, "%v.", err)
	}
	out.Rows = rowResults(results, refs)
	return out, durable, nil
}

func firstRefusal(refs []*refusal) *refusal {
	for _, r := range refs {
		if r != nil {
			return r
		}
	}
	return nil
}

// checkRepeats tells whether a row comes more than once, and refuses conditions
// there.
func checkRepeats(muts []*mutation, refs []*refusal) bool {
	count := make(map[string]int, len(muts))
	repeats := false
	for _, m := range muts {
		if m.auto < 0 {
			count[string(m.code)]++
			repeats = repeats || count[string(m.code)] > 1
		}
	}
	if !repeats {
		return false
	}
	for i, m := range muts {
		if m.auto >= 0 || refs[i] != nil || count[string(m.code)] < 2 {
			continue
		}
		if m.cond != nil {
			refs[i] = invalid("Repeated rows do not support row condition check in BatchModify.")
		}
		if m.exist != otsprotocol.RowExistenceExpectation_IGNORE {
			refs[i] = invalid("Repeated rows do not support row exist expectation check in BatchModify.")
		}
	}
	return true
}

// checkSamePartition refuses the first row, and with it all of an atomic batch,
// if there are several partition keys. The text is ours.
func checkSamePartition(muts []*mutation, refs []*refusal) {
	first := muts[0].code[:muts[0].part]
	for _, m := range muts[1:] {
		if !bytes.Equal(m.code[:m.part], first) && refs[0] == nil {
			refs[0] = invalid("The partition keys of an atomic batch must be the same.")
		}
	}
}

func rowResults(results []result, refs []*refusal) []*otsprotocol.RowInBatchWriteRowResponse {
	out := make([]*otsprotocol.RowInBatchWriteRowResponse, len(results))
	for i, r := range results {
		if refs[i] != nil {
			out[i] = &otsprotocol.RowInBatchWriteRowResponse{IsOk: proto.Bool(false), Error: refs[i].wire()}
			continue
		}
		out[i] = &otsprotocol.RowInBatchWriteRowResponse{IsOk: proto.Bool(true), Consumed: r.consumed(), Row: r.row}
	}
	return out
}

func (s *Server) batchGetRow(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.BatchGetRowRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	if len(m.Tables) == 0 {
		return nil, invalid("No row specified in the request of BatchGetRow.")
	}
	rows := 0
	names := map[string]bool{}
	queries := make([]*query, len(m.Tables))
	keys := make([][][]plainbuffer.Cell, len(m.Tables))
	for i, t := range m.Tables {
		ref := checkTableName(t.GetTableName())
		if ref != nil {
			return nil, ref
		}
		if names[t.GetTableName()] {
			return nil, invalid("Duplicated table name: %s.", t.GetTableName())
		}
		names[t.GetTableName()] = true
		if rows += len(t.PrimaryKey); rows > maxBatchGet {
			return nil, invalid("Rows count exceeds the upper limit: %d.", maxBatchGet)
		}
		if queries[i], ref = parseQuery(t, t.MaxVersions, t.StartColumn, t.EndColumn); ref != nil {
			if ref.message == noVersions {
				ref = invalid("No version condition is specified while querying row.") // it differs here
			}
			return nil, ref
		}
		for _, token := range t.Token {
			if len(token) > 0 {
				return nil, badToken()
			}
		}
		keys[i] = make([][]plainbuffer.Cell, len(t.PrimaryKey))
		for j, encoded := range t.PrimaryKey {
			if keys[i][j], ref = parseReadKey(encoded, keyRead); ref != nil {
				return nil, ref
			}
		}
	}
	resp := &otsprotocol.BatchGetRowResponse{}
	for i, part := range m.Tables {
		out := &otsprotocol.TableInBatchGetRowResponse{TableName: part.TableName}
		t, missing := c.inst.table(part.GetTableName())
		for _, key := range keys[i] {
			var row []byte
			var size int
			ref := missing
			if ref == nil {
				row, size, ref = t.get(c, s.store.db, queries[i], key)
			}
			if ref != nil {
				out.Rows = append(out.Rows, &otsprotocol.RowInBatchGetRowResponse{IsOk: proto.Bool(false), Error: ref.wire()})
				continue
			}
			out.Rows = append(out.Rows, &otsprotocol.RowInBatchGetRowResponse{IsOk: proto.Bool(true), Consumed: consumed(max(1, units(size)), 0), Row: row})
		}
		resp.Tables = append(resp.Tables, out)
	}
	return resp, nil
}
