package ots

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore"
)

// world is a lab with a table, a stream of it and a row.
type world struct {
	*tablestore.Server
	c            *Client
	table        Table
	shard, begin string
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	s, c := start(t, tablestore.Options{}, change...)
	w := &world{Server: s, c: c}
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.CreateTable(ctx, ordersTable))
	var err error
	w.table, err = c.Describe(ctx, "orders")
	must(err)
	_, shards, err := c.Shards(ctx, w.table.Stream)
	must(err)
	w.shard = shards[0].ID
	w.begin, err = c.Iterator(ctx, w.table.Stream, w.shard, time.Time{})
	must(err)
	must(write(c, []Mutation{{"orders", PutRow, orders("a", 1), []Cell{{Name: "c", Value: "x", Version: 5}}}}))
	return w
}

// calls are all operations, each as one call that goes well.
func (w *world) calls() map[string]func(context.Context) error {
	row := Row{orders("a", 1), []Cell{{Name: "c", Value: "x", Version: 5}}}
	n := 3
	return map[string]func(context.Context) error{
		"ListTable":     func(ctx context.Context) error { _, err := w.c.ListTables(ctx); return err },
		"DescribeTable": func(ctx context.Context) error { _, err := w.c.Describe(ctx, "orders"); return err },
		"UpdateTable":   func(ctx context.Context) error { return w.c.UpdateTable(ctx, "orders", TableChange{MaxVersions: &n}) },
		"ListStream":    func(ctx context.Context) error { _, err := w.c.Streams(ctx, "orders"); return err },
		"DescribeStream": func(ctx context.Context) error {
			_, _, err := w.c.Shards(ctx, w.table.Stream)
			return err
		},
		"GetShardIterator": func(ctx context.Context) error {
			_, err := w.c.Iterator(ctx, w.table.Stream, w.shard, time.Time{})
			return err
		},
		"GetStreamRecord": func(ctx context.Context) error {
			p, err := w.c.Records(ctx, w.begin, 100)
			if err == nil && (len(p.Records) == 0 || p.Next == "") {
				err = errors.New("a page without records, or the end of an open shard")
			}
			return err
		},
		"GetRange": func(ctx context.Context) error {
			p, err := w.c.Range(ctx, RangeQuery{Table: "orders"})
			if err == nil && len(p.Rows) != 1 {
				err = fmt.Errorf("%d rows", len(p.Rows))
			}
			return err
		},
		"ComputeSplitPointsBySize": func(ctx context.Context) error { _, err := w.c.Splits(ctx, "orders", 1<<20, 10); return err },
		"BatchGetRow": func(ctx context.Context) error {
			rows, err := w.c.Get(ctx, "orders", []Key{orders("a", 1)}, 1)
			if err == nil && rows[0].Key == nil {
				err = errors.New("no row")
			}
			return err
		},
		"BatchWriteRow": func(ctx context.Context) error {
			res, err := w.c.Write(ctx, []Mutation{{"orders", PutRow, row.Key, row.Cells}})
			if err == nil {
				err = res[0].Err
			}
			return err
		},
		"PutRow":    func(ctx context.Context) error { return w.c.PutIf(ctx, "orders", row, Condition{}) },
		"UpdateRow": func(ctx context.Context) error { return w.c.UpdateIf(ctx, "orders", row, Condition{}) },
		"DeleteRow": func(ctx context.Context) error { return w.c.DeleteIf(ctx, "orders", orders("z", 1), Condition{}) },
	}
}

type counted struct {
	http.RoundTripper
	n *atomic.Int64
}

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.RoundTripper.RoundTrip(req)
}

// hurry gives calls little time, which what they were made with had not.
func (w *world) hurry(t *testing.T) {
	if _, err := w.c.schema(context.Background(), "orders"); err != nil {
		t.Fatal(err)
	}
	w.c.cfg.Timeout = 30 * time.Millisecond
}

