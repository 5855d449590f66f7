package replication

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"pointsman/replication/ots"
)

// errLossFile: the list of what did not cross cannot be kept.
var errLossFile = errors.New("the list of lost writes cannot be kept")

// mostLost bounds the list of one operation; what comes after is not counted
// any more, and the summary says so.
const mostLost = 1_000_000

// loss is what an operation left behind, kept in a file that only grows: a line
// for each write that did not cross, and one for each time that a table was read
// to its end. No value of a column is kept.
//
// Each page of a stream ends with a line that says how far that shard was judged,
// so that reading it once more changes nothing, whatever the new side has by then.
type loss struct {
	cut  ending
	path string // empty: nothing is kept
	most int

	mu     sync.Mutex
	file   *os.File
	lines  int
	full   bool
	last   map[shardOf]ots.Sequence
	rows   map[lostKey]rowLoss
	tables map[string]*tableLoss
	first  time.Time // the first that is lost
}

// lostKey stands for the table and key of a row.
type lostKey [16]byte

func sumOf(table, key string) lostKey {
	h := sha256.Sum256([]byte(table + "\x00" + key))
	return lostKey(h[:16])
}

// rowLoss is the last word on a row.
type rowLoss struct {
	class   string
	table   string
	columns []string // that are lost; none of a row as a whole
}

// after is the word on a row after one write more, in the order of the old side.
// Where an update was superseded, what earlier writes said of other columns is
// lost all the same.
func (r rowLoss) after(line lossLine) rowLoss {
	now := rowLoss{class: line.Class, table: line.Table, columns: line.Columns}
	if line.Class == ClassCrossed || line.Action != ots.UpdateRow.String() || !lostClass(r.class) {
		return now
	}
	if lostClass(line.Class) {
		if len(r.columns) > 0 {
			now.columns = slices.Concat(r.columns, line.Columns)
			slices.Sort(now.columns)
			now.columns = slices.Compact(now.columns)
		}
		return now
	}
	if len(r.columns) == 0 {
		return r
	}
	r.columns = slices.DeleteFunc(slices.Clone(r.columns), func(c string) bool { return slices.Contains(line.Columns, c) })
	if len(r.columns) == 0 {
		return now
	}
	return r
}

type tableLoss struct {
	through time.Time     // everything acknowledged before was read
	current bool          // by this process, and nothing has failed since
	cannot  string        // why not everything can be
	trouble string        // why it is not read now
	keeps   time.Duration // what the stream remembers
}

// lossLine is a line of the file: a write; without a class how far a shard was
// judged; or with Through when a table was read to its end.
type lossLine struct {
	Version int `json:"v"`
	Table   string
	Through time.Time     `json:",omitzero"`
	Stream  string        `json:",omitempty"`
	Shard   string        `json:",omitempty"`
	Seq     *ots.Sequence `json:",omitempty"`
	Key     string        `json:",omitempty"`
	Action  string        `json:",omitempty"`
	Columns []string      `json:",omitempty"`
	Class   string        `json:",omitempty"`
}

const lossVersion = 1

// openLoss takes up the list of a cut.
func openLoss(c *Config, k ending) (*loss, error) {
	l := &loss{
		cut: k, most: mostLost, last: map[shardOf]ots.Sequence{}, rows: map[lostKey]rowLoss{}, tables: map[string]*tableLoss{},
	}
	for _, t := range k.Tables {
		l.tables[t.Table] = &tableLoss{}
	}
	if c.Dir == "" {
		return l, nil
	}
	l.path = c.fileOf("lost", k.Op) + ".jsonl"
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(errLossFile, err)
	}
	end, err := l.load(f)
	if err == nil { // what a crash left of a line goes
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(errLossFile, fmt.Errorf("%s: %w", l.path, err), f.Close())
	}
	l.file = f
	return l, nil
}

// load reads the lines, and returns where the last whole one ends.
func (l *loss) load(f io.Reader) (end int64, err error) {
	in := bufio.NewReader(f)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		line, err := decodeLossLine(text)
		if err != nil {
			return 0, fmt.Errorf("at byte %d: %w", end, err)
		}
		l.note(line)
		end += int64(len(text))
	}
}

