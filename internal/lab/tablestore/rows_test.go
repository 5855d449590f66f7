package tablestore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

// world is a server and a client that does not try again.
type world struct {
	testing.TB
	server *tablestore.Server
	*sdk.TableStoreClient
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s := start(t, tablestore.Options{})
	return &world{t, s, once(s)}
}

// once is a client whose first failure is final.
func once(s *tablestore.Server) *sdk.TableStoreClient {
	k := s.Keys()[0]
	conf := sdk.NewDefaultTableStoreConfig()
	conf.RetryTimes = 0
	return sdk.NewClientWithConfig(s.Endpoint(), "lab", k.ID, k.Secret, "", conf)
}

// newServer keeps its data in a folder; whoever asks for it closes it.
func newServer(dir string) (*tablestore.Server, error) {
	return tablestore.New(tablestore.Options{DataDir: dir})
}

type tableOption func(*sdk.CreateTableRequest)

func versions(n int) tableOption {
	return func(r *sdk.CreateTableRequest) { r.TableOption.MaxVersion = n }
}

// create makes a table; keys are name:type, type one of s, i, b, a (an integer
// that the service chooses).
func (w *world) create(name, keys string, options ...tableOption) {
	w.Helper()
	if err := w.tryCreate(name, keys, options...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) tryCreate(name, keys string, options ...tableOption) error {
	m := &sdk.TableMeta{TableName: name}
	for _, k := range strings.Fields(keys) {
		name, kind, _ := strings.Cut(k, ":")
		switch kind {
		case "s":
			m.AddPrimaryKeyColumn(name, sdk.PrimaryKeyType_STRING)
		case "i":
			m.AddPrimaryKeyColumn(name, sdk.PrimaryKeyType_INTEGER)
		case "b":
			m.AddPrimaryKeyColumn(name, sdk.PrimaryKeyType_BINARY)
		case "a":
			m.AddPrimaryKeyColumnOption(name, sdk.PrimaryKeyType_INTEGER, sdk.AUTO_INCREMENT)
		default:
			m.AddPrimaryKeyColumn(name, sdk.PrimaryKeyType(9))
		}
	}
	req := &sdk.CreateTableRequest{TableMeta: m, TableOption: &sdk.TableOption{TimeToAlive: -1, MaxVersion: 1}, ReservedThroughput: &sdk.ReservedThroughput{}}
	for _, o := range options {
		o(req)
	}
	_, err := w.CreateTable(req)
	return err
}

// minKey, maxKey and auto are values of keys that stand for something.
type special int

const (
	minKey special = iota
	maxKey
	auto
)

// key makes a primary key of names and values in turn.
func key(args ...any) *sdk.PrimaryKey {
	k := &sdk.PrimaryKey{}
	for i := 0; i < len(args); i += 2 {
		name := args[i].(string)
		switch v := args[i+1].(type) {
		case special:
			switch v {
			case minKey:
				k.AddPrimaryKeyColumnWithMinValue(name)
			case maxKey:
				k.AddPrimaryKeyColumnWithMaxValue(name)
			default:
				k.AddPrimaryKeyColumnWithAutoIncrement(name)
			}
		case int:
			k.AddPrimaryKeyColumn(name, int64(v))
		default:
			k.AddPrimaryKeyColumn(name, v)
		}
	}
	return k
}

func putOf(table string, k *sdk.PrimaryKey, args ...any) *sdk.PutRowChange {
	p := &sdk.PutRowChange{TableName: table, PrimaryKey: k}
	p.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	for i := 0; i+1 < len(args); i += 2 {
		p.AddColumn(args[i].(string), value(args[i+1]))
	}
	return p
}

func value(v any) any {
	if n, ok := v.(int); ok {
		return int64(n)
	}
	return v
}

func (w *world) put(table string, k *sdk.PrimaryKey, args ...any) {
	w.Helper()
	if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: putOf(table, k, args...)}); err != nil {
		w.Fatal(err)
	}
}

