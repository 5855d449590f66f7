package tablestore

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// named finds the global table that a request of one of its members names, by
// ID or by the member. g.mu is held.
func (g *Globals) named(c *call, id, name string) (*globalTable, *refusal) {
	for _, t := range g.tables {
		if id != "" && t.ID != id || t.Name != name {
			continue
		}
		if slices.ContainsFunc(t.Members, func(m member) bool { return m.Region == c.inst.guard.region && m.Instance == c.inst.name }) {
			return t, nil
		}
	}
	return nil, invalid("The table %s is not a global table.", clip(name))
}

func (s *Server) createGlobalTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.CreateGlobalTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	base := site{m.GetBaseTable().GetRegionId(), m.GetBaseTable().GetInstanceName(), m.GetBaseTable().GetTableName()}
	if base != c.inst.site(base.Table) {
		return nil, invalid("The base table is not one of instance %s in region %s.", c.inst.name, c.inst.guard.region)
	}
	if _, ref := c.inst.table(base.Table); ref != nil {
		return nil, ref
	}
	g := s.globals
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, _, ref := g.find(base.Region, base.Instance); ref != nil {
		return nil, ref
	}
	if g.of(base) != nil {
		return nil, invalid("The table %s is a global table.", base.Table)
	}
	id := random(16)
	t := &globalTable{
		ID: "gt-" + id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:], Name: base.Table,
		Peers: m.GetServeMode() == otsprotocol.ServeMode_PEER_TO_PEER, Columns: m.GetSyncMode() == otsprotocol.SyncMode_SYNC_MODE_COLUMN,
		Members: []member{{site: base, Writable: true, Role: rolePrimary, Status: otsprotocol.PhyTableStatus_PHY_ACTIVE, At: s.clock().UnixMilli()}},
	}
	if t.Peers {
		t.Members[0].Role = rolePeer
	}
	if ref := g.bind(c, t, m.GetPlacements()); ref != nil {
		return nil, ref
	}
	return &otsprotocol.CreateGlobalTableResponse{GlobalTableId: &t.ID, Status: t.status(s.clock()), ServeMode: t.serveMode()}, nil
}

// bind makes tables at placements and members of them; none of that is done if
// one cannot be. g.mu is held.
func (g *Globals) bind(c *call, t *globalTable, placements []*otsprotocol.Placement) *refusal {
	base, ref := g.base(t)
	if ref != nil {
		return ref
	}
	request, ref := base.again()
	if ref != nil {
		return ref
	}
	type target struct {
		s  *Server
		in *instance
	}
	var targets []target
	for _, p := range placements {
		s, in, ref := g.find(p.GetRegionId(), p.GetInstanceName())
		if ref != nil {
			return ref
		}
		if _, missing := in.table(t.Name); missing == nil || slices.ContainsFunc(targets, func(o target) bool { return o.in == in }) {
			return refuse(codeAlreadyExist, "Requested table already exists.")
		}
		targets = append(targets, target{s, in})
		m := member{
			site: in.site(t.Name), Writable: p.GetWritable(), Role: roleSecondary,
			Status: otsprotocol.PhyTableStatus_PHY_ACTIVE, At: c.now.UnixMilli(),
		}
		if t.Peers {
			m.Role = rolePeer
		}
		t.Members = append(t.Members, m)
	}
	for _, to := range targets {
		if _, ref := to.s.createTable(&call{s: to.s, op: "CreateTable", inst: to.in, key: c.key, body: request, now: c.now}); ref != nil {
			return ref
		}
	}
	if err := g.keep(t); err != nil {
		return refuse(codeInternal, "%v", err)
	}
	return nil
}

// base is a member's table that the others are made like. g.mu is held.
func (g *Globals) base(t *globalTable) (*table, *refusal) {
	for _, m := range t.Members {
		if _, in, ref := g.find(m.Region, m.Instance); ref == nil {
			return in.table(m.Table)
		}
	}
	return nil, refuse(codeInternal, "no member of the global table %s is here", t.ID)
}

