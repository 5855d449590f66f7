package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// replicatedStories are told where rows are carried to the standby.
func replicatedStories() []Story {
	return []Story{
		{Name: "replicated-copy", Says: "100,000 rows are copied to the standby while clients change them", Replicated: true, play: playCopy},
		{Name: "replicated-switchover", Says: "a person moves the name while writers stand still: nothing differs, and the way back carries what comes next", Moves: true, Replicated: true, play: playReplicatedSwitchover},
		{Name: "replicated-failover", Says: "the active cluster is killed under load; what did not cross is named", Moves: true, Replicated: true, play: playReplicatedFailover},
	}
}

// tell says how far the story is.
func (st *stage) tell(format string, args ...any) {
	if st.say != nil {
		st.say(fmt.Sprintf(format, args...))
	}
}

// playCopy makes a table at the active cluster, loads it, and lets the program
// copy it while rows of it are changed. Then both sides are compared by the lab
// and by the program.
func playCopy(ctx context.Context, st *stage) error {
	a := newArchive(st.lab.World, st.from)
	defer a.end()
	// Else the program would look at a table that does not fit yet, and again
	// half a minute later.
	if _, err := st.lab.Tool.Do(ctx, "replication", "pause", st.instance, "--reason", "a table is loaded"); err != nil {
		return err
	}
	st.tell("%d rows are loaded into %s", archiveRows, st.from)
	there, err := a.make()
	if err != nil {
		return err
	}
	if err := a.load(ctx); err != nil {
		return err
	}
	st.fault = time.Now()
	changing, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(changing)
	g.Go(func() error { return a.change(gctx) })
	g.Go(func() error {
		defer stop()
		return st.copied(gctx, there)
	})
	if err := g.Wait(); err != nil || ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	if len(st.why) > 0 {
		return nil
	}
	if err := st.caughtUp(ctx, archiveTable); err != nil || len(st.why) > 0 {
		return err
	}
	n, err := st.alike(ctx, archiveTable, archiveKey)
	if err != nil {
		return err
	}
	st.note("%d rows were changed meanwhile; %d rows are the same at both in the end, with their versions", a.changed.Load(), n)
	if out, err := st.lab.Tool.DoWithin(ctx, 2*Bound, "replication", "verify", st.instance, "--table", archiveTable, "--full"); err != nil {
		st.broken("verify says otherwise: %v: %s", err, out)
	}
	return nil
}

// copied lets the program make the table at the standby and copy it, and waits
// until it is followed.
func (st *stage) copied(ctx context.Context, again bool) error {
	if err := st.lab.prepareTables(ctx, st.instance); err != nil {
		return err
	}
	if _, err := st.lab.Tool.Do(ctx, "replication", "resume", st.instance); err != nil {
		return err
	}
	if again { // of an earlier round
		if _, err := st.lab.Tool.Do(ctx, "replication", "resync", st.instance, archiveTable, "--yes", "--reason", "another round of the demo"); err != nil {
			return err
		}
	}
	bctx, cancel := context.WithTimeoutCause(ctx, 4*Bound, ErrNotReady)
	defer cancel()
	var most int64
	var fastest float64
	began := time.Now()
	err := st.lab.AwaitReplication(bctx, st.instance, "to be copied", func(r Replication) string {
		t := r.part(archiveTable)
		if t == nil {
			return "the program does not see the table yet"
		}
		if c := t.Copy; c != nil && t.Phase == "copying" {
			most, fastest = max(most, c.Rows), max(fastest, c.Rate)
			st.tell("%d of about %d rows are copied, %.0f a second, %s left", c.Rows, c.Total, c.Rate, c.Left.Round(time.Second))
		}
		if t.Phase != "following" || most == 0 && again {
			return "it is in " + t.Phase + ": " + t.Why
		}
		return protected(r)
	})
	switch {
	case errors.Is(err, ErrNotReady) && ctx.Err() == nil:
		st.broken("%v", err)
		return nil
	case err != nil:
		return err
	}
	st.note("%d rows were copied and followed after %.1f s, up to %.0f a second", archiveRows, time.Since(began).Seconds(), fastest)
	return nil
}

