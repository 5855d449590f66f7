package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// readPage is how many rows are asked for at once; a request reads 5000 at most.
const readPage = 5000

// clientAt is a client of one cluster, whatever the name shows: it dials the
// cluster itself. end closes its connections.
func clientAt(site ClusterSite, name, instance string, key TableKey) (client *sdk.TableStoreClient, end func()) {
	config := carefully()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: config.HTTPTimeout.ConnectionTimeout}
		return d.DialContext(ctx, "tcp", site.Addr.String())
	}}
	config.Transport = tr
	endpoint := fmt.Sprintf("http://%s:%d", strings.TrimSuffix(name, "."), site.Addr.Port())
	return sdk.NewClientWithConfig(endpoint, instance, key.ID, key.Secret, "", config), tr.CloseIdleConnections
}

// ReadRows returns every row that a Writer's cluster holds.
func ReadRows(ctx context.Context, site ClusterSite, name, instance string, key TableKey) ([]Held, error) {
	client, end := clientAt(site, name, instance, key)
	defer end()
	from, to := new(sdk.PrimaryKey), new(sdk.PrimaryKey)
	for _, column := range []string{ordersCustomer, ordersNumber} {
		from.AddPrimaryKeyColumnWithMinValue(column)
		to.AddPrimaryKeyColumnWithMaxValue(column)
	}
	var held []Held
	for from != nil {
		if err := ctx.Err(); err != nil { // the client knows no context
			return nil, context.Cause(ctx)
		}
		resp, err := client.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: ordersTable, StartPrimaryKey: from, EndPrimaryKey: to, Direction: sdk.FORWARD, MaxVersion: 1, Limit: readPage,
		}})
		if err != nil {
			return nil, fmt.Errorf("read the rows of %s: %w", site.Name, said(err))
		}
		for _, row := range resp.Rows {
			held = append(held, heldOf(row))
		}
		from = resp.NextStartPrimaryKey
	}
	return held, nil
}

// heldOf reads one row. What is not as the Writer writes it is told by a text
// that no row of the Writer has.
func heldOf(row *sdk.Row) Held {
	var h Held
	for _, k := range row.PrimaryKey.PrimaryKeys {
		if n, ok := k.Value.(int64); ok && k.ColumnName == ordersNumber {
			h.N = n
		}
	}
	for _, k := range row.PrimaryKey.PrimaryKeys {
		if k.ColumnName == ordersCustomer && k.Value != customerOf(h.N) {
			return Held{h.N, fmt.Sprintf("of customer %v", k.Value)}
		}
	}
	for _, c := range row.Columns {
		if s, ok := c.Value.(string); ok && c.ColumnName == ordersText {
			h.Text = s
		}
	}
	return h
}
