package tablestore_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"pointsman/internal/lab/tablestore/plainbuffer"
)

// raw sends what no SDK sends. If the answer is an error, it is its status,
// code and message, and into is left alone.
func (w *world) raw(op string, m, into protoadapt.MessageV1) string {
	w.Helper()
	body, err := proto.Marshal(protoadapt.MessageV2Of(m))
	if err != nil {
		w.Fatal(err)
	}
	k := w.server.Keys()[0]
	sum := md5.Sum(body)
	headers := map[string]string{
		"x-ots-date": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "x-ots-apiversion": "2015-12-31", "x-ots-accesskeyid": k.ID,
		"x-ots-instancename": "lab", "x-ots-contentmd5": base64.StdEncoding.EncodeToString(sum[:]),
	}
	var names []string
	for n := range headers {
		names = append(names, n)
	}
	slices.Sort(names)
	text := "/" + op + "\nPOST\n\n"
	for _, n := range names {
		text += n + ":" + headers[n] + "\n"
	}
	mac := hmac.New(sha1.New, []byte(k.Secret))
	mac.Write([]byte(text))
	headers["x-ots-signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	req, err := http.NewRequest(http.MethodPost, w.server.Endpoint()+"/"+op, bytes.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for n, v := range headers {
		req.Header.Set(n, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		if into != nil {
			if err := proto.Unmarshal(out, protoadapt.MessageV2Of(into)); err != nil {
				w.Fatal(err)
			}
		}
		return "200"
	}
	var e otsprotocol.Error
	if err := proto.Unmarshal(out, protoadapt.MessageV2Of(&e)); err != nil {
		w.Fatal(err)
	}
	return fmt.Sprintf("%d %s: %s", resp.StatusCode, e.GetCode(), e.GetMessage())
}

const parameter = "400 OTSParameterInvalid: "

// tableOf is a CreateTable that succeeds.
func tableOf(name string, change func(*otsprotocol.CreateTableRequest)) *otsprotocol.CreateTableRequest {
	r := &otsprotocol.CreateTableRequest{
		TableMeta:          &otsprotocol.TableMeta{TableName: &name, PrimaryKey: []*otsprotocol.PrimaryKeySchema{keyOf1("p", otsprotocol.PrimaryKeyType_STRING)}},
		ReservedThroughput: &otsprotocol.ReservedThroughput{CapacityUnit: &otsprotocol.CapacityUnit{Read: proto.Int32(0), Write: proto.Int32(0)}},
		TableOptions:       &otsprotocol.TableOptions{TimeToLive: proto.Int32(-1), MaxVersions: proto.Int32(1)},
	}
	if change != nil {
		change(r)
	}
	return r
}

func keyOf1(name string, t otsprotocol.PrimaryKeyType) *otsprotocol.PrimaryKeySchema {
	return &otsprotocol.PrimaryKeySchema{Name: &name, Type: &t}
}

func TestTablesThatAreRefused(t *testing.T) {
	type req = otsprotocol.CreateTableRequest
	auto := func(name string, typ otsprotocol.PrimaryKeyType) *otsprotocol.PrimaryKeySchema {
		k := keyOf1(name, typ)
		k.Option = otsprotocol.PrimaryKeyOption_AUTO_INCREMENT.Enum()
		return k
	}
	keys := func(k ...*otsprotocol.PrimaryKeySchema) func(*req) {
		return func(r *req) { r.TableMeta.PrimaryKey = k }
	}
	s, i := otsprotocol.PrimaryKeyType_STRING, otsprotocol.PrimaryKeyType_INTEGER
	name := func(n string) func(*req) { return func(r *req) { r.TableMeta.TableName = &n } }
	defined := func(names ...string) func(*req) {
		return func(r *req) {
			for _, n := range names {
				r.TableMeta.DefinedColumn = append(r.TableMeta.DefinedColumn, &otsprotocol.DefinedColumnSchema{Name: proto.String(n), Type: otsprotocol.DefinedColumnType_DCT_STRING.Enum()})
			}
		}
	}
	many := make([]string, 33)
	for n := range many {
		many[n] = fmt.Sprint("d", n)
	}
	long := strings.Repeat("a", 256)
	for _, c := range []struct {
		change func(*req)
		want   string
	}{
		{name(""), parameter + "Invalid table name: ''."},
		{name("1a"), parameter + "Invalid table name: '1a'."},
		{name("a-b"), parameter + "Invalid table name: 'a-b'."},
		{name(long), parameter + "Invalid table name: '" + long + "'."},
		{name("there"), "409 OTSObjectAlreadyExist: Requested table already exists."},
		{keys(), parameter + "The number of primary key columns must be in range: [1, 4]."},
		{keys(keyOf1("a", s), keyOf1("b", s), keyOf1("c", s), keyOf1("d", s), keyOf1("e", s)), parameter + "The number of primary key columns must be in range: [1, 4]."},
		{keys(keyOf1("PK0", s), keyOf1("PK0", i)), parameter + "Duplicated primary key name: 'PK0'."},
		{keys(keyOf1("a", 9)), parameter + "9 is an invalid type for the primary key."},
		{keys(keyOf1("#a", s)), parameter + "Invalid column name: '#a'."},
		{keys(auto("a", i)), parameter + "First primary key can't be auto increment, table: new."},
		{keys(keyOf1("a", s), auto("b", s)), parameter + "AUTO_INCREMENT primary key must be integer."},
		{keys(keyOf1("a", s), auto("b", i), auto("c", i)), parameter + "AUTO_INCREMENT primary key count must <= 1."},
		{func(r *req) { r.TableOptions = nil }, parameter + "Time-to-live is missing while creating table."},
		{func(r *req) { r.TableOptions.TimeToLive = nil }, parameter + "Time-to-live is missing while creating table."},
		{func(r *req) { r.TableOptions.MaxVersions = nil }, parameter + "MaxVersions is missing while creating table."},
		{func(r *req) { r.TableOptions.TimeToLive = proto.Int32(0) }, parameter + "TimeToLive cannot be 0 or less than -1."},
		{func(r *req) { r.TableOptions.TimeToLive = proto.Int32(-2) }, parameter + "TimeToLive cannot be 0 or less than -1."},
		{func(r *req) { r.TableOptions.TimeToLive = proto.Int32(86399) }, parameter + "TimeToLive must be -1 or at least 86400."},
		{func(r *req) { r.TableOptions.MaxVersions = proto.Int32(0) }, parameter + "The maximum versions cannot be less than or equal to 0."},
		{func(r *req) { r.TableOptions.DeviationCellVersionInSec = proto.Int64(-1) }, parameter + "The maximum deviation must be in range [0, INT64_MAX/1000000]."},
		{func(r *req) { r.TableOptions.DeviationCellVersionInSec = proto.Int64(math.MaxInt64/1000000 + 1) }, parameter + "The maximum deviation must be in range [0, INT64_MAX/1000000]."},
		{func(r *req) { r.ReservedThroughput.CapacityUnit.Read = proto.Int32(-1) }, parameter + "Invalid Capacity Unit:-1. Capacity Unit must be nonnegative."},
		{defined(many...), parameter + "The number of defined columns must be in range: [0, 32]."},
		{defined("a", "a"), parameter + "Duplicated column name: 'a'."},
		{defined("p"), parameter + "Duplicated attribute column name with primary key column: 'p'."},
		{func(r *req) { r.Partitions = []*otsprotocol.PartitionRange{{Begin: []byte{}, End: []byte{}}} }, "400 OTSUnsupportOperation: This server does not support partitions of a new table."},
		{func(r *req) { r.SseSpec = &otsprotocol.SSESpecification{Enable: proto.Bool(true)} }, "400 OTSUnsupportOperation: This server does not support server-side encryption."},
		{func(r *req) {
			r.StreamSpec = &otsprotocol.StreamSpecification{EnableStream: proto.Bool(true), ExpirationTime: proto.Int32(169)}
		}, parameter + "The expiration time of stream must be in range: [1, 168]."},
	} {
		w := newWorld(t)
		w.create("there", "p:s")
		if got := w.raw("CreateTable", tableOf("new", c.change), nil); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if l, err := w.ListTable(); err != nil || !slices.Equal(l.TableNames, []string{"there"}) {
			t.Errorf("%s: tables %v, %v", c.want, l, err)
		}
	}
}

func TestTheSixtyFifthTableIsRefused(t *testing.T) {
	w := newWorld(t)
	for i := range 64 {
		w.create(fmt.Sprint("t", i), "p:s")
	}
	refused(t, w.tryCreate("more", "p:s"), "OTSQuotaExhausted", 403, "Number of tables exceeds the quota:64.")
	if _, err := w.DeleteTable(&sdk.DeleteTableRequest{TableName: "t7"}); err != nil {
		t.Fatal(err)
	}
	w.create("more", "p:s")
}

// cellOf is a cell on the wire.
func cellOf(name string, v any, change ...func(*plainbuffer.Cell)) plainbuffer.Cell {
	c := plainbuffer.Cell{Name: name}
	val := plainbuffer.Value{}
	switch v := v.(type) {
	case int:
		val = plainbuffer.Value{Kind: plainbuffer.Integer, Int: int64(v)}
	case float64:
		val = plainbuffer.Value{Kind: plainbuffer.Double, Double: v}
	case string:
		val = plainbuffer.Value{Kind: plainbuffer.String, Bytes: v}
	case []byte:
		val = plainbuffer.Value{Kind: plainbuffer.Blob, Bytes: string(v)}
	case plainbuffer.Kind:
		val = plainbuffer.Value{Kind: v}
	}
	if v != nil {
		c.Value = &val
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func op(o plainbuffer.Op) func(*plainbuffer.Cell) { return func(c *plainbuffer.Cell) { c.Op = o } }

func at(ms int64) func(*plainbuffer.Cell) {
	return func(c *plainbuffer.Cell) { c.Time, c.HasTime = ms, true }
}

func rowOf(columns ...plainbuffer.Cell) plainbuffer.Row {
	return plainbuffer.Row{Key: []plainbuffer.Cell{cellOf("p", "a"), cellOf("q", 1)}, Columns: columns}
}

func keyedBy(key ...plainbuffer.Cell) plainbuffer.Row {
	return plainbuffer.Row{Key: key, Columns: []plainbuffer.Cell{cellOf("c", 1)}}
}

// where says whether what is refused in a batch is the batch or the row.
type where bool

const (
	wholeBatch where = true
	oneRow     where = false
)

func TestChangesOfRowsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i")
	now := time.Now().UnixMilli()
	long := func(n int) string { return strings.Repeat("x", n) }
	many := make([]plainbuffer.Cell, 1025)
	for i := range many {
		many[i] = cellOf(fmt.Sprint("c", i), 1)
	}
	var wide []plainbuffer.Cell
	for i := range 3 {
		wide = append(wide, cellOf(fmt.Sprint("c", i), long(3<<19)))
	}
	put, update, del := otsprotocol.OperationType_PUT, otsprotocol.OperationType_UPDATE, otsprotocol.OperationType_DELETE
	marked := rowOf()
	marked.Delete = true
	full := rowOf(cellOf("c", 1))
	full.Delete = true
	for _, c := range []struct {
		op    otsprotocol.OperationType
		row   plainbuffer.Row
		where where
		want  string
	}{
		{put, keyedBy(), wholeBatch, parameter + "Cell data broken, PK is empty."},
		{put, keyedBy(cellOf("p", "a")), oneRow, "400 OTSInvalidPK: Validate PK size fail. Input: 1, Meta: 2."},
		{put, keyedBy(cellOf("p", "a"), cellOf("q", 1), cellOf("r", 1)), oneRow, "400 OTSInvalidPK: Validate PK size fail. Input: 3, Meta: 2."},
		{put, keyedBy(cellOf("p", "a"), cellOf("x", 1)), oneRow, "400 OTSInvalidPK: Validate PK name fail. Input: x, Meta: q."},
		{put, keyedBy(cellOf("q", 1), cellOf("p", "a")), oneRow, "400 OTSInvalidPK: Validate PK name fail. Input: q, Meta: p."},
		{put, keyedBy(cellOf("p", []byte("a")), cellOf("q", 1)), oneRow, "400 OTSInvalidPK: Validate PK type fail. Input: VT_BLOB, Meta: VT_STRING."},
		{update, keyedBy(cellOf("p", "a"), cellOf("q", "1")), oneRow, "400 OTSInvalidPK: Validate PK type fail. Input: VT_STRING, Meta: VT_INTEGER."},
		{put, keyedBy(cellOf("p", "a"), cellOf("q", plainbuffer.AutoIncrement)), oneRow, "400 OTSInvalidPK: Validate PK type fail. Input: VT_AUTO_INCREMENT, Meta: VT_INTEGER."},
		{put, keyedBy(cellOf("p", "a"), cellOf("q", plainbuffer.InfMin)), wholeBatch, parameter + "VT_INF_MIN is an invalid type for the primary key."},
		{update, keyedBy(cellOf("p", plainbuffer.InfMax), cellOf("q", 1)), wholeBatch, parameter + "VT_INF_MAX is an invalid type for the primary key."},
		{put, keyedBy(cellOf("p", 1.5), cellOf("q", 1)), wholeBatch, parameter + "VT_DOUBLE is an invalid type for the primary key."},
		{put, keyedBy(cellOf("p", plainbuffer.Null), cellOf("q", 1)), wholeBatch, parameter + "Cell data broken, PK value cannot be NULL, name: p."},
		{put, keyedBy(cellOf("p", nil), cellOf("q", 1)), wholeBatch, parameter + "No value is given for primary key name:p."},
		{put, keyedBy(cellOf("p", "a", op(plainbuffer.Increment)), cellOf("q", 1)), wholeBatch, parameter + "OpType cannot be given for primary key name:p."},
		{put, keyedBy(cellOf("p", "a", at(1)), cellOf("q", 1)), wholeBatch, parameter + "Timestamp cannot be given for primary key name:p."},
		{put, keyedBy(cellOf("p", long(1025)), cellOf("q", 1)), wholeBatch, parameter + "The length of primary key column: 'p' exceeds the MaxLength:1024 with CurrentLength:1025."},
		{put, keyedBy(cellOf("p", "\xff"), cellOf("q", 1)), wholeBatch, parameter + "Value of column 'p' must be UTF8 encoding."},

		{put, marked, wholeBatch, parameter + "Invalid request of put/update row: unexpected RowDeleteMarker in request."},
		{update, full, wholeBatch, parameter + "Invalid request of put/update row: unexpected RowDeleteMarker in request."},
		{del, rowOf(), wholeBatch, parameter + "Invalid request of delete row: missing RowDeleteMarker in request."},
		{del, full, wholeBatch, parameter + "Invalid delete row request: unexpected cells in request."},
		{update, rowOf(), oneRow, parameter + "Invalid update row request: missing cells in request."},

		{put, rowOf(cellOf("", 1)), wholeBatch, parameter + "Invalid column name: ''."},
		{put, rowOf(cellOf("#c", 1)), wholeBatch, parameter + "Invalid column name: '#c'."},
		{update, rowOf(cellOf(long(256), 1)), wholeBatch, parameter + "Invalid column name: '" + long(256) + "'."},
		{put, rowOf(cellOf("q", 1)), oneRow, parameter + "Duplicated attribute column name with primary key column: 'q'."},
		{put, rowOf(cellOf("c", nil)), wholeBatch, parameter + "Invalid request of put row: find cells without values."},
		{put, rowOf(cellOf("c", 1, op(plainbuffer.Increment))), wholeBatch, parameter + "OpType cannot be given for column name:c in PutRow."},
		{put, rowOf(cellOf("c", plainbuffer.Null)), wholeBatch, parameter + "VT_NULL is an invalid type for the attribute column."},
		{put, rowOf(cellOf("c", plainbuffer.InfMax)), wholeBatch, parameter + "VT_INF_MAX is an invalid type for the attribute column."},
		{put, rowOf(cellOf("c", math.NaN())), wholeBatch, parameter + "NaN can't be set to double value."},
		{put, rowOf(cellOf("c", math.Inf(-1))), wholeBatch, parameter + "Infinity can't be set to double value."},
		{put, rowOf(cellOf("c", "\xc3")), wholeBatch, parameter + "Value of column 'c' must be UTF8 encoding."},
		{put, rowOf(cellOf("C", long(2<<20+1))), wholeBatch, parameter + "The length of attribute column: 'C' exceeds the MaxLength:2097152 with CurrentLength:2097153."},
		{update, rowOf(cellOf("c", nil)), wholeBatch, parameter + "Invalid cell: c. Reason: missing value."},
		{update, rowOf(cellOf("c", 1, op(plainbuffer.DeleteAll))), wholeBatch, parameter + "Column value cannot be given when type is DELETE_ONE_VERSION,DELETE_ALL_VERSION."},
		{update, rowOf(cellOf("c", 1, op(plainbuffer.DeleteOne), at(now))), wholeBatch, parameter + "Column value cannot be given when type is DELETE_ONE_VERSION,DELETE_ALL_VERSION."},
		{update, rowOf(cellOf("c", nil, op(plainbuffer.DeleteOne))), wholeBatch, parameter + "Timestamp must be given when type is DELETE_ONE_VERSION."},
		{update, rowOf(cellOf("c", nil, op(plainbuffer.DeleteAll), at(now))), wholeBatch, parameter + "Timestamp cannot be given when type is DELETE_ALL_VERSION."},
		{update, rowOf(cellOf("c", nil, op(plainbuffer.Increment))), wholeBatch, parameter + "Invalid cell: c. Reason: missing value."},
		{update, rowOf(cellOf("c", "1", op(plainbuffer.Increment))), wholeBatch, parameter + "VT_STRING is an invalid type for the increment of column 'c', expect: VT_INTEGER."},
		{update, rowOf(cellOf("c", 1, op(plainbuffer.Increment), at(now))), wholeBatch, parameter + "Timestamp cannot be given when type is INCREMENT."},
		{put, rowOf(many...), wholeBatch, parameter + "The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025."},
		{put, rowOf(cellOf("c", 1, at(-1))), wholeBatch, parameter + "Timestamp must be in range [0, INT64_MAX/1000)."},
		{put, rowOf(cellOf("c", 1, at(math.MaxInt64/1000))), wholeBatch, parameter + "Timestamp must be in range [0, INT64_MAX/1000)."},
		{put, rowOf(cellOf("c", 1, at(now-86402_000))), oneRow, parameter + "Invalid timestamp. Cell:c."},
		{update, rowOf(cellOf("c", 1, at(now+86402_000))), oneRow, parameter + "Invalid timestamp. Cell:c."},
		{put, rowOf(wide...), wholeBatch, parameter + "The total data size of PutRow request exceeds the limit, limit size: 4194304, data size: 4718633."},
		{update, rowOf(wide...), wholeBatch, parameter + "The total data size of UpdateRow request exceeds the limit, limit size: 4194304, data size: 4718633."},
	} {
		encoded := plainbuffer.Append(nil, c.row)
		cond := &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()}
		var got string
		name := proto.String("t")
		switch c.op {
		case put:
			got = w.raw("PutRow", &otsprotocol.PutRowRequest{TableName: name, Row: encoded, Condition: cond}, nil)
		case update:
			got = w.raw("UpdateRow", &otsprotocol.UpdateRowRequest{TableName: name, RowChange: encoded, Condition: cond}, nil)
		case del:
			got = w.raw("DeleteRow", &otsprotocol.DeleteRowRequest{TableName: name, PrimaryKey: encoded, Condition: cond}, nil)
		}
		if got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if len(encoded) > 4<<20 {
			continue // a batch of it is too large before it is looked at
		}
		var batch otsprotocol.BatchWriteRowResponse
		got = w.raw("BatchWriteRow", &otsprotocol.BatchWriteRowRequest{Tables: []*otsprotocol.TableInBatchWriteRowRequest{{
			TableName: name, Rows: []*otsprotocol.RowInBatchWriteRowRequest{{Type: &c.op, RowChange: encoded, Condition: cond}},
		}}}, &batch)
		want := c.want
		if c.where == oneRow {
			want = "200"
			e := batch.Tables[0].Rows[0].GetError()
			if told := "400 " + e.GetCode() + ": " + e.GetMessage(); batch.Tables[0].Rows[0].GetIsOk() || told != c.want {
				t.Errorf("of a row of a batch: %s\nwant %s", told, c.want)
			}
		}
		if got != want {
			t.Errorf("of a batch: %s\nwant %s", got, want)
		}
	}
	if rows, _ := w.rangeOf("t", sdk.FORWARD, key("p", minKey, "q", minKey), key("p", maxKey, "q", maxKey), 0); len(rows) != 0 {
		t.Errorf("what was refused is stored: %s", rows)
	}
}

func TestBatchesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i")
	w.put("t", key("p", "a", "q", 1), "c", 1)
	cond := &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()}
	rows := func(n, size int) []*otsprotocol.RowInBatchWriteRowRequest {
		var out []*otsprotocol.RowInBatchWriteRowRequest
		for i := range n {
			out = append(out, &otsprotocol.RowInBatchWriteRowRequest{
				Type: otsprotocol.OperationType_PUT.Enum(), Condition: cond,
				RowChange: plainbuffer.Append(nil, plainbuffer.Row{Key: []plainbuffer.Cell{cellOf("p", "b"), cellOf("q", i)}, Columns: []plainbuffer.Cell{cellOf("c", strings.Repeat("x", size))}}),
			})
		}
		return out
	}
	odd := rows(1, 1)
	odd[0].Type = otsprotocol.OperationType(7).Enum()
	type tables = []*otsprotocol.TableInBatchWriteRowRequest
	for _, c := range []struct {
		in   tables
		want string
	}{
		{nil, parameter + "No row is specified in BatchWriteRow."},
		{tables{{TableName: proto.String("t")}}, parameter + "No operation is specified for table: 't'."},
		{tables{{TableName: proto.String("t"), Rows: rows(1, 1)}, {TableName: proto.String("t"), Rows: rows(1, 1)}}, parameter + "Duplicated table name: t."},
		{tables{{TableName: proto.String("t"), Rows: rows(201, 1)}}, parameter + "Rows count exceeds the upper limit: 200."},
		{tables{{TableName: proto.String("t"), Rows: rows(100, 1)}, {TableName: proto.String("u"), Rows: rows(101, 1)}}, parameter + "Rows count exceeds the upper limit: 200."},
		{tables{{TableName: proto.String("t"), Rows: rows(4, 1<<20)}}, parameter + "The total data size of BatchWriteRow request exceeds the limit, limit size: 4194304, data size: 4194584."},
		{tables{{TableName: proto.String("t"), Rows: odd}}, parameter + "The type of row in batch write operation is invalid."},
		{tables{{TableName: proto.String("a b"), Rows: rows(1, 1)}}, parameter + "Invalid table name: 'a b'."},
	} {
		if got := w.raw("BatchWriteRow", &otsprotocol.BatchWriteRowRequest{Tables: c.in}, nil); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	keys := func(n int) [][]byte {
		var out [][]byte
		for i := range n {
			out = append(out, key("p", "a", "q", i).Build(false))
		}
		return out
	}
	type read = otsprotocol.TableInBatchGetRowRequest
	one := proto.Int32(1)
	for _, c := range []struct {
		in   []*read
		want string
	}{
		{nil, parameter + "No row specified in the request of BatchGetRow."},
		{[]*read{{TableName: proto.String("t"), MaxVersions: one}}, "200"},
		{[]*read{{TableName: proto.String("t"), MaxVersions: one, PrimaryKey: append(keys(1), keys(1)...)}}, "200"}, // the same row twice
		{[]*read{{TableName: proto.String("t"), MaxVersions: one, PrimaryKey: keys(101)}}, parameter + "Rows count exceeds the upper limit: 100."},
		{[]*read{{TableName: proto.String("t"), MaxVersions: one, PrimaryKey: keys(1)}, {TableName: proto.String("t"), MaxVersions: one, PrimaryKey: keys(1)}}, parameter + "Duplicated table name: t."},
		{[]*read{{TableName: proto.String("t"), PrimaryKey: keys(1)}}, parameter + "No version condition is specified while querying row."},
		{[]*read{{TableName: proto.String("t"), MaxVersions: one, PrimaryKey: [][]byte{key("p", "a", "q", minKey).Build(false)}}}, parameter + "VT_INF_MIN is an invalid type for the primary key."},
		{[]*read{{TableName: proto.String("t"), MaxVersions: one, PrimaryKey: keys(1), Token: [][]byte{{1}}}}, parameter + "Token is not supported."},
	} {
		if got := w.raw("BatchGetRow", &otsprotocol.BatchGetRowRequest{Tables: c.in}, nil); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func filterOf(t otsprotocol.FilterType, m protoadapt.MessageV1) *otsprotocol.Filter {
	b, err := proto.Marshal(protoadapt.MessageV2Of(m))
	if err != nil {
		panic(err)
	}
	return &otsprotocol.Filter{Type: &t, Filter: b}
}

func bytesOf(m protoadapt.MessageV1) []byte {
	b, err := proto.Marshal(protoadapt.MessageV2Of(m))
	if err != nil {
		panic(err)
	}
	return b
}

func TestReadsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i")
	type get = otsprotocol.GetRowRequest
	names := make([]string, 129)
	for i := range names {
		names[i] = fmt.Sprint("c", i)
	}
	single := func(name string, v plainbuffer.Value) *otsprotocol.Filter {
		return filterOf(otsprotocol.FilterType_FT_SINGLE_COLUMN_VALUE, &otsprotocol.SingleColumnValueFilter{
			Comparator: otsprotocol.ComparatorType_CT_EQUAL.Enum(), ColumnName: &name, ColumnValue: plainbuffer.AppendValue(nil, v),
			FilterIfMissing: proto.Bool(false), LatestVersionOnly: proto.Bool(true),
		})
	}
	five := plainbuffer.Value{Kind: plainbuffer.Integer, Int: 5}
	composite := func(op otsprotocol.LogicalOperator, subs ...*otsprotocol.Filter) *otsprotocol.Filter {
		return filterOf(otsprotocol.FilterType_FT_COMPOSITE_COLUMN_VALUE, &otsprotocol.CompositeColumnValueFilter{Combinator: &op, SubFilters: subs})
	}
	not, and := otsprotocol.LogicalOperator_LO_NOT, otsprotocol.LogicalOperator_LO_AND
	deep := single("c", five)
	for range 32 {
		deep = composite(not, deep)
	}
	var broad []*otsprotocol.Filter
	for range 32 {
		broad = append(broad, single("c", five))
	}
	pages := func(offset, limit int32) *otsprotocol.Filter {
		return filterOf(otsprotocol.FilterType_FT_COLUMN_PAGINATION, &otsprotocol.ColumnPaginationFilter{Offset: &offset, Limit: &limit})
	}
	filter := func(f *otsprotocol.Filter) func(*get) { return func(r *get) { r.Filter = bytesOf(f) } }
	times := func(start, end, specific int64, versions int32) func(*get) {
		return func(r *get) {
			r.TimeRange = &otsprotocol.TimeRange{}
			for _, f := range []struct {
				to **int64
				n  int64
			}{{&r.TimeRange.StartTime, start}, {&r.TimeRange.EndTime, end}, {&r.TimeRange.SpecificTime, specific}} {
				if f.n != none {
					*f.to = proto.Int64(f.n)
				}
			}
			if r.MaxVersions = nil; versions != 0 {
				r.MaxVersions = &versions
			}
		}
	}
	rule := &otsprotocol.SingleColumnValueFilter{
		Comparator: otsprotocol.ComparatorType_CT_EQUAL.Enum(), ColumnName: proto.String("c"), ColumnValue: plainbuffer.AppendValue(nil, five),
		FilterIfMissing: proto.Bool(false), LatestVersionOnly: proto.Bool(true), ValueTransRule: &otsprotocol.ValueTransferRule{Regex: proto.String("(")},
	}
	for _, c := range []struct {
		change func(*get)
		want   string
	}{
		{nil, "200"},
		{func(r *get) { r.TableName = proto.String("none") }, "404 OTSObjectNotExist: Requested table does not exist."},
		{func(r *get) { r.TableName = proto.String("no table") }, parameter + "Invalid table name: 'no table'."},
		{func(r *get) { r.PrimaryKey = key("p", "a").Build(false) }, "400 OTSInvalidPK: Validate PK size fail. Input: 1, Meta: 2."},
		{func(r *get) { r.PrimaryKey = key("p", "a", "q", "1").Build(false) }, "400 OTSInvalidPK: Validate PK type fail. Input: VT_STRING, Meta: VT_INTEGER."},
		{func(r *get) { r.PrimaryKey = key("p", "a", "q", minKey).Build(false) }, parameter + "VT_INF_MIN is an invalid type for the primary key."},
		{func(r *get) { r.PrimaryKey = key("p", "a", "q", auto).Build(false) }, parameter + "PKAutoIncr can't be used for read operations."},
		{func(r *get) { r.PrimaryKey = key("p", "a", "q", 1).Build(true) }, parameter + "Delete marker cannot be given."},
		{func(r *get) { r.PrimaryKey = plainbuffer.Append(nil, rowOf(cellOf("c", 1))) }, parameter + "Attribute column cannot be given while reading data."},
		{func(r *get) { r.PrimaryKey = []byte{1, 2} }, parameter + "data format is invalid."},
		{func(r *get) { r.PrimaryKey[len(r.PrimaryKey)-1] ^= 1 }, parameter + "Cell data broken, checksum is mismatch, 103 :102 :"},
		{func(r *get) { r.ColumnsToGet = names }, parameter + "The number of columns from the request exceeds the limit, limit count: 128, column count: 129."},
		{func(r *get) { r.ColumnsToGet = []string{"#"} }, parameter + "Invalid column name: '#'."},
		{func(r *get) { r.MaxVersions = nil }, parameter + "No version condition is specified."},
		{func(r *get) { r.MaxVersions = proto.Int32(0) }, parameter + "Invalid max versions: 0. Reason: Max versions must be positive."},
		{times(none, none, none, 0), parameter + "No version condition is specified."},
		{times(1, none, none, 0), parameter + "Start and end time must be given at the same time."},
		{times(none, 1, none, 1), parameter + "Start and end time must be given at the same time."},
		{times(-1, 1, none, 0), parameter + "Timestamp must be in range [0, INT64_MAX/1000)."},
		{times(none, none, -1, 0), parameter + "Specific timestamp cannot be less than 0."},
		{times(none, none, 1, 1), parameter + "Specific tiemstamp and max versions cannot be given at the same time."},
		{times(1, 2, 1, 0), parameter + "Specific tiemstamp and time range cannot be given at the same time."},
		{times(1, 2, 1, 1), parameter + "Specific timestamp, time range and max versions cannot be given at the same time."},
		{times(0, math.MaxInt64, none, 1), "200"},
		{func(r *get) { r.Token = []byte{1} }, parameter + "Token is not supported."},
		{func(r *get) { r.TransactionId = proto.String("x") }, parameter + "TransactionID is invalid."},
		{func(r *get) { r.Filter = []byte{0xFF} }, parameter + "Deserialize filter failed."},
		{filter(&otsprotocol.Filter{Type: otsprotocol.FilterType(9).Enum(), Filter: []byte{}}), parameter + "Invalid type of filter: 9."},
		{filter(&otsprotocol.Filter{Type: otsprotocol.FilterType_FT_SINGLE_COLUMN_VALUE.Enum(), Filter: []byte{0xFF}}), parameter + "Deserialize relation filter failed."},
		{filter(&otsprotocol.Filter{Type: otsprotocol.FilterType_FT_COMPOSITE_COLUMN_VALUE.Enum(), Filter: []byte{0xFF}}), parameter + "Deserialize composite filter failed."},
		{filter(&otsprotocol.Filter{Type: otsprotocol.FilterType_FT_COLUMN_PAGINATION.Enum(), Filter: []byte{0xFF}}), parameter + "Deserialize column pagination filter failed."},
		{filter(single("#", five)), parameter + "Invalid column name: '#'."},
		{filter(single("c", plainbuffer.Value{Kind: plainbuffer.InfMin})), parameter + "VT_INF_MIN is an invalid type for the attribute column."},
		{filter(single("Column", plainbuffer.Value{Kind: plainbuffer.String, Bytes: strings.Repeat("x", 2<<20+1)})), parameter + "The length of attribute column: 'Column' exceeds the MaxLength:2097152 with CurrentLength:2097153."},
		{filter(filterOf(otsprotocol.FilterType_FT_SINGLE_COLUMN_VALUE, rule)), parameter + "Invalid regex of value transfer rule: (."},
		{filter(composite(not, single("c", five), single("c", five))), parameter + "Invalid NOT operator: the number of sub-filters must be 1."},
		{filter(composite(and, single("c", five))), parameter + "Invalid AND/OR operator: the number of sub-filters must be 2."},
		{filter(composite(9, single("c", five))), parameter + "Invalid relation operator: 9."},
		{filter(composite(not, pages(0, 1))), parameter + "Invalid type of sub-filter: FT_COLUMN_PAGINATION."},
		{filter(deep), parameter + "The count of filter exceeds the max: 32."},
		{filter(composite(and, broad...)), parameter + "The count of filter exceeds the max: 32."},
		{filter(composite(and, broad[:31]...)), "200"},
		{filter(pages(-1, 1)), parameter + "Offset in ColumnPaginationFilter must be greater than or equal to 0."},
		{filter(pages(0, 0)), parameter + "Limit in ColumnPaginationFilter must be greater than 0."},
	} {
		r := &get{TableName: proto.String("t"), PrimaryKey: key("p", "a", "q", 1).Build(false), MaxVersions: proto.Int32(1)}
		if c.change != nil {
			c.change(r)
		}
		if got := w.raw("GetRow", r, nil); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}

	type scan = otsprotocol.GetRangeRequest
	for _, c := range []struct {
		change func(*scan)
		want   string
	}{
		{nil, "200"},
		{func(r *scan) { r.Limit = proto.Int32(0) }, parameter + "The limit must be greater than 0."},
		{func(r *scan) { r.Limit = proto.Int32(-1) }, parameter + "The limit must be greater than 0."},
		{func(r *scan) { r.Direction = otsprotocol.Direction(7).Enum() }, parameter + "Invalid direction: 7."},
		{func(r *scan) { r.Direction = otsprotocol.Direction_BACKWARD.Enum() }, parameter + "Begin key must more than end key in BACKWARD"},
		{func(r *scan) { r.ExclusiveEndPrimaryKey = r.InclusiveStartPrimaryKey }, parameter + "Begin key must less than end key in FORWARD"},
		{func(r *scan) { r.InclusiveStartPrimaryKey = key("p", "a").Build(false) }, "400 OTSInvalidPK: Validate PK size fail. Input: 1, Meta: 2."},
		{func(r *scan) { r.ExclusiveEndPrimaryKey = key("p", "a", "q", "z").Build(false) }, "400 OTSInvalidPK: Validate PK type fail. Input: VT_STRING, Meta: VT_INTEGER."},
		{func(r *scan) { r.ExclusiveEndPrimaryKey = key("p", "a", "x", maxKey).Build(false) }, "400 OTSInvalidPK: Validate PK name fail. Input: x, Meta: q."},
		{func(r *scan) { r.ExclusiveEndPrimaryKey = key("p", "a", "q", auto).Build(false) }, parameter + "PKAutoIncr can't be used for read operations."},
		{func(r *scan) { r.MaxVersions = nil }, parameter + "No version condition is specified."},
		{func(r *scan) { r.Token = []byte{1} }, parameter + "Token is not supported."},
	} {
		r := &scan{
			TableName: proto.String("t"), Direction: otsprotocol.Direction_FORWARD.Enum(), MaxVersions: proto.Int32(1),
			InclusiveStartPrimaryKey: key("p", minKey, "q", minKey).Build(false), ExclusiveEndPrimaryKey: key("p", maxKey, "q", maxKey).Build(false),
		}
		if c.change != nil {
			c.change(r)
		}
		if got := w.raw("GetRange", r, nil); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// none is a time that is not given.
const none = math.MinInt64
