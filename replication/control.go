package replication

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// ErrSuperseded: an incarnation with a greater token has taken the control rows.
// Whoever gets it stops and tidies nothing.
var ErrSuperseded = errors.New("superseded by a newer incarnation")

// controlSchema is what the table looks like that keeps where replication is.
// It may be shared by instances and directions.
func controlSchema(name string) ots.Table {
	return ots.Table{
		Name: name, Key: []ots.KeySchema{{Name: keyScope, Type: "STRING"}, {Name: keyName, Type: "STRING"}},
		TTL: -1, MaxVersions: 1, Deviation: widestDeviation, AllowUpdate: true,
	}
}

// widestDeviation lets a version be of any time, in seconds.
const widestDeviation = 1<<31 - 1

// Columns of the control table.
const (
	keyScope = "scope" // instance and direction
	keyName  = "name"

	colToken  = "token"
	colBy     = "by"
	colWhole  = "whole"    // claim: rows with a lower token are of before it and mean nothing
	colClean  = "released" // claim
	colNumber = "number"   // of a text: which one of its table
	colParts  = "parts"    // rows that it goes on in
	colSum    = "sum"      // of the whole text
	colText   = "text"     // text0, text1, …

	rowClaim    = "claim"
	rowInstance = "instance"
	rowsTable   = "table/"
	rowsPart    = "part/"
)

// controlConfig is whose rows of which control table these are.
type controlConfig struct {
	Client   *ots.Client // of the target, or where else the table is
	Table    string
	Instance failover.InstanceName
	From, To failover.ClusterName
	Token    failover.Token
	By       string // who claims, for people
	// May is asked before each write; nil lets all be written.
	May func() error
}

// control keeps where replication is, from one cluster to the other, in rows
// that only the newest incarnation can write.
//
// Each row carries the token of who wrote it, and is written on the condition
// that the token there is not greater. Claim puts our token on the row of the
// claim, then on all others, and then declares that whole: from there on a row
// with a lower token was made by an older incarnation after all, and means
// nothing. No order of a crash and a late write lets an old row count.
//
// Safe for concurrent use; of one table one Save at a time gets through.
type control struct {
	cfg   controlConfig
	scope string
	token string

	mu    sync.Mutex
	slots map[string]*slot // by the name of the row; nil until Claim
}

// slot is what is known of the text of one table.
type slot struct {
	mu     sync.Mutex
	used   int64 // the greatest number that was given to a text
	number int64 // of the text that is there
	parts  int64 // that it goes on in
}

// openControl checks that the table is there and ours. Nothing is written.
func openControl(ctx context.Context, cfg controlConfig) (*control, error) {
	if cfg.May == nil {
		cfg.May = func() error { return nil }
	}
	if err := checkSchema(ctx, cfg.Client, cfg.Instance, controlSchema(cfg.Table)); err != nil {
		return nil, err
	}
	return &control{cfg: cfg, scope: scopeOf(cfg.Instance, cfg.From, cfg.To), token: tokenText(cfg.Token)}, nil
}

// scopeOf is the part of the key that rows of one instance and direction have.
func scopeOf(instance failover.InstanceName, from, to failover.ClusterName) string {
	return fmt.Sprintf("%s/%s>%s", instance, from, to)
}

// checkSchema compares a table of our own with what it has to be.
func checkSchema(ctx context.Context, c *ots.Client, i failover.InstanceName, want ots.Table) error {
	is, err := c.Describe(ctx, want.Name)
	if ots.ClassOf(err) == ots.ClassAbsent {
		return fmt.Errorf("table %s is missing (%s makes it): %w", want.Name, HintFor(i, prepareVerb), err)
	}
	if err != nil {
		return fmt.Errorf("table %s: %w", want.Name, err)
	}
	same := len(is.Key) == len(want.Key) && is.TTL == want.TTL && is.MaxVersions == want.MaxVersions && is.AllowUpdate && !is.UpdateFullRow
	for i := 0; same && i < len(want.Key); i++ {
		same = is.Key[i] == want.Key[i]
	}
	if !same {
		return fmt.Errorf("table %s is not one of this program: its key, TTL or versions differ (remove it, or name another in the config)", want.Name)
	}
	return nil
}