func updateOf(table string, k *sdk.PrimaryKey) *sdk.UpdateRowChange {
	u := &sdk.UpdateRowChange{TableName: table, PrimaryKey: k}
	u.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	return u
}

func (w *world) update(u *sdk.UpdateRowChange) *sdk.UpdateRowResponse {
	w.Helper()
	r, err := w.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func deleteOf(table string, k *sdk.PrimaryKey) *sdk.DeleteRowChange {
	d := &sdk.DeleteRowChange{TableName: table, PrimaryKey: k}
	d.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	return d
}

type readOption func(*sdk.SingleRowQueryCriteria)

func (w *world) tryGet(table string, k *sdk.PrimaryKey, options ...readOption) (*sdk.GetRowResponse, error) {
	c := &sdk.SingleRowQueryCriteria{TableName: table, PrimaryKey: k, MaxVersion: 1}
	for _, o := range options {
		o(c)
	}
	return w.GetRow(&sdk.GetRowRequest{SingleRowQueryCriteria: c})
}

// get reads a row and writes it as text: the key, a bar, and name=value or
// name=value@version of each column.
func (w *world) get(table string, k *sdk.PrimaryKey, options ...readOption) string {
	w.Helper()
	r, err := w.tryGet(table, k, options...)
	if err != nil {
		w.Fatal(err)
	}
	return text(r.PrimaryKey.PrimaryKeys, r.Columns)
}

func text(k []*sdk.PrimaryKeyColumn, cols []*sdk.AttributeColumn) string {
	if len(k) == 0 && len(cols) == 0 {
		return ""
	}
	var b strings.Builder
	for _, c := range k {
		fmt.Fprintf(&b, "%s=%v ", c.ColumnName, c.Value)
	}
	b.WriteString("|")
	for _, c := range cols {
		fmt.Fprintf(&b, " %s=%v", c.ColumnName, c.Value)
		if c.Timestamp != 0 && c.Timestamp < 1<<40 {
			fmt.Fprintf(&b, "@%d", c.Timestamp)
		}
	}
	return b.String()
}

// refused asks for an error of the service: its code, status and message.
func refused(t testing.TB, err error, code string, status int, message string) {
	t.Helper()
	var e *sdk.OtsError
	if !errors.As(err, &e) {
		t.Errorf("error %v, want %s: %s", err, code, message)
		return
	}
	if e.Code != code || e.HttpStatusCode != status || e.Message != message {
		t.Errorf("error %d %s: %s\nwant  %d %s: %s", e.HttpStatusCode, e.Code, e.Message, status, code, message)
	}
}

func same(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestARowIsPutReadUpdatedAndDeleted(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i r:b")
	k := key("p", "a", "q", -7, "r", []byte{0, 1})
	same(t, w.get("t", k), "")
	w.put("t", k, "n", 1, "d", 2.5, "b", true, "s", "text", "x", []byte("blob"))
	same(t, w.get("t", k), "p=a q=-7 r=[0 1] | b=true d=2.5 n=1 s=text x=[98 108 111 98]")
	u := updateOf("t", k)
	u.PutColumn("n", int64(2))
	u.DeleteColumn("s")
	u.PutColumn("z", "new")
	w.update(u)
	same(t, w.get("t", k), "p=a q=-7 r=[0 1] | b=true d=2.5 n=2 x=[98 108 111 98] z=new")
	w.put("t", k, "only", 1)
	same(t, w.get("t", k), "p=a q=-7 r=[0 1] | only=1")
	if _, err := w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: deleteOf("t", k)}); err != nil {
		t.Fatal(err)
	}
	same(t, w.get("t", k), "")
}

// rangeOf reads a whole range page by page and says how the pages ended.
func (w *world) rangeOf(table string, d sdk.Direction, from, to *sdk.PrimaryKey, limit int32) (out []string, pages int) {
	w.Helper()
	for {
		r, err := w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: table, StartPrimaryKey: from, EndPrimaryKey: to, Direction: d, MaxVersion: 1, Limit: limit,
		}})
		if err != nil {
			w.Fatal(err)
		}
		if pages++; pages > 1000 {
			w.Fatal("the range has no end")
		}
		for _, row := range r.Rows {
			out = append(out, text(row.PrimaryKey.PrimaryKeys, row.Columns))
		}
		if r.NextStartPrimaryKey == nil {
			return out, pages
		}
		from = r.NextStartPrimaryKey
	}
}