// again is the request that makes a table like this one, if it may be a member:
// the vendor's page wants no expiry, one version and whole rows.
func (t *table) again() ([]byte, *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.Options
	if o.TTL != -1 || o.MaxVersions != 1 || !o.UpdateFullRow {
		return nil, invalid("A global table wants TimeToLive -1, MaxVersions 1 and UpdateFullRow.")
	}
	meta := &otsprotocol.TableMeta{TableName: &t.Name}
	for _, k := range t.Keys {
		if k.Auto {
			return nil, invalid("A global table has no auto-increment primary key.")
		}
		meta.PrimaryKey = append(meta.PrimaryKey, &otsprotocol.PrimaryKeySchema{Name: proto.String(k.Name), Type: k.Type.Enum()})
	}
	for _, d := range t.Defined {
		meta.DefinedColumn = append(meta.DefinedColumn, &otsprotocol.DefinedColumnSchema{Name: proto.String(d.Name), Type: d.Type.Enum()})
	}
	text, err := proto.Marshal(protoadapt.MessageV2Of(&otsprotocol.CreateTableRequest{
		TableMeta:          meta,
		EnableLocalTxn:     &t.Txn,
		ReservedThroughput: &otsprotocol.ReservedThroughput{CapacityUnit: &otsprotocol.CapacityUnit{Read: &o.Read, Write: &o.Write}},
		TableOptions: &otsprotocol.TableOptions{
			TimeToLive: &o.TTL, MaxVersions: &o.MaxVersions, DeviationCellVersionInSec: &o.Deviation,
			AllowUpdate: &o.AllowUpdate, UpdateFullRow: &o.UpdateFullRow,
		},
	}))
	if err != nil {
		return nil, refuse(codeInternal, "%v", err)
	}
	return text, nil
}

func (t *globalTable) status(now time.Time) *otsprotocol.GlobalTableStatus {
	if t.Before != nil && t.From.After(now) {
		return otsprotocol.GlobalTableStatus_G_RE_CONF.Enum()
	}
	return otsprotocol.GlobalTableStatus_G_ACTIVE.Enum()
}

func (t *globalTable) serveMode() *otsprotocol.ServeMode {
	if t.Peers {
		return otsprotocol.ServeMode_PEER_TO_PEER.Enum()
	}
	return otsprotocol.ServeMode_PRIMARY_SECONDARY.Enum()
}

func (s *Server) bindGlobalTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.BindGlobalTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	g := s.globals
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ref := g.named(c, m.GetGlobalTableId(), m.GetGlobalTableName())
	if ref != nil {
		return nil, ref
	}
	t = t.clone()
	if ref := g.bind(c, t, m.GetPlacements()); ref != nil {
		return nil, ref
	}
	return &otsprotocol.BindGlobalTableResponse{GlobalTableId: &t.ID, Status: t.status(s.clock())}, nil
}

func (s *Server) unbindGlobalTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.UnbindGlobalTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	g := s.globals
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ref := g.named(c, m.GetGlobalTableId(), m.GetGlobalTableName())
	if ref != nil {
		return nil, ref
	}
	t = t.clone()
	t.Before = nil
	for _, r := range m.GetRemovals() {
		i := slices.IndexFunc(t.Members, func(m member) bool { return m.Region == r.GetRegionId() && m.Instance == r.GetInstanceName() })
		if i < 0 {
			return nil, invalid("No table of instance %s in region %s is a member.", clip(r.GetInstanceName()), clip(r.GetRegionId()))
		}
		t.Members = slices.Delete(t.Members, i, i+1)
	}
	if len(t.Members) > 0 && !t.Peers && !slices.ContainsFunc(t.Members, func(m member) bool { return m.Role == rolePrimary }) {
		return nil, invalid("The primary table cannot leave before the others.")
	}
	if err := g.keep(t); err != nil {
		return nil, refuse(codeInternal, "%v", err)
	}
	return &otsprotocol.UnbindGlobalTableResponse{GlobalTableId: &t.ID, Status: t.status(s.clock())}, nil
}