// tokenText sorts as tokens do.
func tokenText(t failover.Token) string { return fmt.Sprintf("%020d.%020d", t.Term, t.Epoch) }

func (c *control) key(name string) ots.Key {
	return ots.Key{{Name: keyScope, Value: c.scope}, {Name: keyName, Value: name}}
}

// claimRow is the row that says whose the others are.
type claimRow struct {
	token, by, whole string
	clean            bool
}

func (c *control) readClaim(ctx context.Context) (claimRow, bool, error) {
	rows, err := c.cfg.Client.Get(ctx, c.cfg.Table, []ots.Key{c.key(rowClaim)}, 1)
	if err != nil || rows[0].Key == nil {
		return claimRow{}, false, err
	}
	v := valuesOf(rows[0])
	return claimRow{v.text(colToken), v.text(colBy), v.text(colWhole), v.yes(colClean)}, true, nil
}

func (c *control) writeClaim(ctx context.Context, cl claimRow, cond ots.Condition) error {
	if err := c.cfg.May(); err != nil {
		return err
	}
	return c.cfg.Client.PutIf(ctx, c.cfg.Table, ots.Row{Key: c.key(rowClaim), Cells: []ots.Cell{
		{Name: colToken, Value: cl.token}, {Name: colBy, Value: cl.by}, {Name: colWhole, Value: cl.whole}, {Name: colClean, Value: cl.clean},
	}}, cond)
}

