package tablestore

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// seeds are a request of each operation that could go well, about the table
// orders with the key "k".
func seeds() map[string]protoadapt.MessageV1 {
	key := func(kind plainbuffer.Value) []plainbuffer.Cell { return []plainbuffer.Cell{{Name: "id", Value: &kind}} }
	text := plainbuffer.Value{Kind: plainbuffer.String, Bytes: "k"}
	one := plainbuffer.Value{Kind: plainbuffer.Integer, Int: 1}
	columns := []plainbuffer.Cell{{Name: "n", Value: &one}}
	put := plainbuffer.Append(nil, plainbuffer.Row{Key: key(text), Columns: columns})
	remove := plainbuffer.Append(nil, plainbuffer.Row{Key: key(text), Delete: true})
	bare := plainbuffer.Append(nil, plainbuffer.Row{Key: key(text)})
	least := plainbuffer.Append(nil, plainbuffer.Row{Key: key(plainbuffer.Value{Kind: plainbuffer.InfMin})})
	most := plainbuffer.Append(nil, plainbuffer.Row{Key: key(plainbuffer.Value{Kind: plainbuffer.InfMax})})
	filter, _ := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.SingleColumnValueFilter{
		Comparator: otsprotocol.ComparatorType_CT_EQUAL.Enum(), ColumnName: proto.String("n"), ColumnValue: plainbuffer.AppendValue(nil, one),
		FilterIfMissing: proto.Bool(false), LatestVersionOnly: proto.Bool(true),
	}))
	condition, _ := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.Filter{Type: otsprotocol.FilterType_FT_SINGLE_COLUMN_VALUE.Enum(), Filter: filter}))
	table := proto.String("orders")
	any := func() *otsprotocol.Condition {
		return &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()}
	}
	column := []*otsprotocol.DefinedColumnSchema{{Name: proto.String("d"), Type: otsprotocol.DefinedColumnType_DCT_INTEGER.Enum()}}
	index := &otsprotocol.IndexMeta{
		Name: proto.String("by_d"), PrimaryKey: []string{"d"}, IndexUpdateMode: otsprotocol.IndexUpdateMode_IUM_ASYNC_INDEX.Enum(), IndexType: otsprotocol.IndexType_IT_GLOBAL_INDEX.Enum(),
	}
	region, instance := proto.String("cn-hangzhou"), proto.String("lab")
	return map[string]protoadapt.MessageV1{
		"ListTable": &otsprotocol.ListTableRequest{}, "CreateTable": createRequest("orders"), "DescribeTable": describeRequest("orders"),
		"ListSearchIndex": &otsprotocol.ListSearchIndexRequest{TableName: table},
		"UpdateTable": &otsprotocol.UpdateTableRequest{
			TableName: table, TableOptions: &otsprotocol.TableOptions{MaxVersions: proto.Int32(3)},
			StreamSpec: &otsprotocol.StreamSpecification{EnableStream: proto.Bool(true), ExpirationTime: proto.Int32(24)},
		},
		"DeleteTable":         &otsprotocol.DeleteTableRequest{TableName: table},
		"AddDefinedColumn":    &otsprotocol.AddDefinedColumnRequest{TableName: table, Columns: column},
		"DeleteDefinedColumn": &otsprotocol.DeleteDefinedColumnRequest{TableName: table, Columns: []string{"d"}},
		"CreateIndex":         &otsprotocol.CreateIndexRequest{MainTableName: table, IndexMeta: index},
		"DropIndex":           &otsprotocol.DropIndexRequest{MainTableName: table, IndexName: proto.String("by_d")},
		"PutRow":              &otsprotocol.PutRowRequest{TableName: table, Row: put, Condition: any()},
		"UpdateRow":           &otsprotocol.UpdateRowRequest{TableName: table, RowChange: put, Condition: any()},
		"DeleteRow":           &otsprotocol.DeleteRowRequest{TableName: table, PrimaryKey: remove, Condition: any()},
		"GetRow":              &otsprotocol.GetRowRequest{TableName: table, PrimaryKey: bare, MaxVersions: proto.Int32(1), Filter: condition},
		"GetRange": &otsprotocol.GetRangeRequest{
			TableName: table, Direction: otsprotocol.Direction_FORWARD.Enum(), MaxVersions: proto.Int32(1),
			InclusiveStartPrimaryKey: least, ExclusiveEndPrimaryKey: most, Filter: condition,
		},
		"BatchGetRow": &otsprotocol.BatchGetRowRequest{Tables: []*otsprotocol.TableInBatchGetRowRequest{{TableName: table, PrimaryKey: [][]byte{bare}, MaxVersions: proto.Int32(1)}}},
		"BatchWriteRow": &otsprotocol.BatchWriteRowRequest{Tables: []*otsprotocol.TableInBatchWriteRowRequest{{TableName: table, Rows: []*otsprotocol.RowInBatchWriteRowRequest{
			{Type: otsprotocol.OperationType_PUT.Enum(), RowChange: put, Condition: any()},
		}}}},
		"ListStream": &otsprotocol.ListStreamRequest{TableName: table}, "DescribeStream": &otsprotocol.DescribeStreamRequest{StreamId: proto.String("orders_1")},
		"GetShardIterator":         &otsprotocol.GetShardIteratorRequest{StreamId: proto.String("orders_1"), ShardId: proto.String("x")},
		"GetStreamRecord":          &otsprotocol.GetStreamRecordRequest{ShardIterator: proto.String("x"), TableName: table, Limit: proto.Int32(10)},
		"ComputeSplitPointsBySize": &otsprotocol.ComputeSplitPointsBySizeRequest{TableName: table, SplitSize: proto.Int64(1)},
		"StartLocalTransaction":    &otsprotocol.StartLocalTransactionRequest{TableName: table, Key: bare},
		"CommitTransaction":        &otsprotocol.CommitTransactionRequest{TransactionId: proto.String("x")},
		"AbortTransaction":         &otsprotocol.AbortTransactionRequest{TransactionId: proto.String("x")},
		"CreateGlobalTable": &otsprotocol.CreateGlobalTableRequest{
			BaseTable: &otsprotocol.BaseTable{RegionId: region, InstanceName: instance, TableName: table}, SyncMode: otsprotocol.SyncMode_SYNC_MODE_ROW.Enum(),
		},
		"BindGlobalTable":     &otsprotocol.BindGlobalTableRequest{GlobalTableId: proto.String("x"), GlobalTableName: table},
		"UnbindGlobalTable":   &otsprotocol.UnbindGlobalTableRequest{GlobalTableId: proto.String("x"), GlobalTableName: table},
		"DescribeGlobalTable": &otsprotocol.DescribeGlobalTableRequest{GlobalTableName: table},
		"UpdateGlobalTable":   &otsprotocol.UpdateGlobalTableRequest{GlobalTableId: proto.String("x"), GlobalTableName: table},
	}
}

// TestEveryOperationHasASeed, so that nothing below leaves one out.
func TestEveryOperationHasASeed(t *testing.T) {
	all := seeds()
	for op := range operations {
		if all[op] == nil && op != "Change" {
			t.Errorf("no request of %s", op)
		}
	}
	for op, m := range all {
		if operations[op] == nil {
			t.Errorf("%s is no operation", op)
		}
		if _, err := proto.Marshal(protoadapt.MessageV2Of(m)); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
}
