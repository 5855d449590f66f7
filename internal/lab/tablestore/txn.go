package tablestore

import (
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// txn is a local transaction: the lock of one partition key and the changes
// that nobody else sees before it is committed. It is kept in memory only; a
// restart ends it, as its time would. It is guarded by the lock of its table.
type txn struct {
	id    string
	part  string    // the code of the partition key
	until time.Time // when it ends by itself
	w     *writer
	size  int
}

// The id of a transaction is the id of its table and 12 random bytes.
const txnIDLen = 32

func (in *instance) txnTable(id string) (*table, *refusal) {
	b, err := hex.DecodeString(id)
	if err != nil || len(id) != txnIDLen {
		return nil, invalid("TransactionID is invalid.")
	}
	in.mu.RLock()
	defer in.mu.RUnlock()
	for _, t := range in.tables {
		if slices.Equal(tableCode(t.ID), b[:4]) {
			return t, nil
		}
	}
	return nil, usual(codeSessionNotExist)
}

// txn finds a transaction that is not over. The caller holds t.mu.
func (t *table) txn(id string, now time.Time) (*txn, *refusal) {
	if b, err := hex.DecodeString(id); err != nil || len(id) != txnIDLen || !slices.Equal(tableCode(t.ID), b[:4]) {
		return nil, invalid("TransactionID is invalid.")
	}
	x := t.txns[id]
	if x != nil && now.After(x.until) {
		t.end(x)
		x = nil
	}
	if x == nil {
		return nil, usual(codeSessionNotExist)
	}
	return x, nil
}

// end forgets a transaction and its lock, and what it changed unless that has
// been committed. The caller holds t.mu.
func (t *table) end(x *txn) {
	if x.w != nil {
		x.w.drop()
	}
	delete(t.txns, x.id)
	delete(t.locks, x.part)
}

// endTransactions ends those whose time is over, so that what they changed is
// not kept until somebody comes by. It runs until the server ends.
func (s *Server) endTransactions() {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-every.C:
		}
		for _, in := range s.instances {
			in.mu.RLock()
			tables := slices.Collect(maps.Values(in.tables))
			in.mu.RUnlock()
			for _, t := range tables {
				t.endOver(s.now())
			}
		}
	}
}

// endOver ends the transactions of a table whose time is over.
func (t *table) endOver(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.txns {
		if now.After(x.until) {
			t.end(x)
		}
	}
}

// checkLock refuses a change under a partition key that somebody else has
// locked. The caller holds t.mu.
func (t *table) checkLock(part []byte, mine *txn, now time.Time) *refusal {
	x := t.locks[string(part)]
	if x == nil || x == mine {
		return nil
	}
	if now.After(x.until) {
		t.end(x)
		return nil
	}
	return usual(codeConflict)
}

// applyInTxn makes a change that only the transaction sees. The caller holds
// t.mu.
func (t *table) applyInTxn(id string, m *mutation, now time.Time) (result, *refusal) {
	x, ref := t.txn(id, now)
	if ref != nil {
		return result{}, ref
	}
	return x.apply(m, now)
}

func (x *txn) apply(m *mutation, now time.Time) (result, *refusal) {
	if string(m.code[:m.part]) != x.part {
		return result{}, invalid("The partition key of the row is not that of the transaction.")
	}
	if x.size+m.size > maxWrite {
		return result{}, invalid("The total data size of the transaction exceeds the limit, limit size: %d, data size: %d.", maxWrite, x.size+m.size)
	}
	w := x.w
	w.now, w.opts, w.at = now, w.t.opts.Load(), w.t.moment(now)
	r, ref := w.apply(m)
	if ref == nil {
		x.size += m.size
	}
	return r, ref
}

func (s *Server) startLocalTransaction(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.StartLocalTransactionRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	key, ref := parseReadKey(m.Key, keyRead)
	if ref != nil {
		return nil, ref
	}
	if len(key) != 1 {
		return nil, invalid("StartLocalTransaction support only one primary key.") // their English
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	if !t.Txn {
		return nil, invalid("Try to call method using explicit transaction on explicit-transaction-disabled table.")
	}
	first := &table{tableRecord: tableRecord{Keys: t.Keys[:1]}}
	if ref = first.checkKey(key); ref != nil {
		return nil, ref
	}
	if ref = c.partition(t, partitionCode(key)); ref != nil {
		return nil, ref
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x := &txn{part: string(partitionCode(key)), until: c.renew().Add(maxTxnSeconds * time.Second)}
	x.id = hex.EncodeToString(tableCode(t.ID)) + random(txnIDLen/2-4)
	if t.dropped {
		return nil, usual(codeObjectNotExist)
	}
	if ref = t.checkLock([]byte(x.part), nil, c.now); ref != nil {
		return nil, ref
	}
	x.w = t.begin(c.now, true)
	x.w.txn = x
	if t.txns == nil {
		t.txns, t.locks = map[string]*txn{}, map[string]*txn{}
	}
	t.txns[x.id], t.locks[x.part] = x, x
	return &otsprotocol.StartLocalTransactionResponse{TransactionId: &x.id}, nil
}

func (s *Server) commitTransaction(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.CommitTransactionRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	t, ref := c.inst.txnTable(m.GetTransactionId())
	if ref != nil {
		return nil, ref
	}
	durable, ref := t.commitTxn(c, m.GetTransactionId())
	if ref != nil {
		return nil, ref
	}
	if err := durable(); err != nil {
		return nil, refuse(codeInternal, "%v.", err)
	}
	return &otsprotocol.CommitTransactionResponse{}, nil
}

func (t *table) commitTxn(c *call, id string) (durable func() error, ref *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := c.renew()
	x, ref := t.txn(id, now)
	if ref != nil {
		return nil, ref
	}
	if ref = c.partition(t, []byte(x.part)); ref != nil {
		return nil, ref
	}
	w := x.w
	w.at, x.w = t.moment(now), nil
	t.end(x)
	durable, err := w.commit()
	if err != nil {
		return nil, refuse(codeInternal, "%v.", err)
	}
	return durable, nil
}

func (s *Server) abortTransaction(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.AbortTransactionRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	t, ref := c.inst.txnTable(m.GetTransactionId())
	if ref != nil {
		return nil, ref
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ref := t.txn(m.GetTransactionId(), c.now)
	if ref != nil {
		return nil, ref
	}
	t.end(x)
	return &otsprotocol.AbortTransactionResponse{}, nil
}