// Claim makes the rows ours. It is unclean if who had them before may still have
// requests under way; ErrSuperseded if that one is newer. It may be called
// again, also after a fault.
func (c *control) Claim(ctx context.Context) (unclean bool, err error) {
	was, there, err := c.readClaim(ctx)
	if err != nil {
		return false, c.fault("claim", err)
	}
	if was.token > c.token {
		return false, c.superseded(was)
	}
	cond := ots.Condition{Row: ots.ExistsNot}
	if there {
		cond = ots.Condition{Column: colToken, Is: ots.Equal, Value: was.token}
	}
	now := claimRow{token: c.token, by: c.cfg.By, whole: was.whole}
	if err := c.writeClaim(ctx, now, cond); err != nil {
		return false, c.lost(ctx, "claim", err)
	}
	slots, err := c.take(ctx, was.whole)
	if err != nil {
		return false, c.lost(ctx, "claim", err)
	}
	now.whole = c.token
	if err := c.writeClaim(ctx, now, ots.Condition{Column: colToken, Is: ots.Equal, Value: c.token}); err != nil {
		return false, c.lost(ctx, "claim", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots = slots
	return there && !was.clean, nil
}

// take puts our token on all rows that count, and removes the others. It looks
// until all have it: a save of the one before that lands after a row was read,
// and before it is ours, has a version of its own, below which ours is not seen.
// Where ours was seen, no such save is done any more.
func (c *control) take(ctx context.Context, whole string) (map[string]*slot, error) {
	for {
		slots, left, err := c.takeSome(ctx, whole)
		if err != nil || left == 0 {
			return slots, err
		}
	}
}

// takeSome goes over the rows once, and says how many were not ours yet.
func (c *control) takeSome(ctx context.Context, whole string) (_ map[string]*slot, left int, _ error) {
	rows, err := c.rows(ctx, colToken, colNumber, colParts)
	if err != nil {
		return nil, 0, err
	}
	slots := make(map[string]*slot)
	for _, r := range rows {
		if v := valuesOf(r.Row); v.text(colToken) >= whole && !strings.HasPrefix(r.name, rowsPart) {
			slots[r.name] = &slot{number: v.number(colNumber), parts: v.number(colParts)}
		}
	}
	g, gctx := newTeam(ctx)
	g.SetLimit(controlCalls)
	for _, r := range rows {
		token := valuesOf(r.Row).cell(colToken)
		text, _ := token.Value.(string)
		ours := ots.Condition{Column: colToken, Is: ots.Equal, Value: text}
		of, number, isPart := partOf(r.name)
		s := slots[of]
		switch {
		case text < whole, isPart && (s == nil || s.number != number):
			g.Go(func() error { return c.remove(gctx, r.name, ours) })
		case text != c.token:
			left++
			// A greater version than the one there, whatever became of the clocks:
			// an older one would not be seen.
			version := max(time.Now().UnixMilli(), token.Version+1)
			g.Go(func() error {
				if err := c.cfg.May(); err != nil {
					return err
				}
				return c.cfg.Client.UpdateIf(gctx, c.cfg.Table, ots.Row{Key: c.key(r.name), Cells: []ots.Cell{
					{Name: colToken, Value: c.token, Version: version},
				}}, ots.Condition{Column: colToken, Is: ots.LessEqual, Value: c.token})
			})
		}
	}
	return slots, left, g.Wait()
}

// controlCalls is how many rows are written side by side.
const controlCalls = 8

func (c *control) remove(ctx context.Context, name string, cond ots.Condition) error {
	if err := c.cfg.May(); err != nil {
		return err
	}
	return c.cfg.Client.DeleteIf(ctx, c.cfg.Table, c.key(name), cond)
}

// namedRow is a row of ours and the second column of its key.
type namedRow struct {
	ots.Row
	name string
}

// rows are all rows of our scope but the claim.
func (c *control) rows(ctx context.Context, columns ...string) ([]namedRow, error) {
	q := ots.RangeQuery{
		Table: c.cfg.Table, Columns: columns,
		Start: ots.Key{{Name: keyScope, Value: c.scope}}, End: ots.Key{{Name: keyScope, Value: c.scope + "\x00"}},
	}
	var out []namedRow
	for {
		page, err := c.cfg.Client.Range(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Rows {
			if name, _ := r.Key[1].Value.(string); name != rowClaim {
				out = append(out, namedRow{r, name})
			}
		}
		if page.Next == nil {
			return out, nil
		}
		q.Start = page.Next
	}
}

// Release says that nothing of ours is under way any more, so that the next one
// need not wait. Nothing can be saved after it.
func (c *control) Release(ctx context.Context) error {
	c.mu.Lock()
	c.slots = nil
	c.mu.Unlock()
	err := c.writeClaim(ctx, claimRow{token: c.token, by: c.cfg.By, whole: c.token, clean: true}, ots.Condition{Column: colToken, Is: ots.Equal, Value: c.token})
	if err != nil {
		return c.lost(ctx, "release", err)
	}
	return nil
}

func (c *control) fault(what string, err error) error {
	return fmt.Errorf("control table %s: %s: %w", c.cfg.Table, what, err)
}

// lost explains why a conditional write was not done: somebody else has the
// rows, if it is a condition that failed.
func (c *control) lost(ctx context.Context, what string, err error) error {
	if ots.ClassOf(err) != ots.ClassCondition {
		return c.fault(what, err)
	}
	now, _, e := c.readClaim(ctx)
	if e == nil && now.token == c.token {
		// The condition failed against a write of our own, whose answer was lost,
		// or one that is of another term but not of another claim.
		return c.fault(what, err)
	}
	return c.superseded(now)
}

func (c *control) superseded(by claimRow) error {
	if by.token == "" {
		return c.fault("write", ErrSuperseded)
	}
	return c.fault("write", fmt.Errorf("%w: %s has the token %s, ours is %s", ErrSuperseded, by.by, by.token, c.token))
}

// values are the newest cells of a row.
type values map[string]ots.Cell

func valuesOf(r ots.Row) values {
	v := make(values, len(r.Cells))
	for _, c := range r.Cells {
		if _, ok := v[c.Name]; !ok {
			v[c.Name] = c
		}
	}
	return v
}

func (v values) cell(name string) ots.Cell { return v[name] }

func (v values) text(name string) string {
	s, _ := v[name].Value.(string)
	return s
}

func (v values) number(name string) int64 {
	n, _ := v[name].Value.(int64)
	return n
}

func (v values) yes(name string) bool {
	b, _ := v[name].Value.(bool)
	return b
}
