package replication

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// losses is the list that people are shown.
type losses struct {
	mu    sync.Mutex
	now   *loss
	fault error // why there is none, or nothing more comes to it
}

func (l *losses) set(n *loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now, l.fault = n, nil
}

// fails notes why nobody looks at what was left behind.
func (l *losses) fails(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
}

// summary is what is known of what a course left behind, nil if nothing was.
func (l *losses) summary(i failover.InstanceName, c Course) *LossSummary {
	l.mu.Lock()
	now, fault := l.now, l.fault
	l.mu.Unlock()
	if now == nil && (fault == nil || !c.left()) {
		return nil
	}
	s := LossSummary{Op: fmt.Sprintf("%s-%s", i, c.Token), From: c.Standby, To: c.Active}
	if now != nil {
		s = now.summary()
	}
	if fault != nil {
		s.Exact, s.Why = false, phrase("it cannot be looked at: "+fault.Error(), s.Why)
	}
	return &s
}

func (l *losses) get() *loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// summary counts what is known.
func (l *loss) summary() LossSummary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := LossSummary{
		Op: l.cut.Op, From: l.cut.From, To: l.cut.To, Cut: l.cut.At, Begins: l.cut.Begins, Exact: true,
		ByClass: map[string]int64{}, ByTable: map[string]int64{},
	}
	if !l.cut.Begins.IsZero() {
		s.Bound = max(l.cut.At.Sub(l.cut.Begins), 0)
	}
	for _, r := range l.rows {
		if r.class == ClassCrossed {
			continue
		}
		s.ByClass[r.class]++
		if lostClass(r.class) {
			s.Rows++
			s.ByTable[r.table]++
		}
	}
	var why []string
	begun := 0 // tables that were never read to their end
	for _, name := range slices.Sorted(maps.Keys(l.tables)) {
		t := l.tables[name]
		switch at := t.through.UTC(); {
		case t.through.IsZero():
			begun++
		case s.Read.IsZero() || at.Before(s.Read):
			s.Read = at
		}
		switch {
		case t.cannot != "":
			why = append(why, name+": "+t.cannot)
		case t.through.IsZero() && t.trouble != "":
			why = append(why, name+": not read to its end yet: "+t.trouble)
		case t.through.IsZero():
			why = append(why, name+": not read to its end yet")
		case !t.current: // whoever still writes there may have written since
			why = append(why, name+": it was read to its end, and not since"+orTrouble(t.trouble))
		}
		if keeps := l.tables[name].keeps; keeps > 0 {
			begins := l.first
			if begins.IsZero() {
				begins = l.cut.Begins
			}
			if until := begins.Add(keeps); !begins.IsZero() && (s.Until.IsZero() || until.Before(s.Until)) {
				s.Until = until
			}
		}
	}
	if l.full {
		why = append(why, fmt.Sprintf("the list ends after %d writes", l.most))
	}
	if len(l.tables) == 0 {
		why = append(why, phrase("no table is known", l.cut.Why))
	}
	if begun > 0 {
		s.Read = time.Time{}
	}
	if len(why) > 0 {
		s.Exact, s.Why = false, several(why)
	}
	return s
}

func orTrouble(why string) string {
	if why == "" {
		return " this process began"
	}
	return ": " + why
}

// Lost lists the writes that the last failover left behind, in the order in
// which they were found: at most n of those after the given place, of one table
// if it is named. Next is where to go on, empty at the end. It shows the old
// side's last words while that is invalidated; rows whose class is
// [ClassOlder] were superseded.
func (r *Replicator) Lost(ctx context.Context, table, after string, n int) (rows []LostRow, next string, err error) {
	l := r.losses.get()
	if l == nil {
		return nil, "", nil
	}
	return l.list(ctx, table, after, n)
}

func (l *loss) list(ctx context.Context, table, after string, n int) (rows []LostRow, next string, err error) {
	var at int64
	if after != "" {
		if at, err = strconv.ParseInt(after, 10, 64); err != nil || at < 0 {
			return nil, "", fmt.Errorf("%.40q is no place in the list", after)
		}
	}
	if l.path == "" {
		return nil, "", fmt.Errorf("%w: there is no folder for it", errLossFile)
	}
	f, err := os.Open(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return nil, "", err
	}
	in := bufio.NewReader(f)
	for ctx.Err() == nil {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return rows, "", nil
		}
		if err != nil {
			return nil, "", err
		}
		line, err := decodeLossLine(text)
		if err != nil {
			return nil, "", fmt.Errorf("%q is no place in the list: %w", after, err)
		}
		if row, ok := l.shown(line); ok && (table == "" || table == row.Table) {
			if len(rows) == n {
				return rows, strconv.FormatInt(at, 10), nil
			}
			rows = append(rows, row)
		}
		at += int64(len(text))
	}
	return nil, "", context.Cause(ctx)
}

// shown says whether a line is a write of a row that did not cross after all.
func (l *loss) shown(line lossLine) (LostRow, bool) {
	if line.Class == "" || line.Class == ClassCrossed {
		return LostRow{}, false
	}
	l.mu.Lock()
	row, ok := l.rows[sumOf(line.Table, line.Key)]
	l.mu.Unlock()
	if !ok || row.class == ClassCrossed {
		return LostRow{}, false
	}
	return LostRow{
		Table: line.Table, Key: line.Key, Action: line.Action, Columns: line.Columns,
		At: time.UnixMicro(line.Seq.Time).UTC(), Class: line.Class,
	}, true
}
