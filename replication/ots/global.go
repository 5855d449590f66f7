package ots

import (
	"context"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// GlobalTable is a table that the vendor itself replicates.
type GlobalTable struct {
	ID       string
	Active   bool // no reconfiguration is going on
	PeerMode bool // every replica may be written; else one is the primary
	Replicas []Replica
}

// Replica is one member of a global table.
type Replica struct {
	Region, Instance, Table string
	Writable                bool
	Role                    string // as the service spells it: primary, secondary, …
	Status                  string // PHY_ACTIVE, …
	Stage                   string // SYNC_INIT, SYNC_FULL, SYNC_INCR
	Failed                  bool
	Message                 string
	// RPO is how far it is behind the primary; Known says whether the service
	// told it.
	RPO   time.Duration
	Known bool
}

// GlobalTable describes the global table that a table of this instance is part
// of. The SDK's own method asks for no RPO and drops what matters (v1.9.3).
func (c *Client) GlobalTable(ctx context.Context, name string) (GlobalTable, error) {
	yes := true
	var d otsprotocol.DescribeGlobalTableResponse
	if err := c.raw(ctx, "DescribeGlobalTable", &otsprotocol.DescribeGlobalTableRequest{GlobalTableName: &name, ReturnRpo: &yes}, &d, nil); err != nil {
		return GlobalTable{}, err
	}
	out := GlobalTable{
		ID: d.GetGlobalTableId(), Active: d.GetStatus() == otsprotocol.GlobalTableStatus_G_ACTIVE,
		PeerMode: d.GetServeMode() == otsprotocol.ServeMode_PEER_TO_PEER,
	}
	for _, p := range d.GetPhyTables() {
		out.Replicas = append(out.Replicas, Replica{
			Region: p.GetRegionId(), Instance: p.GetInstanceName(), Table: p.GetTableName(), Writable: p.GetWritable(), Role: p.GetRole(),
			Status: p.GetStatus().String(), Stage: p.GetStage().String(), Failed: p.GetIsFailed(), Message: clean(p.GetMessage(), Credentials{}),
			RPO: time.Duration(p.GetRpoNanos()), Known: p.RpoNanos != nil,
		})
	}
	return out, nil
}
