package ots

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

func TestCredentials(t *testing.T) {
	c, err := ParseCredentials([]byte(`{"AccessKeyId":"LTAI","AccessKeySecret":"s3cret","SecurityToken":"t0ken"}`))
	if err != nil || c != (Credentials{"LTAI", "s3cret", "t0ken"}) {
		t.Error(err)
	}
	inJSON, err := json.Marshal(struct{ C Credentials }{c})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %s", c, c, c), fmt.Sprintf("%#v", c), fmt.Sprintf("%#v", &c), string(inJSON)} {
		if strings.Contains(text, "s3cret") || strings.Contains(text, "t0ken") || !strings.Contains(text, "LTAI") {
			t.Error(text)
		}
	}
	for _, bad := range []string{``, `s3cret`, `{}`, `{"AccessKeyId":"LTAI"}`, `{"AccessKeyId":"LTAI","AccessKeySecret":"s3cret\n"}`, `{"AccessKeyId":"LT AI","AccessKeySecret":"s3cret"}`} {
		if _, err := ParseCredentials([]byte(bad)); !errors.Is(err, ErrCredentials) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	get := KeyFile(path)
	put := func(text string, mode fs.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := get(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	put(`{"AccessKeyId":"a"`, 0o600)
	if _, err := get(); !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	key := func(id string) string { return `{"AccessKeyId":"` + id + `","AccessKeySecret":"s3cret"}` }
	for _, id := range []string{"a", "a", "b"} {
		put(key(id), 0o600)
		if c, err := get(); err != nil || c.ID != id {
			t.Error(c, err)
		}
	}
	put(key("c")[:10], 0o600) // half-written
	if c, err := get(); err != nil || c.ID != "b" {
		t.Error(c, err)
	}
	put(key("c"), 0o640)
	if _, err := get(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
	put(key("c"), 0o600)
	if c, err := get(); err != nil || c.ID != "c" {
		t.Error(c, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := get(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	key := func() (Credentials, error) { return Credentials{}, nil }
	good := Config{Endpoint: "https://x.example.com", Instance: "x", Credentials: key}
	for want, change := range map[string]func(*Config){
		"no URL":         func(c *Config) { c.Endpoint = "x.example.com" },
		"is no URL":      func(c *Config) { c.Endpoint = "ftp://x" },
		"more than":      func(c *Config) { c.Endpoint = "https://me:secret@x" },
		"more than sch":  func(c *Config) { c.Endpoint = "https://x/path" },
		"no instance":    func(c *Config) { c.Instance = "" },
		"no credentials": func(c *Config) { c.Credentials = nil },
		"host:port":      func(c *Config) { c.Address = "127.0.0.1" },
	} {
		cfg := good
		change(&cfg)
		if c, err := Open(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || c != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
	c, err := Open(good)
	if err != nil || c.Endpoint() != "https://x.example.com" || c.Instance() != "x" {
		t.Fatal(err)
	}
	if _, _, known := c.Offset(); known {
		t.Error("a clock that nobody asked")
	}
	c.Close()
}

// TestKeys: what is wrong with a key is told apart, and no error repeats it,
// even if a server does.
func TestKeys(t *testing.T) {
	s, c := start(t, tablestore.Options{})
	ctx := context.Background()
	with := func(k Credentials, fault error) error {
		c.cfg.Credentials = func() (Credentials, error) { return k, fault }
		_, err := c.ListTables(ctx)
		return err
	}
	for _, k := range []Credentials{{"none", "s3cret", ""}, {s.Key().ID, "s3cret", ""}} {
		if err := with(k, nil); ClassOf(err) != ClassRights || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v is %v", err, ClassOf(err))
		}
	}
	lost := errors.New("lost")
	if err := with(Credentials{}, lost); !errors.Is(err, lost) || ClassOf(err) != ClassOwn {
		t.Error(err)
	}
	if err := s.AddKey(tablestore.Key{ID: "sts", Secret: "s3cret", Token: "t0ken"}); err != nil {
		t.Fatal(err)
	}
	if err := with(Credentials{"sts", "s3cret", "t0ken"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := c.GlobalTable(ctx, "x"); ClassOf(err) == ClassRights { // signed here
		t.Error(err)
	}
	if _, err := s.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSStrange", Status: 400, Message: "s3cret\x00\nand t0ken" + strings.Repeat("x", 4096)}, 2); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{with(Credentials{"sts", "s3cret", "t0ken"}, nil), func() error { _, err := c.GlobalTable(ctx, "x"); return err }()} {
		text := err.Error()
		if strings.Contains(text, "s3cret") || strings.Contains(text, "t0ken") || strings.ContainsAny(text, "\x00\n") || len(text) > 512 || ClassOf(err) != ClassOwn {
			t.Errorf("%q", text)
		}
	}
	s.Heal()
	if err := s.SetStopped(c.Instance(), true); err != nil {
		t.Fatal(err)
	}
	if err := with(Credentials{"sts", "s3cret", "t0ken"}, nil); ClassOf(err) != ClassRetry {
		t.Errorf("%v is %v", err, ClassOf(err))
	}
	c.cfg.Instance = "none"
	c2, err := Open(c.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	if _, err := c2.ListTables(ctx); ClassOf(err) != ClassOwn {
		t.Errorf("%v is %v", err, ClassOf(err))
	}
}

func TestClasses(t *testing.T) {
	for _, c := range []struct {
		code, message string
		status        int
		want          Class
	}{
		{"OTSQuotaExhausted", "Too frequent table operations.", 403, ClassRetry},
		{"OTSQuotaExhausted", "Number of tables exceeds the quota:64.", 403, ClassOwn},
		{"OTSFlowControl", "", 429, ClassRetry},
		{"OTSNotEnoughCapacityUnit", "", 403, ClassRetry},
		{"OTSRowOperationConflict", "", 409, ClassRetry},
		{"OTSObjectAlreadyExist", "", 409, ClassCondition},
		{"OTSConditionCheckFail", "", 403, ClassCondition},
		{"OTSTrimmedDataAccess", "", 404, ClassTrimmed},
		{"OTSTableNotReady", "", 404, ClassRetry},
		{"OTSOutOfColumnCountLimit", "", 400, ClassRow},
		{"OTSRequestBodyTooLarge", "", 413, ClassOwn},
		{"OTSAuthFailed", "Mismatch between system time and x-ots-date: x.", 403, ClassOwn},
		{"OTSAuthFailed", "Mismatch between MD5 value of request body and x-ots-contentmd5 in header.", 403, ClassRetry},
		{"OTSNoPermissionAccess", "You have no permission to access the requested resource.", 403, ClassRights},
		{"OTSNew", "", 503, ClassRetry},
		{"OTSNew", "", 429, ClassRetry},
		{"OTSNew", "", 400, ClassOwn},
	} {
		err := fmt.Errorf("wrapped: %w", &Error{Code: c.code, Message: c.message, Status: c.status})
		if got := ClassOf(err); got != c.want {
			t.Errorf("%v is %v, want %v", err, got, c.want)
		}
	}
	if ClassOf(nil) != 0 || ClassOf(errors.New("x")) != ClassOwn || Class(0).String() != "none" {
		t.Error("no class")
	}
	if got := (&Error{Code: "OTSX", Message: "m", RequestID: "id"}).Error(); got != "OTSX: m (request id)" {
		t.Error(got)
	}
}

// TestTLS: the connection goes to Address, the name and the certificate are of
// Endpoint.
func TestTLS(t *testing.T) {
	s, err := tablestore.New(tablestore.Options{TLSNames: []string{"orders.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CA()) {
		t.Fatal("no certificate")
	}
	address := strings.TrimPrefix(s.TLSEndpoint(), "https://")
	for endpoint, want := range map[string]bool{"https://orders.example.com": true, "https://other.example.com": false} {
		c, err := Open(Config{Endpoint: endpoint, Address: address, Instance: s.Instances()[0].Name, Credentials: keyOf(s.Key()), CA: pool})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.ListTables(context.Background()); (err == nil) != want || err != nil && !errors.Is(err, ErrLine) {
			t.Errorf("%s: %v", endpoint, err)
		}
		c.Close()
	}
}

// TestStrangers: what answers is no Tablestore.
func TestStrangers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"page":    func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>hello")) },
		"nothing": func(w http.ResponseWriter, r *http.Request) {},
		"404":     func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"endless": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("x-ots-contentmd5", "x")
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
		"endless error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
		"other digest": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("x-ots-contentmd5", "1B2M2Y8AsgTpgAmY7PhCfg==")
			w.Write([]byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++; answer(w, r) }))
			defer s.Close()
			c, err := Open(Config{Endpoint: s.URL, Instance: "x", Credentials: func() (Credentials, error) { return Credentials{"id", "s3cret", ""}, nil }})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, do := range []func() error{
				func() error { _, err := c.ListTables(context.Background()); return err },
				func() error { _, err := c.GlobalTable(context.Background(), "x"); return err },
				func() error { _, err := c.Records(context.Background(), "x", 0); return err },
			} {
				asked = 0
				if err := do(); !errors.Is(err, ErrAnswer) || ClassOf(err) != ClassRetry || asked != 1 || len(err.Error()) > 400 {
					t.Errorf("%d requests, %v", asked, err)
				}
			}
		})
	}
}

func TestTables(t *testing.T) {
	_, c := start(t, tablestore.Options{})
	ctx := context.Background()
	all := []Table{
		ordersTable,
		{Name: "plain", Key: []KeySchema{{Name: "k", Type: "BINARY"}}, TTL: 86400, AllowUpdate: true},
		{Name: "auto", Key: []KeySchema{{Name: "k", Type: "INTEGER"}, {Name: "n", Type: "INTEGER", AutoIncrement: true}}, UpdateFullRow: true, AllowUpdate: true},
		{Name: "frozen", Key: []KeySchema{{Name: "k", Type: "STRING"}}, Deviation: 7},
	}
	for _, want := range all {
		if err := c.CreateTable(ctx, want); err != nil {
			t.Fatalf("%s: %v", want.Name, err)
		}
		if err := c.CreateTable(ctx, want); ClassOf(err) != ClassCondition {
			t.Errorf("%s again: %v", want.Name, err)
		}
		got, err := c.Describe(ctx, want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if want.TTL == 0 {
			want.TTL = -1
		}
		if want.Deviation == 0 {
			want.Deviation = 86400
		}
		want.MaxVersions = max(want.MaxVersions, 1)
		want.Stream, want.StreamSince = got.Stream, got.StreamSince
		if !reflect.DeepEqual(got, want) || (got.Stream != "") != (want.Retention > 0) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
	names, err := c.ListTables(ctx)
	if err != nil || !slices.Equal(names, []string{"auto", "frozen", "orders", "plain"}) {
		t.Error(names, err)
	}
	if _, err := c.Describe(ctx, "none"); ClassOf(err) != ClassAbsent {
		t.Error(err)
	}
	if err := c.CreateTable(ctx, Table{Name: "x", Key: []KeySchema{{Name: "k", Type: "DOUBLE"}}}); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
	// A change leaves alone what it does not name.
	deviation, ttl, no := int64(1<<31), 90000, false
	if err := c.UpdateTable(ctx, "plain", TableChange{Deviation: &deviation}); err != nil {
		t.Error(err)
	}
	if err := c.UpdateTable(ctx, "plain", TableChange{TTL: &ttl, AllowUpdate: &no}); err != nil {
		t.Error(err)
	}
	got, err := c.Describe(ctx, "plain")
	if err != nil || got.Deviation != deviation || got.TTL != ttl || got.AllowUpdate || got.MaxVersions != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	k := orders("cond", 1)
	row := func(token string) Row {
		return Row{k, []Cell{{Name: "token", Value: token}, {Name: "c", Value: "x", Version: 7}}}
	}
	upTo := func(token string, missing bool) Condition {
		return Condition{Column: "token", Is: LessEqual, Value: token, Missing: missing}
	}
	for i, step := range []struct {
		err  error
		want Class
	}{
		{w.c.PutIf(ctx, "orders", row("0005"), upTo("0005", false)), ClassCondition},
		{w.c.PutIf(ctx, "orders", row("0005"), Condition{Row: Exists}), ClassCondition},
		{w.c.PutIf(ctx, "orders", row("0005"), upTo("0005", true)), 0},
		{w.c.PutIf(ctx, "orders", row("0006"), Condition{Row: ExistsNot}), ClassCondition},
		{w.c.PutIf(ctx, "orders", row("0004"), upTo("0004", true)), ClassCondition},
		{w.c.PutIf(ctx, "orders", row("0005"), upTo("0005", true)), 0},
		{w.c.UpdateIf(ctx, "orders", Row{k, []Cell{{Name: "u", Value: int64(1)}}}, upTo("0004", true)), ClassCondition},
		{w.c.UpdateIf(ctx, "orders", Row{k, []Cell{{Name: "u", Value: int64(1)}, {Name: "c", Op: DeleteOne, Version: 7}, {Name: "no", Op: DeleteAll}, {Name: "v", Value: true, Version: 8}}}, upTo("0006", true)), 0},
		{w.c.DeleteIf(ctx, "orders", k, Condition{Row: Exists, Column: "u", Is: Greater, Value: int64(1)}), ClassCondition},
		{w.c.PutIf(ctx, "orders", row("1"), Condition{Column: "u"}), ClassOwn},
		{w.c.PutIf(ctx, "orders", row("1"), Condition{Column: "u", Is: Equal}), ClassRow},
		{w.c.PutIf(ctx, "none", row("1"), Condition{}), ClassAbsent},
	} {
		if got := ClassOf(step.err); got != step.want {
			t.Errorf("step %d: %v is %v, want %v", i, step.err, got, step.want)
		}
	}
	rows, err := w.c.Get(ctx, "orders", []Key{k, orders("none", 1)}, 9)
	if err != nil || rows[1].Key != nil {
		t.Fatal(rows, err)
	}
	for i := range rows[0].Cells {
		if c := &rows[0].Cells[i]; c.Name != "v" {
			if c.Version < time.Now().Add(-time.Hour).UnixMilli() {
				t.Errorf("%+v is not of the service's time", *c)
			}
			c.Version = 0
		}
	}
	if want := []Cell{{Name: "token", Value: "0005"}, {Name: "u", Value: int64(1)}, {Name: "v", Value: true, Version: 8}}; !reflect.DeepEqual(rows[0].Cells, want) {
		t.Errorf("%+v", rows[0].Cells)
	}
	if rows, err = w.c.Get(ctx, "orders", []Key{k}, 1, "u", "nothing"); err != nil || len(rows[0].Cells) != 1 || rows[0].Key.Compare(k) != 0 {
		t.Errorf("%+v, %v", rows, err)
	}
	if err := w.c.DeleteIf(ctx, "orders", k, Condition{Row: Exists}); err != nil {
		t.Error(err)
	}
}

// TestRanges: prefixes and nil as boundaries, pages, columns, splits.
func TestRanges(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	var all []Mutation
	for i := range 100 {
		all = append(all, Mutation{"orders", PutRow, orders(fmt.Sprintf("r%02d", i/10), int64(i%10)), []Cell{
			{Name: "c", Value: int64(i), Version: 1}, {Name: "c", Value: int64(-i), Version: 2}, {Name: "d", Value: strings.Repeat("x", 2000), Version: 2},
		}})
	}
	if err := write(w.c, all); err != nil {
		t.Fatal(err)
	}
	read := func(q RangeQuery) (rows []Row) {
		t.Helper()
		q.Table = "orders"
		for {
			p, err := w.c.Range(ctx, q)
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
	if n := len(read(RangeQuery{Limit: 7})); n != 101 {
		t.Errorf("%d rows", n)
	}
	if rows := read(RangeQuery{Start: Key{{"id", "r02"}}, End: Key{{"id", "r03"}}, MaxVersions: 2, Columns: []string{"c"}}); len(rows) != 10 || len(rows[0].Cells) != 2 || rows[0].Cells[0].Value != int64(-20) {
		t.Errorf("%d rows, %+v", len(rows), rows[0])
	}
	if rows := read(RangeQuery{Start: orders("r09", 9)}); len(rows) != 1 {
		t.Errorf("%d rows", len(rows))
	}
	if rows := read(RangeQuery{End: Key{{"id", "r00"}}}); len(rows) != 1 {
		t.Errorf("%d rows", len(rows))
	}
	points, err := w.c.Splits(ctx, "orders", 40_000, 0)
	if err != nil || len(points) < 3 || !slices.IsSortedFunc(points, Key.Compare) {
		t.Fatal(points, err)
	}
	n, from := 0, Key(nil)
	for _, to := range append(points, nil) {
		n += len(read(RangeQuery{Start: from, End: to}))
		from = to
	}
	if n != 101 {
		t.Errorf("%d rows in all parts", n)
	}
	if few, err := w.c.Splits(ctx, "orders", 40_000, 2); err != nil || len(few) > 2 {
		t.Error(few, err)
	}
	if none, err := w.c.Splits(ctx, "orders", 1<<40, 0); err != nil || len(none) != 0 {
		t.Error(none, err)
	}
	for want, err := range map[Class]error{
		ClassAbsent: func() error { _, err := w.c.Range(ctx, RangeQuery{Table: "none"}); return err }(),
		ClassOwn: func() error {
			_, err := w.c.Range(ctx, RangeQuery{Table: "orders", Start: append(orders("a", 1), orders("a", 1)...)})
			return err
		}(),
		ClassRow: func() error { _, err := w.c.Range(ctx, RangeQuery{Table: "orders", Start: Key{{"id", 1}}}); return err }(),
	} {
		if ClassOf(err) != want {
			t.Errorf("%v is %v, want %v", err, ClassOf(err), want)
		}
	}
	if _, err := w.c.Get(ctx, "orders", []Key{{{"other", "x"}}}, 1); ClassOf(err) != ClassRow {
		t.Error(err)
	}
	if _, err := w.c.Get(ctx, "none", []Key{orders("a", 1)}, 1); ClassOf(err) != ClassAbsent {
		t.Error(err)
	}
	if _, err := w.c.Write(ctx, make([]Mutation, MaxRows+1)); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
	if _, err := w.c.Get(ctx, "orders", make([]Key, MaxGets+1), 1); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
	if _, err := w.c.Get(ctx, "orders", []Key{orders("a", 1)}, 0); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
	if r, err := w.c.Write(ctx, nil); r != nil || err != nil {
		t.Error(r, err)
	}
	if r, write := w.c.Units(); r < 10 || write < 100 {
		t.Errorf("%d and %d units", r, write)
	}
}

// TestSchemaThatChanged: a table that is made anew with another key is read
// right at the second try.
func TestSchemaThatChanged(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if _, err := w.c.Range(ctx, RangeQuery{Table: "orders"}); err != nil {
		t.Fatal(err)
	}
	bare := sdk.NewClient(w.Endpoint(), w.c.Instance(), w.Key().ID, w.Key().Secret)
	if _, err := bare.DeleteTable(&sdk.DeleteTableRequest{TableName: "orders"}); err != nil {
		t.Fatal(err)
	}
	meta := &sdk.TableMeta{TableName: "orders"}
	meta.AddPrimaryKeyColumn("other", sdk.PrimaryKeyType_BINARY)
	if _, err := bare.CreateTable(&sdk.CreateTableRequest{TableMeta: meta, TableOption: sdk.NewTableOption(-1, 1), ReservedThroughput: &sdk.ReservedThroughput{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Range(ctx, RangeQuery{Table: "orders"}); ClassOf(err) != ClassRow {
		t.Error(err)
	}
	if _, err := w.c.Range(ctx, RangeQuery{Table: "orders"}); err != nil {
		t.Error(err)
	}
}

// TestImpossibleRows are refused here, each at its place, and the others go on.
func TestImpossibleRows(t *testing.T) {
	w := newWorld(t)
	k, good := orders("b", 1), []Cell{{Name: "c", Value: "x", Version: 1}}
	var zero float64
	bad := []Mutation{
		{"", PutRow, k, good},
		{"orders", PutRow, nil, good},
		{"orders", PutRow, Key{{"id", 1.5}}, good},
		{"orders", UpdateRow, k, nil},
		{"orders", DeleteRow, k, good},
		{"orders", 0, k, good},
		{"orders", PutRow, k, []Cell{{Value: "x"}}},
		{"orders", PutRow, k, []Cell{{Name: "c", Value: 1}}},
		{"orders", PutRow, k, []Cell{{Name: "c", Value: 1 / zero}}},
		{"orders", PutRow, k, []Cell{{Name: "c", Op: DeleteAll}}},
		{"orders", UpdateRow, k, []Cell{{Name: "c", Op: 9}}},
		{"orders", UpdateRow, k, []Cell{{Name: "c", Op: DeleteOne, Version: -1}}},
	}
	res, err := w.c.Write(context.Background(), append(slices.Clone(bad), Mutation{"orders", PutRow, k, good}))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range res[:len(bad)] {
		if ClassOf(r.Err) != ClassRow {
			t.Errorf("%+v: %v", bad[i], r.Err)
		}
	}
	if res[len(bad)].Err != nil || res[len(bad)].Write < 1 {
		t.Errorf("%+v", res[len(bad)])
	}
	if res, err = w.c.Write(context.Background(), bad[:1]); err != nil || res[0].Err == nil {
		t.Error(res, err)
	}
}

func TestGlobalTable(t *testing.T) {
	globals := tablestore.NewGlobals()
	var labs []*tablestore.Server
	var clients []*Client
	for _, region := range []string{"cn-a", "cn-b"} {
		s, c := start(t, tablestore.Options{Globals: globals, Region: region})
		labs, clients = append(labs, s), append(clients, c)
	}
	ctx := context.Background()
	if err := clients[0].CreateTable(ctx, Table{
		Name: "orders", Key: []KeySchema{{Name: "id", Type: "STRING"}}, Deviation: 1<<31 - 1, AllowUpdate: true, UpdateFullRow: true,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := clients[0].GlobalTable(ctx, "orders"); ClassOf(err) == 0 || ClassOf(err) == ClassRetry {
		t.Errorf("%v is %v", err, ClassOf(err))
	}
	bare := sdk.NewClient(labs[0].Endpoint(), clients[0].Instance(), labs[0].Key().ID, labs[0].Key().Secret)
	made, err := bare.CreateGlobalTable(&sdk.CreateGlobalTableRequest{
		BaseTable:  &sdk.BaseTable{RegionId: "cn-a", InstanceName: clients[0].Instance(), TableName: "orders"},
		Placements: []*sdk.Placement{{RegionId: "cn-b", InstanceName: clients[1].Instance()}}, SyncMode: sdk.SyncMode_Row, ServeMode: sdk.ServeMode_PrimarySecondary,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := labs[1].SetRPO(clients[1].Instance(), "orders", 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		g, err := c.GlobalTable(ctx, "orders")
		for err == nil && !g.Active { // the first rows are on their way
			g, err = c.GlobalTable(ctx, "orders")
		}
		if err != nil || g.ID != made.GlobalTableId || !g.Active || g.PeerMode || len(g.Replicas) != 2 {
			t.Fatalf("%+v, %v", g, err)
		}
		slices.SortFunc(g.Replicas, func(a, b Replica) int { return strings.Compare(a.Region, b.Region) })
		a, b := g.Replicas[0], g.Replicas[1]
		if a.Region != "cn-a" || !a.Writable || a.Role != "primary" || a.Table != "orders" || a.Instance != "lab" || a.Failed || a.Status != "PHY_ACTIVE" {
			t.Errorf("%+v", a)
		}
		if b.Writable || b.Role != "secondary" || b.Stage != "SYNC_INCR" || b.RPO != 1500*time.Millisecond || !b.Known {
			t.Errorf("%+v", b)
		}
	}
}

// TestClock: the offset of the server's clock is between the bounds, whichever
// way it is off.
func TestClock(t *testing.T) {
	s, c := start(t, tablestore.Options{})
	ctx := context.Background()
	for _, off := range []time.Duration{-2 * time.Minute, 0, 5 * time.Minute} {
		s.SetClockOffset(off)
		c.clock = clock{}
		for range 5 {
			if _, err := c.ListTables(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if low, high, known := c.Offset(); !known || low > off || high < off {
			t.Errorf("%v is not in %v to %v", off, low, high)
		}
	}
}

func TestClockBounds(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	var c clock
	answer := func(when time.Time, off, there, back int) {
		sent := when
		c.add(serverTime{sent.Add(ms(there + off)), time.Millisecond}, sent, sent.Add(ms(there+back)))
	}
	want := func(when time.Time, low, high int) {
		t.Helper()
		l, h, known := c.offset(when)
		if !known || l != ms(low) || h != ms(high) {
			t.Errorf("%v to %v, %v; want %d to %d ms", l, h, known, low, high)
		}
	}
	if _, _, known := c.offset(at); known {
		t.Error("known")
	}
	answer(at, 100, 20, 30) // of 100: 70 to 121
	want(at, 70, 121)
	answer(at, 100, 2, 50) // 50 to 103
	want(at, 70, 103)
	answer(at, 100, 500, 1) // 99 to 601
	want(at, 99, 103)
	// Another machine answers, whose clock is elsewhere: the hull.
	answer(at, 300, 2, 1) // 299 to 303
	want(at, 99, 303)
	answer(at, 100, 500, 500) // says nothing new
	want(at, 99, 303)
	// Ten seconds later there is another slot, and the hull of both.
	answer(at.Add(10*time.Second), 110, 1, 1)
	want(at.Add(10*time.Second), 99, 303)
	// After a minute the old one is over.
	want(at.Add(60*time.Second), 109, 112)
	// Without an answer for long, the last one stays.
	want(at.Add(time.Hour), 109, 112)
	// A clock of ours that was set back in between says nothing.
	c.add(serverTime{at, 0}, at.Add(time.Hour), at)
	want(at.Add(time.Hour), 109, 112)
	for text, want := range map[string]time.Duration{
		"2026-11-23T02:39:53.112320Z": time.Microsecond, "2026-11-23T02:39:53.112Z": time.Millisecond, "2026-11-23T02:39:53Z": time.Second,
	} {
		if s, ok := parseServerTime(http.Header{"X-Ots-Date": {text}}); !ok || s.within != want || s.from.Second() != 53 {
			t.Errorf("%s: %+v", text, s)
		}
	}
	if s, ok := parseServerTime(http.Header{"Date": {"Mon, 23 Nov 2026 02:39:53 GMT"}}); !ok || s.within != time.Second {
		t.Error(s)
	}
	if _, ok := parseServerTime(http.Header{"X-Ots-Date": {"x"}}); ok {
		t.Error("x is a time")
	}
}
