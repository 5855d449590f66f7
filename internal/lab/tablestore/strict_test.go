package tablestore_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

// strict checks each answer as the strictest of the vendor's clients do: the
// one for Python (tablestore/protocol.py, _check_headers and
// _check_authorization) and the one for Java, which checks errors too. The
// client for Go, which the models use, checks nothing.
type strict struct {
	http.RoundTripper
	secret string
	seen   map[string]bool // ids of requests; used from one goroutine
}

func (s *strict) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err == nil {
		err = s.check(r, answer, body)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, status %d: %w", r.URL.Path, answer.StatusCode, err)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

func (s *strict) check(r *http.Request, answer *http.Response, body []byte) error {
	for _, name := range []string{"x-ots-contentmd5", "x-ots-requestid", "x-ots-date", "x-ots-contenttype"} {
		if answer.Header.Get(name) == "" {
			return fmt.Errorf("the header %s is missing", name)
		}
	}
	sum := md5.Sum(body)
	if got := answer.Header.Get("x-ots-contentmd5"); got != base64.StdEncoding.EncodeToString(sum[:]) {
		return fmt.Errorf("x-ots-contentmd5 is %s", got)
	}
	date, err := time.Parse("2006-01-02T15:04:05.000000Z", answer.Header.Get("x-ots-date"))
	if err != nil {
		return err
	}
	if d := time.Since(date).Abs(); d > 15*time.Minute {
		return fmt.Errorf("x-ots-date is off by %v", d)
	}
	id := answer.Header.Get("x-ots-requestid")
	if s.seen[id] {
		return fmt.Errorf("x-ots-requestid %s comes twice", id)
	}
	s.seen[id] = true
	if answer.StatusCode == http.StatusForbidden {
		return nil // as the client for Python: there may be no key to sign with
	}
	var lines []string
	for name := range answer.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ots-") {
			lines = append(lines, lower+":"+strings.TrimSpace(answer.Header.Get(name))+"\n")
		}
	}
	slices.Sort(lines)
	mac := hmac.New(sha1.New, []byte(s.secret))
	mac.Write([]byte(strings.Join(lines, "") + r.URL.Path))
	want := "OTS " + r.Header.Get("x-ots-accesskeyid") + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if got := answer.Header.Get("Authorization"); got != want {
		return fmt.Errorf("the signature is %q, want %q", got, want)
	}
	return nil
}

