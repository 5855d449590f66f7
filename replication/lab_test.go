package replication

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// side is a Tablestore in this process and a client of it.
type side struct {
	*lab.Server
	Client *ots.Client
}

func newSide(t testing.TB, change ...func(*ots.Config)) *side {
	t.Helper()
	s, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &side{s, openSide(t, s, change...)}
}

// openSide is one more client of a server.
func openSide(t testing.TB, s *lab.Server, change ...func(*ots.Config)) *ots.Client {
	t.Helper()
	cfg := ots.Config{
		Endpoint: s.Endpoint(), Instance: "lab", Timeout: 10 * time.Second,
		Credentials: func() (ots.Credentials, error) {
			b, err := json.Marshal(map[string]string{"AccessKeyId": s.Key().ID, "AccessKeySecret": s.Key().Secret})
			if err != nil {
				return ots.Credentials{}, err
			}
			return ots.ParseCredentials(b)
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	c, err := ots.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (s *side) create(t testing.TB, tables ...ots.Table) {
	t.Helper()
	for _, table := range tables {
		if err := s.Client.CreateTable(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
}

// read is a whole table, by keys.
func (s *side) read(t testing.TB, table string) []ots.Row {
	t.Helper()
	var rows []ots.Row
	q := ots.RangeQuery{Table: table, MaxVersions: 100}
	for {
		p, err := s.Client.Range(context.WithoutCancel(t.Context()), q)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, p.Rows...)
		if p.Next == nil {
			return rows
		}
		q.Start = p.Next
	}
}

// fail arms a fault and returns what heals it.
func (s *side) fail(t testing.TB, f lab.Fault, times int) func() {
	t.Helper()
	id, err := s.Fail(f, times)
	if err != nil {
		t.Fatal(err)
	}
	return func() { s.Heal(id) }
}

// calls counts the requests of an operation.
func (s *side) calls(operation string) int {
	return len(s.Requests(lab.Filter{Operation: operation}))
}

func rowsEqual(a, b []ots.Row) bool {
	return slices.EqualFunc(a, b, func(x, y ots.Row) bool {
		return x.Key.Compare(y.Key) == 0 && slices.EqualFunc(x.Cells, y.Cells, cellsEqual)
	})
}

func cellsEqual(a, b ots.Cell) bool {
	if x, ok := a.Value.([]byte); ok {
		y, ok := b.Value.([]byte)
		return ok && slices.Equal(x, y) && a.Name == b.Name && a.Op == b.Op && a.Version == b.Version
	}
	if _, ok := b.Value.([]byte); ok {
		return false
	}
	return a == b
}
