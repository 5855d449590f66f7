package tablestore

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// chronicle is what a stream must tell, kept in the plainest way.
type chronicle struct {
	parts []chroniclePart
	lists [][]*written         // of all shards that ever were, what is not removed
	of    map[int64][]*written // by row, in order
	all   map[int64]*written   // by value; each is written once
	swept int64
}

type chroniclePart struct {
	from int64 // the least key
	list int
}

type written struct {
	k, v    int64
	at      int64
	index   int // among those of its row
	removed bool
	hidden  bool // the server is late with it
}

func newChronicle(now int64, parts []chroniclePart) *chronicle {
	h := &chronicle{of: map[int64][]*written{}, all: map[int64]*written{}, swept: now}
	for _, p := range parts {
		h.parts = append(h.parts, chroniclePart{p.from, h.list()})
	}
	return h
}

func (h *chronicle) list() int {
	h.lists = append(h.lists, nil)
	return len(h.lists) - 1
}

func (h *chronicle) part(k int64) int {
	for i := len(h.parts) - 1; ; i-- {
		if h.parts[i].from <= k {
			return i
		}
	}
}

func (h *chronicle) write(k, v, at int64, hidden bool) {
	x := &written{k: k, v: v, at: at, index: len(h.of[k]), hidden: hidden}
	h.of[k] = append(h.of[k], x)
	h.all[v] = x
	l := &h.lists[h.parts[h.part(k)].list]
	*l = append(*l, x)
}

func (h *chronicle) trim(before int64) {
	for i, l := range h.lists {
		for len(l) > 0 && l[0].at < before {
			l[0].removed = true
			l = l[1:]
		}
		h.lists[i] = l
	}
}

// asked is called before everything that looks for what is too old.
func (h *chronicle) asked(now int64) {
	if now < h.swept || now-h.swept >= swept {
		h.swept = now
		h.trim(now - 168*hour)
	}
}

// follower reads a stream as a replicator must: parents before children, from
// iterators that it has kept.
type follower struct {
	next map[string]*string // by shard; nil: read to its end
	last map[string]place
	seen map[int64]int // by row, how many of its changes
}

func newFollower() *follower {
	return &follower{map[string]*string{}, map[string]place{}, map[int64]int{}}
}

func (f *follower) clone() *follower {
	return &follower{maps.Clone(f.next), maps.Clone(f.last), maps.Clone(f.seen)}
}

type streamMachine struct {
	*world
	h     *chronicle
	f     *follower
	saved *follower // a checkpoint
	late  bool
	v     int64
}

func (m *streamMachine) shards(t *rapid.T) []*otsprotocol.StreamShard {
	var out []*otsprotocol.StreamShard
	limit := rapid.Int32Range(1, 4).Draw(t, "shards a page")
	r := &otsprotocol.DescribeStreamRequest{ShardLimit: &limit}
	for {
		d := m.describe(r)
		out = append(out, d.Shards...)
		if r.InclusiveStartShardId = d.NextShardId; d.NextShardId == nil {
			return out
		}
	}
}