// TestAnswersAreSigned: the answer to each operation that the SDK has, whatever
// comes of it, holds before the strictest client.
func TestAnswersAreSigned(t *testing.T) {
	s := start(t, tablestore.Options{})
	c := dialOnce(t, s)
	name := "signed"
	meta := &sdk.TableMeta{TableName: name}
	meta.AddPrimaryKeyColumn("pk0", sdk.PrimaryKeyType_STRING)
	schema := []modelColumn{{"pk0", sdk.PrimaryKeyType_STRING}}
	table := &oracleTable{name: name, schema: schema}
	none := &oracleTable{name: "none", schema: schema}
	stream, shard, iterator, txn := sdk.StreamId("none"), sdk.ShardId("none"), sdk.ShardIterator("none"), "none"
	put := func(m *oracleTable) error {
		_, err := c.PutRow(&sdk.PutRowRequest{PutRowChange: modelWrite{kind: writePut, key: modelKey{"a"}}.sdk(m).(*sdk.PutRowChange)})
		return err
	}
	update := func(m *oracleTable) error {
		w := modelWrite{kind: writeUpdate, key: modelKey{"a"}, cells: []cellWrite{{op: cellSet, name: "c", value: "x"}}}
		_, err := c.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: w.sdk(m).(*sdk.UpdateRowChange)})
		return err
	}
	remove := func(m *oracleTable) error {
		_, err := c.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: modelWrite{kind: writeDelete, key: modelKey{"a"}}.sdk(m).(*sdk.DeleteRowChange)})
		return err
	}
	get := func(m *oracleTable) error {
		_, err := c.GetRow(&sdk.GetRowRequest{SingleRowQueryCriteria: &sdk.SingleRowQueryCriteria{
			TableName: m.name, PrimaryKey: modelKey{"a"}.sdk(schema), MaxVersion: 1,
		}})
		return err
	}
	scan := func(m *oracleTable) error {
		_, err := c.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: m.name, StartPrimaryKey: modelKey{modelInfinity(-1)}.sdk(schema), EndPrimaryKey: modelKey{modelInfinity(1)}.sdk(schema), MaxVersion: 1,
		}})
		return err
	}
	for _, call := range []struct {
		what, code string
		do         func() error
	}{
		{"CreateTable", "", func() error {
			_, err := c.CreateTable(&sdk.CreateTableRequest{
				TableMeta: meta, TableOption: sdk.NewTableOption(-1, 1), ReservedThroughput: &sdk.ReservedThroughput{},
				StreamSpec: &sdk.StreamSpecification{EnableStream: true, ExpirationTime: 1},
			})
			return err
		}},
		{"CreateTable", "OTSObjectAlreadyExist", func() error {
			_, err := c.CreateTable(&sdk.CreateTableRequest{TableMeta: meta, TableOption: sdk.NewTableOption(-1, 1), ReservedThroughput: &sdk.ReservedThroughput{}})
			return err
		}},
		{"ListTable", "", func() error { _, err := c.ListTable(); return err }},
		{"DescribeTable", "", func() error { _, err := c.DescribeTable(&sdk.DescribeTableRequest{TableName: name}); return err }},
		{"DescribeTable", "OTSObjectNotExist", func() error { _, err := c.DescribeTable(&sdk.DescribeTableRequest{TableName: "none"}); return err }},
		{"UpdateTable", "", func() error {
			_, err := c.UpdateTable(&sdk.UpdateTableRequest{TableName: name, TableOption: sdk.NewTableOption(-1, 2)})
			return err
		}},
		{"PutRow", "", func() error { return put(table) }},
		{"PutRow", "OTSObjectNotExist", func() error { return put(none) }},
		{"UpdateRow", "", func() error { return update(table) }},
		{"UpdateRow", "OTSObjectNotExist", func() error { return update(none) }},
		{"GetRow", "", func() error { return get(table) }},
		{"GetRow", "OTSObjectNotExist", func() error { return get(none) }},
		{"GetRange", "", func() error { return scan(table) }},
		{"GetRange", "OTSObjectNotExist", func() error { return scan(none) }},
		{"DeleteRow", "", func() error { return remove(table) }},
		{"DeleteRow", "OTSObjectNotExist", func() error { return remove(none) }},
		{"BatchWriteRow", "OTSParameterInvalid", func() error { _, err := c.BatchWriteRow(&sdk.BatchWriteRowRequest{}); return err }},
		{"BatchGetRow", "OTSParameterInvalid", func() error { _, err := c.BatchGetRow(&sdk.BatchGetRowRequest{}); return err }},
		{"ListStream", "", func() error { _, err := c.ListStream(&sdk.ListStreamRequest{TableName: &name}); return err }},
		{"DescribeStream", "OTSObjectNotExist", func() error { _, err := c.DescribeStream(&sdk.DescribeStreamRequest{StreamId: &stream}); return err }},
		{"GetShardIterator", "OTSObjectNotExist", func() error {
			_, err := c.GetShardIterator(&sdk.GetShardIteratorRequest{StreamId: &stream, ShardId: &shard})
			return err
		}},
		{"GetStreamRecord", "OTSParameterInvalid", func() error {
			_, err := c.GetStreamRecord(&sdk.GetStreamRecordRequest{ShardIterator: &iterator})
			return err
		}},
		{"ComputeSplitPointsBySize", "", func() error {
			_, err := c.ComputeSplitPointsBySize(&sdk.ComputeSplitPointsBySizeRequest{TableName: name, SplitSize: 1})
			return err
		}},
		{"StartLocalTransaction", "OTSParameterInvalid", func() error {
			_, err := c.StartLocalTransaction(&sdk.StartLocalTransactionRequest{TableName: name, PrimaryKey: modelKey{"a"}.sdk(schema)})
			return err
		}},
		{"CommitTransaction", "OTSParameterInvalid", func() error {
			_, err := c.CommitTransaction(&sdk.CommitTransactionRequest{TransactionId: &txn})
			return err
		}},
		{"SQLQuery", "OTSUnsupportOperation", func() error { _, err := c.SQLQuery(&sdk.SQLQueryRequest{Query: "select 1"}); return err }},
		{"DeleteTable", "", func() error { _, err := c.DeleteTable(&sdk.DeleteTableRequest{TableName: name}); return err }},
	} {
		if err := call.do(); codeOf(err) != call.code {
			t.Errorf("%s: %v, want %q", call.what, err, call.code)
		}
	}
}