func TestARangeIsReadBothWaysAndInPages(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:i q:s")
	b := &sdk.BatchWriteRowRequest{}
	for _, p := range []int{-1 << 62, -1, 0, 1, 1 << 62} {
		for _, q := range []string{"", "\x00", "\x00\x00", "\x00\x01", "a", "a\x00", "ab"} {
			b.AddRowChange(putOf("t", key("p", p, "q", q), "v", 1))
		}
	}
	r, err := w.BatchWriteRow(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.TableToRowsResult["t"] {
		if !row.IsSucceed {
			t.Fatal(row.Error)
		}
	}
	low, high := key("p", minKey, "q", minKey), key("p", maxKey, "q", maxKey)
	forward, pages := w.rangeOf("t", sdk.FORWARD, low, high, 4)
	if len(forward) != 35 || pages != 9 {
		t.Fatalf("%d rows, %d pages", len(forward), pages)
	}
	backward, _ := w.rangeOf("t", sdk.BACKWARD, high, low, 0)
	if len(backward) != 35 {
		t.Fatalf("%d rows", len(backward))
	}
	for i := range forward {
		same(t, backward[34-i], forward[i])
	}
	// Inclusive at the start, exclusive at the end, whichever way.
	mid, _ := w.rangeOf("t", sdk.FORWARD, key("p", 0, "q", ""), key("p", 0, "q", "a"), 0)
	same(t, fmt.Sprintf("%q", mid), `["p=0 q= | v=1" "p=0 q=\x00 | v=1" "p=0 q=\x00\x00 | v=1" "p=0 q=\x00\x01 | v=1"]`)
	mid, _ = w.rangeOf("t", sdk.BACKWARD, key("p", 0, "q", "ab"), key("p", 0, "q", "\x00\x01"), 0)
	same(t, fmt.Sprintf("%q", mid), `["p=0 q=ab | v=1" "p=0 q=a\x00 | v=1" "p=0 q=a | v=1"]`)
	// All of one partition key, and all after it.
	mid, _ = w.rangeOf("t", sdk.FORWARD, key("p", 1, "q", minKey), key("p", 1, "q", maxKey), 0)
	same(t, fmt.Sprint(len(mid)), "7")
	mid, _ = w.rangeOf("t", sdk.FORWARD, key("p", 0, "q", maxKey), high, 0)
	same(t, fmt.Sprint(len(mid)), "14")
	mid, _ = w.rangeOf("t", sdk.BACKWARD, key("p", 0, "q", minKey), low, 0)
	same(t, fmt.Sprint(len(mid)), "14")
}

func TestRowsAreReadInBatches(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	w.create("u", "p:s")
	w.put("t", key("p", "a"), "v", 1)
	w.put("u", key("p", "b"), "v", 2)
	req := &sdk.BatchGetRowRequest{}
	for _, n := range []string{"t", "u", "none"} {
		req.MultiRowQueryCriteria = append(req.MultiRowQueryCriteria, &sdk.MultiRowQueryCriteria{
			TableName: n, PrimaryKey: []*sdk.PrimaryKey{key("p", "a"), key("p", "b")}, MaxVersion: 1,
		})
	}
	r, err := w.BatchGetRow(req)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range []string{"t", "u", "none"} {
		for _, row := range r.TableToRowsResult[n] {
			got = append(got, fmt.Sprint(n, row.IsSucceed, row.Error.Code, " ", text(row.PrimaryKey.PrimaryKeys, row.Columns)))
		}
	}
	same(t, strings.Join(got, "\n"), "ttrue p=a | v=1\nttrue \nutrue \nutrue p=b | v=2\nnonefalseOTSObjectNotExist \nnonefalseOTSObjectNotExist ")
}
