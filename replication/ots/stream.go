package ots

import (
	"context"
	"fmt"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// Streams are those of a table: none if it has none, and without retention,
// which [Client.Shards] says. An answer from which all is missing looks like
// none; [Client.Describe] has fields that must be there.
func (c *Client) Streams(ctx context.Context, table string) ([]Stream, error) {
	var out []Stream
	err := c.call(ctx, func(l *line) error {
		resp, err := l.sdk.ListStream(&tablestore.ListStreamRequest{TableName: &table})
		if err != nil {
			return err
		}
		for _, s := range resp.Streams {
			out = append(out, Stream{ID: string(*s.Id), Table: *s.TableName, Created: time.UnixMicro(s.CreationTime)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// shardPage is how many shards one answer may list.
const shardPage = 100

// Shards are all that a stream lists, closed ones too until their data expires,
// in no order that means anything.
func (c *Client) Shards(ctx context.Context, stream string) (Stream, []Shard, error) {
	var (
		out    Stream
		shards []Shard
		seen   = map[string]bool{}
		id     = tablestore.StreamId(stream)
		limit  = int32(shardPage)
		from   *tablestore.ShardId
	)
	for {
		err := c.call(ctx, func(l *line) error {
			resp, err := l.sdk.DescribeStream(&tablestore.DescribeStreamRequest{StreamId: &id, InclusiveStartShardId: from, ShardLimit: &limit})
			if err != nil {
				return err
			}
			out = Stream{
				ID: string(*resp.StreamId), Table: *resp.TableName, Created: time.UnixMicro(resp.CreationTime),
				Retention: time.Duration(resp.ExpirationTime) * time.Hour,
			}
			for _, s := range resp.Shards {
				shard := Shard{ID: string(*s.SelfShard)}
				for _, p := range []*tablestore.ShardId{s.FatherShard, s.MotherShard} {
					if p != nil && *p != "" {
						shard.Parents = append(shard.Parents, string(*p))
					}
				}
				if !seen[shard.ID] { // a split between two pages may move others
					seen[shard.ID] = true
					shards = append(shards, shard)
				}
			}
			if resp.NextShardId != nil && from != nil && *resp.NextShardId == *from {
				return fmt.Errorf("%w: a page of shards that comes again", ErrAnswer)
			}
			from = resp.NextShardId
			return nil
		})
		if err != nil {
			return Stream{}, nil, err
		}
		if from == nil || *from == "" {
			return out, shards, nil
		}
	}
}

// Iterator points to the first record at or after from, by the service's clock,
// or to the oldest one that is kept if from is zero. It lives as long as the
// record's data. The service may search over several calls.
func (c *Client) Iterator(ctx context.Context, stream, shard string, from time.Time) (string, error) {
	var (
		id    = tablestore.StreamId(stream)
		of    = tablestore.ShardId(shard)
		want  = &tablestore.GetShardIteratorRequest{StreamId: &id, ShardId: &of}
		found string
	)
	if !from.IsZero() {
		t := from.UnixMicro()
		want.Timestamp = &t
	}
	for {
		err := c.call(ctx, func(l *line) error {
			resp, err := l.sdk.GetShardIterator(want)
			if err != nil {
				return err
			}
			want.Token, found = resp.Token, string(*resp.ShardIterator)
			return nil
		})
		if err != nil {
			return "", err
		}
		if want.Token != nil && *want.Token != "" {
			continue
		}
		if found == "" {
			return "", fmt.Errorf("%w: no iterator", ErrAnswer)
		}
		return found, nil
	}
}

// Records reads from an iterator, up to limit records (as many as the service
// gives if 0). The SDK's own method confuses deletions (v1.9.3): this reads its
// messages.
func (c *Client) Records(ctx context.Context, iterator string, limit int) (Page, error) {
	page, told, err := c.records(ctx, iterator, limit)
	if err != nil || page.Next != "" || told {
		return page, err
	}
	// No next iterator is the end of a shard for ever, and it is what an answer
	// says of which something is missing. All fields may be absent; where even
	// the cost is, a second read must say the same.
	again, _, err := c.records(ctx, iterator, limit)
	if err == nil && (again.Next != "" || len(again.Records) != len(page.Records)) {
		err = fmt.Errorf("%w: an end of a shard that is none", ErrAnswer)
	}
	if err != nil {
		return Page{}, err
	}
	return again, nil
}

// records also says whether the answer told its cost.
func (c *Client) records(ctx context.Context, iterator string, limit int) (page Page, told bool, err error) {
	ask := &otsprotocol.GetStreamRecordRequest{ShardIterator: &iterator}
	if limit > 0 {
		n := int32(min(limit, 1<<30))
		ask.Limit = &n
	}
	var answer otsprotocol.GetStreamRecordResponse
	if err := c.raw(ctx, "GetStreamRecord", ask, &answer, func(l *line) {
		page.Sent, page.Received, page.Server = l.sent, time.Now(), l.said.from
	}); err != nil {
		return Page{}, false, err
	}
	page.Next, page.More = answer.GetNextShardIterator(), answer.GetMayMoreRecord()
	if units := answer.GetConsumed().GetCapacityUnit(); units != nil {
		told = true
		page.Read, _ = c.spent(units.GetRead(), units.GetWrite())
	}
	page.Records = make([]Record, len(answer.StreamRecords))
	d := decoder{names: map[string]string{}}
	for i, r := range answer.StreamRecords {
		if page.Records[i], err = d.record(r); err != nil {
			return Page{}, false, err
		}
	}
	return page, told, nil
}

var actions = map[otsprotocol.ActionType]Action{
	otsprotocol.ActionType_PUT_ROW: PutRow, otsprotocol.ActionType_UPDATE_ROW: UpdateRow, otsprotocol.ActionType_DELETE_ROW: DeleteRow,
}

func (d *decoder) record(r *otsprotocol.GetStreamRecordResponse_StreamRecord) (Record, error) {
	row, err := d.decodeRow(r.GetRecord())
	switch {
	case err != nil:
		return Record{}, err
	case len(row.key) == 0 || row.seq == nil:
		return Record{}, fmt.Errorf("%w: a record without key or place", ErrAnswer)
	}
	out := Record{Action: actions[r.GetActionType()], Key: row.key, Cells: row.cells, Seq: *row.seq}
	if out.Action == 0 {
		return Record{}, fmt.Errorf("%w: a record of an unknown action", ErrAnswer)
	}
	for _, c := range out.Cells {
		if out.Action == DeleteRow || out.Action == PutRow && c.Op != Put {
			return Record{}, fmt.Errorf("%w: a %v with a cell that it cannot have", ErrAnswer, out.Action)
		}
	}
	if len(r.GetOriginRecord()) > 0 {
		before, err := d.decodeRow(r.GetOriginRecord())
		if err != nil {
			return Record{}, err
		}
		out.Before = before.cells
	}
	return out, nil
}