// TestFaults: whatever happens to any call is an error that says that it may go
// well later, and then it does. Nothing is retried here.
func TestFaults(t *testing.T) {
	var sent atomic.Int64
	count := func(over http.RoundTripper) http.RoundTripper { return counted{over, &sent} }
	w := newWorld(t, func(c *Config) { c.Wrap = count })
	slow := newWorld(t, func(c *Config) { c.Wrap = count })
	slow.hurry(t)
	for _, kind := range tablestore.Kinds {
		for _, after := range []bool{false, true} {
			w := w
			f := tablestore.Fault{Kind: kind, After: after}
			switch kind {
			case tablestore.ErrorCode:
				f.Code = "OTSServerBusy"
			case tablestore.Partition:
				continue // below: of rows
			case tablestore.Late:
				w, f.Delay = slow, time.Minute
			case tablestore.SlowBody:
				w, f.Delay = slow, time.Minute
			case tablestore.Stalled:
				w = slow
			}
			for name, do := range w.calls() {
				t.Run(fmt.Sprintf("%s/%v/%s", kind, after, name), func(t *testing.T) {
					f.Operation = name
					if _, err := w.Fail(f, 1); err != nil {
						t.Fatal(err)
					}
					before := sent.Load()
					err := do(context.Background())
					// Nothing is what these say where there is nothing, and no one could
					// tell.
					nothing := kind == tablestore.Empty && (name == "ListTable" || name == "ListStream" || name == "ComputeSplitPointsBySize")
					if ClassOf(err) != ClassRetry && !(nothing && err == nil) {
						t.Errorf("%v is %v", err, ClassOf(err))
					}
					switch kind {
					case tablestore.Drop, tablestore.Reset, tablestore.Truncated, tablestore.Late, tablestore.Stalled, tablestore.SlowBody:
						if !errors.Is(err, ErrLine) && !(kind == tablestore.Truncated && err == nil) {
							t.Errorf("%v is none of the line", err)
						}
					}
					if strings.Contains(fmt.Sprint(err), w.Key().Secret) {
						t.Error("the secret is told")
					}
					// But for the end of a shard that has to be confirmed.
					if n := sent.Load() - before; n != 1 && !(n == 2 && name == "GetStreamRecord") {
						t.Errorf("%d requests", n)
					}
					w.Heal()
					if w == slow {
						return // a slow machine may need longer than 30 ms
					}
					if err := do(context.Background()); err != nil {
						t.Errorf("then: %v", err)
					}
				})
			}
		}
	}
}

// TestPartition: rows of one batch end differently, each at its place.
func TestPartition(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if err := w.SplitShard(w.c.Instance(), "orders", "m"); err != nil {
		t.Fatal(err)
	}
	of := "z"
	if _, err := w.Fail(tablestore.Fault{Kind: tablestore.Partition, Table: "orders", Of: &of}, -1); err != nil {
		t.Fatal(err)
	}
	cells := []Cell{{Name: "c", Value: "x", Version: 5}}
	res, err := w.c.Write(ctx, []Mutation{
		{"orders", PutRow, orders("z", 1), cells},
		{"orders", PutRow, orders("a", 2), cells},
		{"none", DeleteRow, orders("a", 2), nil},
		{"orders", PutRow, orders("z", 2), nil},
		{"orders", PutRow, Key{{"id", "x"}}, cells},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Class{ClassRetry, 0, ClassAbsent, ClassRetry, ClassRow} {
		if got := ClassOf(res[i].Err); got != want {
			t.Errorf("row %d: %v is %v, want %v", i, res[i].Err, got, want)
		}
	}
	if _, err := w.c.Get(ctx, "orders", []Key{orders("a", 1), orders("z", 1)}, 1); ClassOf(err) != ClassRetry {
		t.Error(err)
	}
	p, err := w.c.Range(ctx, RangeQuery{Table: "orders"})
	if err != nil || len(p.Rows) != 2 || p.Next.Compare(orders("z", 1)) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestCancel: a call ends with its context, wherever it is, and another goes
// well at once on the same client.
func TestCancel(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Timeout = time.Hour })
	for name, do := range w.calls() {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, after), func(t *testing.T) {
				if _, err := w.Fail(tablestore.Fault{Kind: tablestore.Stalled, Operation: name, After: after}, 1); err != nil {
					t.Fatal(err)
				}
				defer w.Heal()
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- do(ctx) }()
				for len(w.Faults()) > 0 { // until the call has it
					time.Sleep(time.Millisecond)
				}
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
				if err := do(context.Background()); err != nil {
					t.Errorf("then: %v", err)
				}
				if err := do(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("with an ended context: %v", err)
				}
			})
		}
	}
}

