package tablestore

import (
	"cmp"
	"regexp"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

func (s *Server) listStream(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.ListStreamRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	var tables []*table
	if m.TableName != nil {
		t, ref := c.inst.table(*m.TableName)
		if ref != nil {
			return nil, ref
		}
		tables = []*table{t}
	} else {
		c.inst.mu.RLock()
		for _, t := range c.inst.tables {
			tables = append(tables, t)
		}
		c.inst.mu.RUnlock()
		slices.SortFunc(tables, func(a, b *table) int { return cmp.Compare(a.Name, b.Name) })
	}
	out := &otsprotocol.ListStreamResponse{}
	for _, t := range tables {
		t.mu.Lock()
		if st := t.Stream; st != nil {
			out.Streams = append(out.Streams, &otsprotocol.Stream{
				StreamId: &st.ID, TableName: proto.String(t.Name), CreationTime: proto.Int64(st.Created),
			})
		}
		t.mu.Unlock()
	}
	return out, nil
}

// maxShards is how many shards DescribeStream tells of at once.
const maxShards = 100

var shardName = regexp.MustCompile(`^[0-9a-f]{16}_[0-9]+$`)

func (s *Server) describeStream(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.DescribeStreamRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	limit := maxShards
	if m.ShardLimit != nil {
		if *m.ShardLimit <= 0 {
			return nil, invalid("The shard limit must be greater than 0.")
		}
		limit = min(limit, int(*m.ShardLimit)) // that more is not an error is a guess
	}
	start := m.GetInclusiveStartShardId()
	// A name is a place in the order, so that a shard may go away between two
	// pages; what can be no name is refused.
	if m.InclusiveStartShardId != nil && !shardName.MatchString(start) {
		return nil, noShard()
	}
	var out *otsprotocol.DescribeStreamResponse
	ref := c.withStream(m.GetStreamId(), func(t *table, st *stream) *refusal {
		out = &otsprotocol.DescribeStreamResponse{
			StreamId: &st.ID, ExpirationTime: proto.Int32(st.Hours), TableName: proto.String(t.Name),
			CreationTime: proto.Int64(st.Created), StreamStatus: otsprotocol.StreamStatus_STREAM_ACTIVE.Enum(),
		}
		// By name, which is by chance: clients must not think that a parent is
		// told of before its child.
		shards := slices.Clone(st.Shards)
		slices.SortFunc(shards, func(a, b *shard) int { return cmp.Compare(a.ID, b.ID) })
		for _, sh := range shards {
			if sh.ID < start {
				continue
			}
			if len(out.Shards) == limit {
				out.NextShardId = proto.String(sh.ID)
				break
			}
			d := &otsprotocol.StreamShard{ShardId: proto.String(sh.ID)}
			if sh.Parent != "" {
				d.ParentId = proto.String(sh.Parent)
			}
			if sh.Sibling != "" {
				d.ParentSiblingId = proto.String(sh.Sibling)
			}
			out.Shards = append(out.Shards, d)
		}
		return nil
	})
	if ref != nil {
		return nil, ref
	}
	return out, nil
}