// caughtUp waits until everything that was written to a table by now is on the
// standby, as the program says.
func (st *stage) caughtUp(ctx context.Context, table string) error {
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	now := time.Now()
	err := st.lab.AwaitReplication(bctx, st.instance, "to catch up", func(r Replication) string {
		t := r.part(table)
		switch {
		case t == nil:
			return table + " is not shown"
		case t.Phase != "following":
			return table + " is in " + t.Phase + ": " + t.Why
		case !t.Oldest.After(now):
			return fmt.Sprintf("what was written %s before is not there for sure", now.Sub(t.Oldest).Round(time.Millisecond))
		}
		return ""
	})
	if errors.Is(err, ErrNotReady) && ctx.Err() == nil {
		st.broken("%v", err)
		return nil
	}
	return err
}

// alike compares a table at both clusters and returns its rows.
func (st *stage) alike(ctx context.Context, table string, key ...string) (int, error) {
	var sides [2]map[string]uint64
	for i, c := range []string{st.from, st.to} {
		var err error
		if sides[i], err = digests(ctx, st.lab.World, c, table, key...); err != nil {
			return 0, err
		}
	}
	if n, example := unlike(sides[0], sides[1]); n > 0 {
		st.broken("%s of %s differ between %s and %s, such as %s", rows(n), table, st.from, st.to, example)
	}
	return len(sides[0]), nil
}

// playReplicatedSwitchover stops the writer, moves the name, and compares. Then
// the writer goes on at the new cluster, and the old one must get its rows.
func playReplicatedSwitchover(ctx context.Context, st *stage) error {
	if err := st.writer.Hush(ctx); err != nil {
		return err
	}
	defer st.writer.Speak()
	if err := playSwitchover(ctx, st); err != nil || len(st.why) > 0 {
		return err
	}
	n, err := st.alike(ctx, ordersTable, ordersCustomer, ordersNumber)
	if err != nil || len(st.why) > 0 {
		return err
	}
	st.note("%d rows are the same at both after the move", n)
	st.writer.Speak()
	st.rebuilt = true
	st.writer.Rebuild()
	if err := st.writes(ctx, time.Now(), st.to); err != nil || len(st.why) > 0 {
		return err
	}
	if err := st.following(ctx); err != nil || len(st.why) > 0 {
		return err
	}
	if err := pause(ctx, time.Second); err != nil { // so that there is something to carry
		return err
	}
	if err := st.writer.Hush(ctx); err != nil {
		return err
	}
	if err := st.caughtUp(ctx, ordersTable); err != nil || len(st.why) > 0 {
		return err
	}
	m, err := st.alike(ctx, ordersTable, ordersCustomer, ordersNumber)
	if err != nil {
		return err
	}
	if m <= n {
		st.broken("nothing was written after the move: %d rows before, %d now", n, m)
	}
	st.note("%d more were carried back from %s to %s", m-n, st.to, st.from)
	return nil
}

// tellWriter hushes the client, or lets it speak.
func (l *Lab) tellWriter(ctx context.Context, hush bool) (string, error) {
	switch {
	case l.writer == nil:
		return "", errNoWriter
	case !hush:
		l.writer.Speak()
		return "the client writes on", nil
	}
	return "the client writes nothing, until speak", l.writer.Hush(ctx)
}

// following waits until the standby is protected.
func (st *stage) following(ctx context.Context) error {
	bctx, cancel := context.WithTimeoutCause(ctx, 2*Bound, ErrNotReady)
	defer cancel()
	err := st.lab.AwaitReplication(bctx, st.instance, "to follow", protected)
	if errors.Is(err, ErrNotReady) && ctx.Err() == nil {
		st.broken("%v", err)
		return nil
	}
	return err
}

