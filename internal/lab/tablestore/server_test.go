package tablestore_test

import (
	"testing"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

func start(t testing.TB, o tablestore.Options) *tablestore.Server {
	t.Helper()
	s, err := tablestore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func client(t testing.TB, s *tablestore.Server) *sdk.TableStoreClient {
	t.Helper()
	k := s.Keys()[0]
	return sdk.NewClient(s.Endpoint(), "lab", k.ID, k.Secret)
}

func TestATableIsCreatedAndDescribed(t *testing.T) {
	c := client(t, start(t, tablestore.Options{DataDir: t.TempDir()}))
	m := &sdk.TableMeta{TableName: "orders"}
	m.AddPrimaryKeyColumn("id", sdk.PrimaryKeyType_STRING)
	if _, err := c.CreateTable(&sdk.CreateTableRequest{
		TableMeta: m, TableOption: &sdk.TableOption{TimeToAlive: -1, MaxVersion: 1}, ReservedThroughput: &sdk.ReservedThroughput{},
	}); err != nil {
		t.Fatal(err)
	}
	d, err := c.DescribeTable(&sdk.DescribeTableRequest{TableName: "orders"})
	if err != nil || d.TableMeta.SchemaEntry[0].Name == nil || *d.TableMeta.SchemaEntry[0].Name != "id" {
		t.Fatalf("%+v, %v", d, err)
	}
	if l, err := c.ListTable(); err != nil || len(l.TableNames) != 1 {
		t.Fatalf("%+v, %v", l, err)
	}
}