func decodeLossLine(text []byte) (lossLine, error) {
	var line lossLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&line); err != nil {
		return line, err
	}
	switch {
	case line.Version != lossVersion:
		return line, fmt.Errorf("version %d of a line, not %d: %w", line.Version, lossVersion, errVersion)
	case line.Table == "":
		return line, errors.New("a line without a table")
	case line.Through.IsZero() && (line.Seq == nil || line.Stream == "" || line.Shard == ""):
		return line, errors.New("a line without a place in a stream")
	}
	return line, nil
}

// note makes a line count. mu is held, or nobody else has the loss yet.
func (l *loss) note(line lossLine) {
	t := l.tables[line.Table]
	if t == nil {
		t = &tableLoss{}
		l.tables[line.Table] = t
	}
	if !line.Through.IsZero() {
		t.through = maxTime(t.through, line.Through)
		return
	}
	if line.Class == "" {
		l.last[shardOf{line.Table, shardID{line.Stream, line.Shard}}] = *line.Seq
		return
	}
	l.lines++
	sum := sumOf(line.Table, line.Key)
	l.rows[sum] = l.rows[sum].after(line)
	if at := time.UnixMicro(line.Seq.Time); lostClass(line.Class) && (l.first.IsZero() || at.Before(l.first)) {
		l.first = at
	}
}

// unknown are the records that were not judged before.
func (l *loss) unknown(table string, id shardID, records []ots.Record) []ots.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.last[shardOf{table, id}]
	if !ok {
		return records
	}
	return slices.DeleteFunc(slices.Clone(records), func(r ots.Record) bool { return r.Seq.Compare(last) <= 0 })
}

// add keeps what did not cross. A row that is known to be lost and whose later
// write has crossed is not lost after all.
func (l *loss) add(table string, id shardID, writes []judged) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []lossLine
	here := map[lostKey]bool{} // rows of the lines
	for _, w := range writes {
		key := w.rec.Key.String()
		sum := sumOf(table, key)
		if _, known := l.rows[sum]; w.class == ClassCrossed && !known && !here[sum] {
			continue
		}
		seq := w.rec.Seq
		line := lossLine{
			Version: lossVersion, Table: table, Stream: id.stream, Shard: id.shard, Seq: &seq,
			Key: key, Action: w.rec.Action.String(), Class: w.class,
		}
		for _, c := range w.rec.Cells {
			if !slices.Contains(line.Columns, c.Name) {
				line.Columns = append(line.Columns, c.Name)
			}
		}
		if l.lines+len(lines) >= l.most {
			l.full = true
			break
		}
		lines = append(lines, line)
		here[sum] = true
	}
	judged := writes[len(writes)-1].rec.Seq
	return l.append(append(lines, lossLine{Version: lossVersion, Table: table, Stream: id.stream, Shard: id.shard, Seq: &judged}))
}

// through notes that a table was read to its end.
func (l *loss) through(table string, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tables[table]
	was := t.through
	if at.After(was) { // else one shard goes on while another does not
		t.trouble, t.current = "", true
	}
	t.through = maxTime(t.through, at)
	if !was.IsZero() {
		return nil // that it was read to its end once is what outlasts the process
	}
	return l.append([]lossLine{{Version: lossVersion, Table: table, Through: at}})
}

// append writes lines, durably, and makes them count. mu is held.
func (l *loss) append(lines []lossLine) error {
	if len(lines) == 0 {
		return nil
	}
	if l.file != nil {
		var b bytes.Buffer
		for _, line := range lines {
			text, err := json.Marshal(line)
			if err != nil {
				return errors.Join(errLossFile, err)
			}
			b.Write(text)
			b.WriteByte('\n')
		}
		_, err := l.file.Write(b.Bytes())
		if err = errors.Join(err, l.file.Sync()); err != nil {
			return errors.Join(errLossFile, err)
		}
	}
	for _, line := range lines {
		l.note(line)
	}
	return nil
}

// cannot notes why not all of a table can be read.
func (l *loss) cannot(table, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tables[table].cannot = why
}

// trouble notes why a table is not read now.
func (l *loss) trouble(table string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tables[table]
	t.trouble, t.current = err.Error(), false
}

func (l *loss) keeps(table string, retention time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tables[table].keeps = retention
}

func (l *loss) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // every line is synced
		l.file = nil
	}
}