// Before the active cluster is killed the standby answers late, so that something
// has not crossed, and the client writes as fast as it can.
const (
	behindMS = 100 // less than what a probe waits for
	loadPace = time.Millisecond
)

// playReplicatedFailover kills the active cluster while the standby is behind,
// brings it back, and holds the rows that the program names as lost against
// those that are really missing.
func playReplicatedFailover(ctx context.Context, st *stage) error {
	if err := st.lab.Set(ctx, st.to, Knobs{SlowMS: behindMS}); err != nil {
		return err
	}
	st.writer.Pace(loadPace)
	defer st.writer.Pace(0)
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := st.moves(ctx, func() error { return st.lab.Kill(st.from) }); err != nil {
		return err
	}
	st.writer.Pace(0)
	if err := st.lab.Set(ctx, st.to, Knobs{}); err != nil || len(st.why) > 0 {
		return err
	}
	if err := st.writes(ctx, st.fault, st.to); err != nil || len(st.why) > 0 {
		return err
	}
	if err := st.lab.Heal(ctx, st.from); err != nil {
		return err
	}
	named, err := st.lostRows(ctx)
	if err != nil || len(st.why) > 0 {
		return err
	}
	missing, acknowledged, err := st.missing(ctx)
	if err != nil {
		return err
	}
	if !maps.Equal(named, missing) {
		st.broken("named as lost are %s, and %s lacks %s", orNone(named), st.to, orNone(missing))
		return nil
	}
	st.note("%s of %s did not cross, %d of them acknowledged, and those are named: %s", rows(len(missing)), st.from, acknowledged, orNone(missing))
	for n := range named {
		st.lab.named[n] = true
	}
	// A person has seen them, gives them up, and has the old side filled anew.
	if _, err := st.lab.Tool.Do(ctx, "refill", st.instance, "--to", st.from, "--give-up-unsynced-rows", "--reason", "seen in the demo"); err != nil {
		return err
	}
	var asks []string // tables; none if the old side is filled without another word
	waiting := func(r Replication) string {
		asks = nil
		for _, t := range r.Tables {
			if t.Phase == "waiting" && strings.Contains(t.Why, "has rows") {
				asks = append(asks, t.Table)
			}
		}
		if len(asks) == len(r.Tables) && len(asks) > 0 || protected(r) == "" {
			return ""
		}
		return "no table waits for a word: " + r.Doing
	}
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	if err := st.lab.AwaitReplication(bctx, st.instance, "to ask for a word", waiting); err != nil && errors.Is(err, ErrNotReady) && ctx.Err() == nil {
		st.broken("%v", err)
		return nil
	} else if err != nil {
		return err
	}
	if len(asks) == 0 {
		return nil
	}
	// Its rows that the new side lacks will be deleted: this is the consent.
	order := append([]string{"replication", "resync", st.instance, "--yes", "--reason", "seen in the demo"}, asks...)
	if _, err := st.lab.Tool.Do(ctx, order...); err != nil {
		return err
	}
	return st.following(ctx)
}

func orNone(rows map[int64]bool) string {
	if len(rows) == 0 {
		return "none"
	}
	return ranges(slices.Collect(maps.Keys(rows)))
}

// numberOf finds the number of a row of the Writer in its key, as the program
// writes keys.
var numberOf = regexp.MustCompile(`\b` + ordersNumber + `=(\d+)`)

