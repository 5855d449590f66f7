package tablestore

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pointsman/internal/lab/tablestore/plainbuffer"
)

// Part is one partition of a table.
type Part struct {
	From  any    `json:"from,omitempty"`  // its least partition key, an int64, a string or a []byte; nil of the first
	Shard string `json:"shard,omitempty"` // the open shard of the stream, if it is on
}

// Partitions are those of a table, in the order of keys.
func (s *Server) Partitions(instance, table string) ([]Part, error) {
	t, err := s.tableOf(instance, table)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Part, len(t.Parts))
	for i, p := range t.Parts {
		out[i].Shard = p.Shard
		if i == 0 {
			continue
		}
		key, err := t.decodePrefix(p.From, 1)
		if err != nil {
			return nil, fmt.Errorf("partition %d of table %s: %w", i, table, err)
		}
		switch v := key[0].Value; v.Kind {
		case plainbuffer.Integer:
			out[i].From = v.Int
		case plainbuffer.Blob:
			out[i].From = []byte(v.Bytes)
		default:
			out[i].From = v.Bytes
		}
	}
	return out, nil
}

// SplitShard cuts a partition in two: the one that the key belongs to, which
// then begins the second half. Without a key, or with nil, it is the partition
// with most data and about its middle. If the stream is on, the shard of the
// partition is closed and has two children.
//
// A key is an int64, a string or a []byte, or a string that says it.
func (s *Server) SplitShard(instance, table string, key ...any) error {
	t, err := s.tableOf(instance, table)
	if err != nil {
		return err
	}
	var from []byte
	switch {
	case len(key) > 1:
		err = errors.New("one partition key is enough")
	case len(key) == 0 || key[0] == nil:
		from, err = t.middle()
	default:
		text := fmt.Sprint(key[0])
		if b, ok := key[0].([]byte); ok {
			text = string(b)
		}
		from, err = t.partitionKey(text)
	}
	if err == nil {
		err = s.reform(t, func(b *pebble.Batch, now int64) error {
			i, err := t.partitionAt(from)
			if err != nil {
				return err
			}
			return t.split(b, i, from, now)
		})
	}
	if err != nil {
		return fmt.Errorf("split table %s: %w", table, err)
	}
	return nil
}

// MergeShards makes two neighbours of a table's partitions one, the i-th and
// the next, from 0. If the stream is on, the shards of both are closed and have
// one child.
func (s *Server) MergeShards(instance, table string, i int) error {
	t, err := s.tableOf(instance, table)
	if err != nil {
		return err
	}
	if err := s.reform(t, func(b *pebble.Batch, now int64) error {
		if i < 0 || i+1 >= len(t.Parts) {
			return fmt.Errorf("partition %d has no right neighbour: there are %d", i, len(t.Parts))
		}
		return t.merge(b, i, now)
	}); err != nil {
		return fmt.Errorf("merge table %s: %w", table, err)
	}
	return nil
}

// Trim removes the records of a table's stream that are before a moment, as if
// they had expired, and returns how many there were.
func (s *Server) Trim(instance, table string, before time.Time) (int, error) {
	t, err := s.tableOf(instance, table)
	if err != nil {
		return 0, err
	}
	n, err := t.trimmed(before.UnixMicro())
	if err == nil {
		err = s.store.settle()
	}
	return n, err
}

// trimmed is trim for who has not called log.
func (t *table) trimmed(before int64) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st, err := t.log(); err != nil || st == nil {
		return 0, noStreamOf(t.Name, err)
	}
	return t.trim(before)
}

// SetEpoch sets the epoch that the next records of a table's stream are of, as
// after trouble with the clock. It cannot go back.
func (s *Server) SetEpoch(instance, table string, epoch int32) error {
	t, err := s.tableOf(instance, table)
	if err != nil {
		return err
	}
	return s.reform(t, func(b *pebble.Batch, _ int64) error {
		st, err := t.log()
		if err != nil || st == nil {
			return noStreamOf(table, err)
		}
		for _, sh := range st.open {
			if sh.Last.Epoch > epoch {
				return fmt.Errorf("epoch %d: shard %s of table %s is at %d", epoch, sh.ID, table, sh.Last.Epoch)
			}
		}
		for _, sh := range st.open {
			if sh.Last.Epoch < epoch {
				sh.Last = place{Epoch: epoch}
			}
		}
		return t.save(b)
	})
}

// StreamDelay sets how long a record cannot be read after it was written, in
// time that passes; a restart makes all readable. Zero is none.
func (s *Server) StreamDelay(d time.Duration) { s.store.streams.delay.Store(int64(max(d, 0))) }

// StreamTokens sets how many answers of GetShardIterator carry a token, "still
// searching", before the one with the iterator. Zero is none.
func (s *Server) StreamTokens(n int) {
	s.store.streams.tokens.Store(int64(min(max(n, 0), math.MaxInt32)))
}

// StreamPage sets the most that one GetStreamRecord returns: 1000 records and
// about 4 MiB at the start, which is a guess.
func (s *Server) StreamPage(records, bytes int) {
	s.store.streams.pageRecords.Store(int64(max(records, 1)))
	s.store.streams.pageBytes.Store(int64(max(bytes, 1)))
}

func (s *Server) tableOf(instance, table string) (*table, error) {
	in := s.instances[instance]
	if in == nil {
		return nil, fmt.Errorf("instance %q: there is none of this name", instance)
	}
	t, ref := in.table(table)
	if ref != nil {
		return nil, fmt.Errorf("table %q: there is none of this name in instance %s", table, instance)
	}
	return t, nil
}

func noStreamOf(table string, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("table %s: its stream is off", table)
}

// reform changes what the store keeps of a table, and waits until it is
// durable.
func (s *Server) reform(t *table, do func(*pebble.Batch, int64) error) error {
	wait, err := func() (func() error, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.dropped {
			return nil, errors.New("it was deleted")
		}
		b := s.store.db.NewBatch()
		if err := do(b, s.now().UnixMicro()); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		return s.store.commit(b)
	}()
	if err != nil {
		return err
	}
	return wait()
}

// now is the server's clock.
func (s *Server) now() time.Time { return time.Now().Add(time.Duration(s.offset.Load())) }
