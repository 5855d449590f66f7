package ots

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/lab/tablestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func keyOf(k tablestore.Key) func() (Credentials, error) {
	return func() (Credentials, error) {
		text, err := json.Marshal(map[string]string{"AccessKeyId": k.ID, "AccessKeySecret": k.Secret, "SecurityToken": k.Token})
		if err != nil {
			return Credentials{}, err
		}
		return ParseCredentials(text)
	}
}

func start(t testing.TB, o tablestore.Options, change ...func(*Config)) (*tablestore.Server, *Client) {
	t.Helper()
	s, err := tablestore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	cfg := Config{Endpoint: s.Endpoint(), Instance: s.Instances()[0].Name, Credentials: keyOf(s.Key())}
	for _, do := range change {
		do(&cfg)
	}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

func orders(k string, n int64) Key { return Key{{"id", k}, {"n", n}} }

var ordersTable = Table{
	Name: "orders", Key: []KeySchema{{Name: "id", Type: "STRING"}, {Name: "n", Type: "INTEGER"}}, TTL: -1, MaxVersions: 3,
	Deviation: 1 << 31, AllowUpdate: true, Retention: 24 * time.Hour,
}

func TestRoundTrip(t *testing.T) {
	_, c := start(t, tablestore.Options{})
	ctx := context.Background()
	if err := c.CreateTable(ctx, ordersTable); err != nil {
		t.Fatal(err)
	}
	got, err := c.Describe(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if got.Stream == "" || got.Retention != 24*time.Hour {
		t.Fatalf("%+v", got)
	}
	_, shards, err := c.Shards(ctx, got.Stream)
	if err != nil || len(shards) != 1 {
		t.Fatal(shards, err)
	}
	it, err := c.Iterator(ctx, got.Stream, shards[0].ID, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	cells := []Cell{
		{Name: "b", Value: true, Version: 7},
		{Name: "d", Value: 1.5, Version: 7},
		{Name: "i", Value: int64(-3), Version: 9},
		{Name: "i", Value: int64(4), Version: 0},
		{Name: "s", Value: "x", Version: 7},
		{Name: "z", Value: []byte{0, 1}, Version: 7},
	}
	m := Mutation{"orders", PutRow, orders("a", 1), cells}
	res, err := c.Write(ctx, []Mutation{m, {"orders", UpdateRow, orders("a", 2), nil}, {"none", DeleteRow, orders("a", 2), nil}})
	if err != nil || res[0].Err != nil || ClassOf(res[1].Err) != ClassRow || ClassOf(res[2].Err) != ClassAbsent {
		t.Fatal(res, err)
	}
	page, err := c.Records(ctx, it, 10)
	if err != nil || len(page.Records) != 1 || !reflect.DeepEqual(page.Records[0].Cells, cells) {
		t.Fatal(page, err)
	}
	rows, err := c.Get(ctx, "orders", []Key{orders("a", 1), orders("b", 1)}, 3)
	if err != nil || !reflect.DeepEqual(rows[0], Row{orders("a", 1), cells}) || rows[1].Key != nil {
		t.Fatal(rows, err)
	}
	for range 3 {
		r, err := c.Range(ctx, RangeQuery{Table: "orders", Start: Key{{"id", "a"}}, MaxVersions: 3})
		if err != nil || len(r.Rows) != 1 || r.Next != nil {
			t.Fatal(r, err)
		}
	}
	if err := c.PutIf(ctx, "orders", Row{orders("a", 1), cells[:1]}, Condition{Row: ExistsNot}); ClassOf(err) != ClassCondition {
		t.Fatal(err)
	}
	if err := c.PutIf(ctx, "orders", Row{orders("a", 1), cells[:1]}, Condition{Column: "s", Is: LessEqual, Value: "w"}); ClassOf(err) != ClassCondition {
		t.Fatal(err)
	}
	if err := c.PutIf(ctx, "orders", Row{orders("a", 1), cells[:1]}, Condition{Column: "s", Is: LessEqual, Value: "x"}); err != nil {
		t.Fatal(err)
	}
	n := 2
	if err := c.UpdateTable(ctx, "orders", TableChange{MaxVersions: &n}); err != nil {
		t.Fatal(err)
	}
	if got, err = c.Describe(ctx, "orders"); err != nil || got.MaxVersions != 2 {
		t.Fatal(got, err)
	}
	low, high, known := c.Offset()
	if !known || low > 0 || high < 0 {
		t.Fatal(low, high, known)
	}
	t.Log(low, high)
}