// lostRows waits until the program has read what the old cluster holds, and
// returns the rows of the Writer that it names as lost.
func (st *stage) lostRows(ctx context.Context) (map[int64]bool, error) {
	bctx, cancel := context.WithTimeoutCause(ctx, 2*Bound, ErrNotReady)
	defer cancel()
	err := st.lab.AwaitReplication(bctx, st.instance, "to be surveyed", func(r Replication) string {
		switch {
		case r.Lost == nil:
			return "nothing is said of what was lost: " + r.Doing
		case !r.Lost.Exact:
			return "it is not exact: " + r.Lost.Why
		}
		return ""
	})
	if errors.Is(err, ErrNotReady) && ctx.Err() == nil {
		st.broken("%v", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[int64]bool{}
	for after := ""; ; {
		args := []string{"replication", "lost", st.instance, "--limit", "500", "-o", "json"}
		if after != "" {
			args = append(args, "--after", after)
		}
		b, err := st.lab.Tool.Do(ctx, args...)
		if err != nil {
			return nil, err
		}
		var page struct {
			Rows []struct{ Table, Key, Class string }
			Next string
		}
		if err := json.Unmarshal(b, &page); err != nil {
			return nil, fmt.Errorf("pointsman replication lost: read its JSON: %w", err)
		}
		for _, row := range page.Rows {
			if row.Table != ordersTable || row.Class == "crossed" {
				continue
			}
			m := numberOf.FindStringSubmatch(row.Key)
			if m == nil {
				st.broken("a row is named as lost whose key nobody wrote: %s", row.Key)
				continue
			}
			n, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("key of a lost row: %w", err)
			}
			out[n] = true
		}
		if after = page.Next; after == "" {
			return out, nil
		}
	}
}

// missing are the rows that the old cluster holds and the new one lacks, and how
// many of them had been acknowledged.
func (st *stage) missing(ctx context.Context) (missing map[int64]bool, acknowledged int, err error) {
	in := st.lab.World.Instances[0]
	log := st.writer.Log(1) // before the rows: it goes on
	held := [2]map[int64]bool{{}, {}}
	for i, name := range []string{st.from, st.to} {
		site, _ := st.lab.World.Cluster(name)
		rows, err := ReadRows(ctx, site, in.Names[0], in.Name, st.lab.World.keys[keyOfService])
		if err != nil {
			return nil, 0, err
		}
		for _, h := range rows {
			held[i][h.N] = true
		}
	}
	missing = map[int64]bool{}
	for n := range held[0] {
		if held[1][n] {
			continue
		}
		missing[n] = true
		if n <= int64(len(log)) && log[n-1].By > 0 {
			acknowledged++
		}
	}
	// What was acknowledged and is nowhere is no loss of a failover.
	for i, e := range log {
		if n := int64(i + 1); e.By > 0 && !held[0][n] && !held[1][n] && !st.lab.named[n] {
			st.broken("row %d was acknowledged, and neither cluster holds it", n)
		}
	}
	return missing, acknowledged, nil
}

// rest lets everything cross that can. What it says is why it does not.
func (l *Lab) rest(ctx context.Context) (string, error) {
	bctx, cancel := context.WithTimeoutCause(ctx, 2*Bound, ErrNotReady)
	defer cancel()
	now := time.Now()
	err := l.AwaitReplication(bctx, l.World.Instances[0].Name, "to come to rest", func(s Replication) string {
		if why := protected(s); why != "" {
			return why
		}
		if t := s.part(ordersTable); t == nil || !t.Oldest.After(now) {
			return "what was written last has not crossed for sure"
		}
		return ""
	})
	if errors.Is(err, ErrNotReady) && ctx.Err() == nil {
		return err.Error(), nil
	}
	return "", err
}

// judgeReplicated holds what was written against what is there at rest.
func (l *Lab) judgeReplicated(ctx context.Context, r *WriteReport) error {
	in := l.World.Instances[0]
	v, err := l.Tool.View(ctx, in.Name)
	if err != nil {
		return err
	}
	held, standby := map[string][]Held{}, ""
	for _, c := range l.World.Clusters {
		if held[c.Name], err = ReadRows(ctx, c, in.Names[0], in.Name, l.World.keys[keyOfService]); err != nil {
			return err
		}
		if c.Name != v.Active {
			standby = c.Name
		}
	}
	lost, why := JudgeReplicated(l.writer.Log(1), v.Active, standby, held, l.named)
	r.Rest, r.Lost, r.Named, r.Why = true, len(lost), ranges(lost), append(r.Why, why...)
	return nil
}