// TestCancelWaiting: a call that waits for a connection ends as well, and so
// does one whose server cannot be reached.
func TestCancelWaiting(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Conns, c.Timeout = 1, time.Hour })
	if _, err := w.Fail(tablestore.Fault{Kind: tablestore.Stalled}, 1); err != nil {
		t.Fatal(err)
	}
	first, endFirst := context.WithCancel(context.Background())
	var calls sync.WaitGroup
	calls.Go(func() { w.c.ListTables(first) })
	for len(w.Faults()) > 0 {
		time.Sleep(time.Millisecond)
	}
	second, endSecond := context.WithCancel(context.Background())
	calls.Go(func() {
		if _, err := w.c.ListTables(second); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	endSecond()
	endFirst()
	calls.Wait()
	if _, err := w.c.ListTables(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestTimeout is the class of one's own deadline and of the caller's.
func TestTimeout(t *testing.T) {
	w := newWorld(t)
	w.hurry(t)
	if _, err := w.Fail(tablestore.Fault{Kind: tablestore.Stalled}, -1); err != nil {
		t.Fatal(err)
	}
	_, err := w.c.ListTables(context.Background())
	if !errors.Is(err, ErrLine) || err.Error() != "no answer within 30ms" {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err = w.c.ListTables(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrLine) {
		t.Error(err)
	}
}

// TestKilled: a server that is gone is a fault of the line; then connections
// that are kept from before do no harm for longer than one call.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	if err := w.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err := w.c.ListTables(context.Background())
	if !errors.Is(err, ErrLine) || ClassOf(err) != ClassRetry {
		t.Error(err)
	}
	if err := w.Revive(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.ListTables(context.Background()); err != nil {
		t.Error(err)
	}
}

// dead is a transport as of a process that was killed: from then on nothing
// goes out.
type dead struct {
	http.RoundTripper
	after func() bool
}

var errDead = errors.New("killed")

func (d dead) RoundTrip(req *http.Request) (*http.Response, error) {
	if d.after() {
		req.Body.Close()
		return nil, errDead
	}
	return d.RoundTripper.RoundTrip(req)
}

func TestWrap(t *testing.T) {
	killed := false
	w := newWorld(t, func(c *Config) {
		c.Wrap = func(over http.RoundTripper) http.RoundTripper { return dead{over, func() bool { return killed }} }
	})
	killed = true
	for name, do := range w.calls() {
		if err := do(context.Background()); !errors.Is(err, errDead) || !errors.Is(err, ErrLine) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestResetInTheMiddle of an answer is a fault of the line, not a strange answer.
func TestResetInTheMiddle(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(buf, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nx-ots-contentmd5: x\r\n\r\nhalf")
		buf.Flush()
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}))
	defer s.Close()
	c, err := Open(Config{Endpoint: s.URL, Instance: "x", Credentials: func() (Credentials, error) { return Credentials{"id", "s3cret", ""}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 { // the reset may come before the half is read
		for _, do := range []func() error{
			func() error { _, err := c.ListTables(context.Background()); return err },
			func() error { _, err := c.Records(context.Background(), "x", 0); return err },
		} {
			if err := do(); !errors.Is(err, ErrLine) {
				t.Fatal(err)
			}
		}
	}
}