func (s *Server) describeGlobalTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.DescribeGlobalTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	g, now := s.globals, s.clock()
	g.mu.RLock()
	defer g.mu.RUnlock()
	t, ref := g.named(c, m.GetGlobalTableId(), m.GetGlobalTableName())
	if ref != nil {
		return nil, ref
	}
	out := &otsprotocol.DescribeGlobalTableResponse{GlobalTableId: &t.ID, Status: t.status(now), ServeMode: t.serveMode()}
	want := m.GetPhyTable()
	for _, m2 := range t.inForce(now) {
		status, stage := m2.Status, otsprotocol.SyncStage_SYNC_INCR
		behind, filling := g.state(t, m2.site, time.Now())
		if filling {
			status, stage = otsprotocol.PhyTableStatus_PHY_SYNCDATA, otsprotocol.SyncStage_SYNC_FULL
			out.Status = otsprotocol.GlobalTableStatus_G_RE_CONF.Enum()
		}
		if want != nil && (want.GetRegionId() != "" && want.GetRegionId() != m2.Region || want.GetInstanceName() != "" && want.GetInstanceName() != m2.Instance) {
			continue
		}
		p := &otsprotocol.PhyTable{
			RegionId: proto.String(m2.Region), InstanceName: proto.String(m2.Instance), TableName: proto.String(m2.Table),
			Writable: proto.Bool(m2.Writable), Status: status.Enum(), StatusTimestamp: proto.Int64(m2.At),
			TableId: proto.String(t.ID + "/" + m2.Region + "/" + m2.Instance), IsFailed: proto.Bool(false), Role: proto.String(m2.Role),
			Stage: stage.Enum(),
		}
		if m.GetReturnRpo() {
			if p.RpoNanos = m2.RPO; p.RpoNanos == nil {
				p.RpoNanos = proto.Int64(behind.Nanoseconds())
			}
		}
		out.PhyTables = append(out.PhyTables, p)
	}
	return out, nil
}

func (s *Server) updateGlobalTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.UpdateGlobalTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	up := m.GetPhyTable()
	if up == nil || up.Writable == nil && up.PrimaryEligible == nil {
		return nil, invalid("Neither writable nor primaryEligible is given.")
	}
	g, now := s.globals, s.clock()
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ref := g.named(c, m.GetGlobalTableId(), m.GetGlobalTableName())
	if ref != nil {
		return nil, ref
	}
	t, rules := old.clone(), g.rules.Load()
	i := slices.IndexFunc(t.Members, func(m member) bool {
		return m.site == site{up.GetRegionId(), up.GetInstanceName(), up.GetTableName()}
	})
	switch {
	case i < 0:
		return nil, invalid("The table %s of instance %s in region %s is not a member.", clip(up.GetTableName()), clip(up.GetInstanceName()), clip(up.GetRegionId()))
	case up.PrimaryEligible != nil && t.Peers:
		return nil, invalid("primaryEligible is for the serve mode PRIMARY_SECONDARY alone.")
	}
	if up.Writable != nil {
		t.Members[i].Writable = *up.Writable
	}
	if up.PrimaryEligible != nil && t.Members[i].Role != rolePrimary {
		t.Members[i].Eligible = *up.PrimaryEligible
	}
	if rules.OneWritable && !slices.ContainsFunc(t.Members, func(m member) bool { return m.Writable }) {
		return nil, invalid("One table of the global table has to be writable.")
	}
	t.settle()
	t.Before, t.From = slices.Clone(old.inForce(now)), now.Add(rules.Delay)
	if err := g.keep(t); err != nil {
		return nil, refuse(codeInternal, "%v", err)
	}
	return &otsprotocol.UpdateGlobalTableResponse{}, nil
}