// read reads one page of a shard that may be read, and says whether that brought
// anything.
func (m *streamMachine) read(t *rapid.T, f *follower) bool {
	m.h.asked(m.now)
	shards := m.shards(t)
	listed := map[string]bool{}
	for _, sh := range shards {
		if listed[sh.GetShardId()] {
			t.Fatalf("shard %s is listed twice", sh.GetShardId())
		}
		listed[sh.GetShardId()] = true
	}
	read := func(id string) bool { // to its end, or gone
		next, begun := f.next[id]
		return id == "" || !listed[id] || begun && next == nil
	}
	var ready []string
	for _, sh := range shards {
		if !read(sh.GetShardId()) && read(sh.GetParentId()) && read(sh.GetParentSiblingId()) {
			ready = append(ready, sh.GetShardId())
		}
	}
	// By birth, since names are by chance, and a failure is to come again.
	slices.SortFunc(ready, func(a, b string) int {
		return int(m.table.Stream.shard(a).Number) - int(m.table.Stream.shard(b).Number)
	})
	progress := false
	for _, id := range rapid.Permutation(ready).Draw(t, "shards") {
		next := f.next[id]
		if next == nil {
			m.s.StreamTokens(rapid.IntRange(0, 1).Draw(t, "tokens"))
			g := &otsprotocol.GetShardIteratorRequest{StreamId: &m.table.Stream.ID, ShardId: &id}
			for next == nil {
				r := must[*otsprotocol.GetShardIteratorResponse](m.world, "GetShardIterator", g)
				if g.Token = r.NextToken; g.Token == nil {
					next = r.ShardIterator
				}
			}
		}
		limit := rapid.Int32Range(1, 4).Draw(t, "limit")
		out, ref := m.do("GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: next, Limit: &limit})
		if ref != nil {
			if ref.code != codeTrimmed || f.next[id] == nil {
				t.Fatalf("%v", ref)
			}
			delete(f.next, id) // from the oldest again
			progress = true
			continue
		}
		r := out.(*otsprotocol.GetStreamRecordResponse)
		for _, row := range m.rows(r) {
			x := m.h.all[row.Columns[0].Value.Int]
			p := place(*row.Ext)
			last, ok := f.last[id]
			switch {
			case x == nil || x.k != row.Key[0].Value.Int || x.at != p.Micros:
				t.Fatalf("%+v was not written", row)
			case x.removed:
				t.Fatalf("%+v was removed", *x)
			case x.hidden:
				t.Fatalf("%+v is told too early", *x)
			case ok && !last.before(p):
				t.Fatalf("%+v after %+v", p, last)
			case x.index < f.seen[x.k]:
				t.Fatalf("%+v after change %d of its row", *x, f.seen[x.k]-1)
			}
			for _, y := range m.h.of[x.k][f.seen[x.k]:x.index] {
				if !y.removed {
					t.Fatalf("%+v, but not %+v", *x, *y)
				}
			}
			f.last[id], f.seen[x.k] = p, x.index+1
		}
		if len(r.StreamRecords) == 0 && r.NextShardIterator != nil && *r.NextShardIterator != *next {
			t.Fatalf("nothing is new in %s, but its iterator is another", id)
		}
		f.next[id] = r.NextShardIterator
		progress = progress || len(r.StreamRecords) > 0 || r.NextShardIterator == nil
	}
	return progress
}

// drain reads all there is, and looks for what is missing.
func (m *streamMachine) drain(t *rapid.T, f *follower) {
	for m.read(t, f) {
	}
	for k, changes := range m.h.of {
		for _, x := range changes[f.seen[k]:] {
			if !x.removed {
				t.Fatalf("nobody told of %+v", *x)
			}
		}
	}
}

func (m *streamMachine) setLate(late bool) {
	m.late = late
	m.s.StreamDelay(0)
	if late {
		m.s.StreamDelay(time.Hour)
		return
	}
	for _, x := range m.h.all {
		x.hidden = false
	}
}

func TestStreamMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st, err := openStore("")
		if err != nil {
			t.Fatal(err)
		}
		defer st.close()
		w := worldOn(t, st, keyColumn{Name: "k", Type: otsprotocol.PrimaryKeyType_INTEGER})
		w.stream(168)
		m := &streamMachine{world: w, h: newChronicle(w.now, []chroniclePart{{from: math.MinInt64}}), f: newFollower(), saved: newFollower()}
		key := rapid.Int64Range(-3, 3)
		write := func(t *rapid.T, commit bool) {
			var changes []change
			for _, k := range rapid.SliceOfN(key, 1, 4).Draw(t, "rows") {
				m.v++
				changes = append(changes, put(k, m.v))
			}
			m.h.asked(m.now)
			if !commit { // the writer gives up: a gap in the numbers
				b := st.db.NewBatch()
				w.table.mu.Lock()
				defer w.table.mu.Unlock()
				if err := w.table.record(b, w.now, changes...); err != nil {
					t.Fatal(err)
				}
				_ = b.Close()
				return
			}
			w.record(changes...)
			var at int64
			for i, c := range changes {
				here := w.table.Stream.open[w.table.part(c.key)].Last.Micros
				if at = here; i > 0 && at != here || at < w.now || at-w.now > raced {
					t.Fatalf("the batch of %d has a record of %d", w.now, here)
				}
				m.h.write(c.row.Key[0].Value.Int, c.row.Columns[0].Value.Int, at, m.late)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) { write(t, true) },
			"begin": func(t *rapid.T) { write(t, false) },
			"clock": func(t *rapid.T) {
				w.now += rapid.SampledFrom([]int64{1, 1000, 600_000, -600_000, hour, -hour, 40 * hour}).Draw(t, "moves by")
			},
			"split": func(t *rapid.T) {
				k := key.Draw(t, "at")
				i := m.h.part(k)
				if m.h.parts[i].from == k {
					t.Skip("there is a partition")
				}
				w.split(k)
				m.h.parts[i].list = m.h.list()
				m.h.parts = slices.Insert(m.h.parts, i+1, chroniclePart{k, m.h.list()})
			},
			"merge": func(t *rapid.T) {
				if len(m.h.parts) < 2 {
					t.Skip("there is one partition")
				}
				i := rapid.IntRange(0, len(m.h.parts)-2).Draw(t, "partition")
				w.merge(i)
				m.h.parts[i].list = m.h.list()
				m.h.parts = slices.Delete(m.h.parts, i+1, i+2)
			},
			"trim": func(t *rapid.T) {
				before := w.now - rapid.SampledFrom([]int64{-1, 0, 1000, hour}).Draw(t, "before")
				if _, err := w.s.Trim("lab", "t_1", time.UnixMicro(before)); err != nil {
					t.Fatal(err)
				}
				m.h.trim(before)
			},
			"on again": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "no") > 0 {
					t.Skip()
				}
				w.stream(0)
				for id, next := range m.f.next {
					if next != nil {
						refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: next}, codeObjectNotExist, "stream")
					}
					refused(w, "GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: proto.String("t_1_1"), ShardId: &id}, codeObjectNotExist, "stream")
				}
				if n := w.stored(); n != 0 {
					t.Fatalf("%d records of a stream that is off", n)
				}
				w.stream(168)
				m.h, m.f, m.saved = newChronicle(w.now, m.h.parts), newFollower(), newFollower()
			},
			"restart": func(t *rapid.T) {
				w.open()
				m.h.swept = 0
				m.setLate(m.late)
				for _, x := range m.h.all {
					x.hidden = false
				}
			},
			"late":    func(t *rapid.T) { m.setLate(!m.late) },
			"read":    func(t *rapid.T) { m.read(t, m.f) },
			"save":    func(t *rapid.T) { m.saved = m.f.clone() },
			"go back": func(t *rapid.T) { m.f = m.saved.clone() },
			"read all": func(t *rapid.T) {
				m.setLate(false)
				m.drain(t, m.f)
			},
		})
		m.setLate(false)
		m.drain(t, m.f)
		m.drain(t, newFollower())
		kept := 0
		for _, x := range m.h.all {
			if !x.removed {
				kept++
			}
		}
		if n := w.stored(); n != kept {
			t.Fatalf("%d records are kept, want %d", n, kept)
		}
		// Everything goes away in the end.
		w.now = slices.MaxFunc(append(slices.Collect(maps.Values(m.h.all)), &written{at: w.now}), func(a, b *written) int { return int(min(1, max(-1, a.at-b.at))) }).at
		w.now += 169 * hour
		for range 2 { // once for the parents that were closed later than now
			m.h.asked(w.now)
			w.describe(&otsprotocol.DescribeStreamRequest{})
			w.now += 400 * hour
		}
		if n := w.stored(); n != 0 || len(w.table.Stream.Shards) != len(w.table.Parts) {
			t.Fatalf("%d records, %d shards of %d partitions", n, len(w.table.Stream.Shards), len(w.table.Parts))
		}
	})
}
