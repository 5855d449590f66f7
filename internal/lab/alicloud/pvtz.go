package alicloud

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func pvtzAPI() product {
	return product{
		name: "pvtz", host: "pvtz.aliyuncs.com", version: "2018-01-01", private: true,
		actions: map[string]action{
			"DescribeZones":       {do: describeZones},
			"DescribeZoneInfo":    {needs: []string{"ZoneId"}, do: describeZoneInfo},
			"DescribeZoneVpcTree": {do: describeZoneVpcTree},
			"CheckZoneName":       {needs: []string{"ZoneName"}, do: checkZoneName},
			"AddZone":             {needs: []string{"ZoneName"}, write: true, do: addZoneCall},
			"DeleteZone":          {needs: []string{"ZoneId"}, write: true, do: deleteZone},
			"UpdateZoneRemark":    {needs: []string{"ZoneId"}, write: true, do: updateZoneRemark},
			"BindZoneVpc":         {needs: []string{"ZoneId"}, write: true, do: bindZoneVpc},
			"SetProxyPattern":     {needs: []string{"ZoneId", "ProxyPattern"}, write: true, do: setProxyPattern},
			"DescribeZoneRecords": {needs: []string{"ZoneId"}, do: describeZoneRecords},
			"DescribeZoneRecord":  {needs: []string{"RecordId"}, do: describeZoneRecord},
			"AddZoneRecord":       {needs: []string{"ZoneId", "Rr", "Type", "Value"}, write: true, do: addZoneRecord},
			"UpdateZoneRecord":    {needs: []string{"RecordId", "Rr", "Type", "Value"}, write: true, do: updateZoneRecord},
			"UpdateRecordRemark":  {needs: []string{"RecordId"}, write: true, do: updateRecordRemark},
			"SetZoneRecordStatus": {needs: []string{"RecordId", "Status"}, write: true, do: setZoneRecordStatus},
			"DeleteZoneRecord":    {needs: []string{"RecordId"}, write: true, do: deleteZoneRecord},
			"DescribeChangeLogs":  {do: describeChangeLogs},
		},
	}
}

// privateZone is the zone that the call names by its ID.
func (c *call) privateZone() (*zone, *apiError) {
	for _, z := range c.s.zones {
		if z.Private && z.ID == c.params["ZoneId"] {
			return z, nil
		}
	}
	return nil, bad("Zone.NotExists", "Zone is not exists")
}

// privateRecord is the record that the call names. The vendor does not
// document the code of one that is not there.
func (c *call) privateRecord() (*zone, *Record, *apiError) {
	if id, err := strconv.ParseInt(c.params["RecordId"], 10, 64); err == nil {
		if z, r := c.s.find(id, true); z != nil {
			return z, r, nil
		}
	}
	return nil, nil, bad("Record.NotExists", "The record does not exist.")
}

// once answers a write that was done already under its ClientToken.
func (c *call) once(z *zone, do func() (obj, *apiError)) (obj, *apiError) {
	token := c.params["ClientToken"]
	if token == "" {
		return do()
	}
	if len(token) > 64 {
		return nil, bad("InvalidParameter", "The specified parameter ClientToken is longer than 64 characters.")
	}
	if o, ok := z.tokens[c.action+" "+token]; ok {
		again := obj{}
		for k, v := range o {
			again[k] = v
		}
		return again, nil
	}
	o, e := do()
	if e == nil {
		if len(z.tokens) > 1000 {
			clear(z.tokens)
		}
		kept := obj{}
		for k, v := range o {
			kept[k] = v
		}
		z.tokens[c.action+" "+token] = kept
	}
	return o, e
}

func (c *call) zoneObject(z *zone) obj {
	group := "FAST_ZONE"
	if z.Standard {
		group = "NORMAL_ZONE"
	}
	return obj{
		"ZoneId": z.ID, "ZoneName": z.Name, "ZoneType": "AUTH_ZONE", "ZoneTag": "", "DnsGroup": group, "DnsGroupChanging": false,
		"ProxyPattern": z.ProxyPattern, "Remark": z.remark, "RecordCount": len(z.records()), "IsPtr": strings.HasSuffix(z.Name, ".arpa"),
		"Creator": c.s.opts.Account, "CreatorType": "USER", "ResourceGroupId": "rg-lab",
		"CreateTime": stamp(z.created), "CreateTimestamp": z.created.UnixMilli(),
		"UpdateTime": stamp(z.updated), "UpdateTimestamp": z.updated.UnixMilli(),
	}
}

func (c *call) vpcObjects(z *zone) []obj {
	out := make([]obj, 0, len(z.VPCs))
	for _, id := range z.VPCs {
		region, name := "cn-hangzhou", ""
		if v := c.s.vpc(id); v != nil {
			region, name = v.Region, v.Name
		}
		user, _ := strconv.ParseInt(c.s.opts.Account, 10, 64)
		out = append(out, obj{
			"VpcId": id, "VpcName": name, "VpcType": "STANDARD", "VpcUserId": user, "RegionId": region, "RegionName": region,
		})
	}
	return out
}

// items cuts a list as PrivateZone does, which names its totals otherwise.
func items[T any](c *call, list []T) ([]T, obj, *apiError) {
	part, number, size, e := page(c, list, 100)
	if e != nil {
		return nil, nil, e
	}
	return part, obj{
		"PageNumber": number, "PageSize": size, "TotalItems": len(list), "TotalPages": (int64(len(list)) + size - 1) / size,
	}, nil
}

func describeZones(c *call) (obj, *apiError) {
	word, mode, vpc := c.params["Keyword"], strings.ToUpper(c.params["SearchMode"]), c.params["QueryVpcId"]
	var list []*zone
	for _, z := range slices.Backward(c.s.zones) {
		if z.Private && (word == "" || mode == "EXACT" && strings.EqualFold(z.Name, word) || mode != "EXACT" && contains(z.Name, word)) &&
			(vpc == "" || slices.Contains(z.VPCs, vpc)) {
			list = append(list, z)
		}
	}
	part, o, e := items(c, list)
	if e != nil {
		return nil, e
	}
	zones := make([]obj, 0, len(part))
	for _, z := range part {
		zones = append(zones, c.zoneObject(z))
	}
	o["Zones"] = obj{"Zone": zones}
	return o, nil
}

func describeZoneInfo(c *call) (obj, *apiError) {
	z, e := c.privateZone()
	if e != nil {
		return nil, e
	}
	o := c.zoneObject(z)
	o["SlaveDns"], o["BindVpcs"] = false, obj{"Vpc": c.vpcObjects(z)}
	return o, nil
}

func describeZoneVpcTree(c *call) (obj, *apiError) {
	zones := []obj{}
	for _, z := range c.s.zones {
		if z.Private {
			o := c.zoneObject(z)
			o["Vpcs"] = obj{"Vpc": c.vpcObjects(z)}
			zones = append(zones, o)
		}
	}
	return obj{"Zones": obj{"Zone": zones}}, nil
}

func checkZoneName(c *call) (obj, *apiError) {
	return obj{"Success": true, "Check": c.s.zoneNamed(c.params["ZoneName"], true) == nil && validValue("CNAME", c.params["ZoneName"])}, nil
}

func addZoneCall(c *call) (obj, *apiError) {
	group := cmp.Or(c.params["DnsGroup"], "FAST_ZONE")
	pattern := cmp.Or(c.params["ProxyPattern"], "ZONE")
	name := canonical(c.params["ZoneName"])
	switch {
	case group != "FAST_ZONE" && group != "NORMAL_ZONE":
		return nil, bad("InvalidParameter", "The specified parameter DnsGroup is not valid.")
	case pattern != "ZONE" && pattern != "RECORD":
		return nil, bad("InvalidParameter", "The specified parameter ProxyPattern is not valid.")
	case !validValue("CNAME", name):
		return nil, bad("Zone.Invalid.Name", "Zone name is invalid.")
	case c.s.zoneNamed(name, true) != nil:
		return nil, bad("Zone.Invalid.Name", "Zone name is there already.")
	}
	id, err := c.s.addZone(Zone{Name: name, Private: true, Standard: group == "NORMAL_ZONE", ProxyPattern: pattern})
	if err != nil {
		return nil, bad("Zone.Invalid.Name", "Zone name is invalid.")
	}
	z := c.s.zone(id)
	c.logPrivate(z, "PV_ZONE", id, name, "add", "add "+name)
	return obj{"ZoneId": id, "ZoneName": name, "Success": true}, nil
}

func deleteZone(c *call) (obj, *apiError) {
	z, e := c.privateZone()
	if e != nil {
		return nil, e
	}
	if len(z.VPCs) > 0 {
		return nil, bad("Zone.VpcExists", "Zone have vpc bound.")
	}
	c.s.zones = slices.DeleteFunc(c.s.zones, func(o *zone) bool { return o == z })
	return obj{"ZoneId": z.ID}, nil
}

func updateZoneRemark(c *call) (obj, *apiError) {
	z, e := c.privateZone()
	if e != nil {
		return nil, e
	}
	if !c.s.remarkable(c.params["Remark"]) {
		return nil, badRemark()
	}
	z.remark, z.updated = c.params["Remark"], c.s.now()
	return obj{"ZoneId": z.ID}, nil
}

func badRemark() *apiError {
	return bad("Zone.Remark", "50  characters long.  It can only contain numbers,Chinese,English and  special characters: _ - , . ，。")
}

// bindZoneVpc binds exactly the networks that it names: a call without any
// unbinds all.
func bindZoneVpc(c *call) (obj, *apiError) {
	z, e := c.privateZone()
	if e != nil {
		return nil, e
	}
	var ids []string
	for i := 1; i <= 1000; i++ {
		id := c.params[fmt.Sprintf("Vpcs.%d.VpcId", i)]
		if id == "" {
			break
		}
		if c.s.vpc(id) == nil {
			return nil, bad("ZoneVpc.NotExists.VpcId", "Vpc %s is not exists.", clip(id))
		}
		for _, o := range c.s.zones {
			if o != z && o.Private && o.Name == z.Name && slices.Contains(o.VPCs, id) {
				return nil, bad("ZoneVpc.Zone.Repeated", "Vpc is bind to same zone name.")
			}
		}
		ids = append(ids, id)
	}
	z.VPCs, z.updated = ids, c.s.now()
	c.logPrivate(z, "PV_ZONE", z.ID, z.Name, "bind", "bind "+strings.Join(ids, " "))
	return obj{}, nil
}

func setProxyPattern(c *call) (obj, *apiError) {
	z, e := c.privateZone()
	if e != nil {
		return nil, e
	}
	p := strings.ToUpper(c.params["ProxyPattern"])
	if p != "ZONE" && p != "RECORD" {
		return nil, bad("InvalidParameter", "The specified parameter ProxyPattern is not valid.")
	}
	z.ProxyPattern, z.updated = p, c.s.now()
	c.logPrivate(z, "PV_ZONE", z.ID, z.Name, "update", "proxy pattern "+p)
	return obj{"ZoneId": z.ID}, nil
}

func zoneRecordObject(z *zone, r *Record) obj {
	return obj{
		"RecordId": r.ID, "ZoneId": z.ID, "Rr": r.RR, "Type": r.Type, "Value": r.Value, "Ttl": r.TTL, "Priority": r.Priority,
		"Line": r.Line, "Weight": r.Weight, "Status": r.status(), "Remark": r.Remark, "RegionId": "",
		"CreateTime": stamp(r.Created), "CreateTimestamp": r.Created.UnixMilli(),
		"UpdateTime": stamp(r.Updated), "UpdateTimestamp": r.Updated.UnixMilli(),
	}
}

// describeZoneRecords looks for the key word in the RR alone; EXACT is the
// mode where none is given.
func describeZoneRecords(c *call) (obj, *apiError) {
	z, e := c.privateZone()
	if e != nil {
		return nil, e
	}
	word, like := c.params["Keyword"], strings.EqualFold(c.params["SearchMode"], "LIKE")
	var list []*Record
	for _, r := range slices.Backward(c.records(z)) {
		if word == "" || like && contains(r.RR, word) || strings.EqualFold(r.RR, word) {
			list = append(list, r)
		}
	}
	part, o, e := items(c, list)
	if e != nil {
		return nil, e
	}
	records := make([]obj, 0, len(part))
	for _, r := range part {
		records = append(records, zoneRecordObject(z, r))
	}
	o["Records"] = obj{"Record": records}
	return o, nil
}

func describeZoneRecord(c *call) (obj, *apiError) {
	z, r, e := c.privateRecord()
	if e != nil {
		return nil, e
	}
	for _, o := range c.records(z) {
		if o.ID == r.ID {
			return zoneRecordObject(z, o), nil
		}
	}
	return nil, bad("Record.NotExists", "The record does not exist.")
}

// draftPrivate reads the record that a call wants written.
func (c *call) draftPrivate(z *zone, old *Record) (Record, *apiError) {
	r := Record{Zone: z.Name, Weight: 1}
	if old != nil {
		r = *old
	}
	p := c.params
	r.RR, r.Type, r.Line = strings.ToLower(p["Rr"]), strings.ToUpper(p["Type"]), cmp.Or(p["Line"], "default")
	r.Value = dotless(r.Type, p["Value"])
	if !slices.Contains([]string{"A", "AAAA", "CNAME", "TXT", "MX", "PTR", "SRV"}, r.Type) {
		return r, bad("Record.Invalid.Type", "Record type is invalid.")
	}
	if validRR(r.RR, z.Name) != nil {
		return r, bad("Record.Invalid.Rr", "Record rr is invalid.")
	}
	if !validValue(r.Type, r.Value) {
		return r, bad("Record.Invalid.Value", "Record value is invalid.")
	}
	if !knownLine(r.Line) {
		return r, bad("Record.Invalid.Line", "Record line is invalid.")
	}
	ttl, err := strconv.ParseInt(cmp.Or(p["Ttl"], "60"), 10, 64)
	if err != nil || ttl < z.MinTTL || ttl > maxTTL {
		return r, bad("Record.Invalid.TTL", "Record ttl is invalid: %d to %d.", z.MinTTL, maxTTL)
	}
	r.TTL = ttl
	if w := p["Weight"]; w != "" {
		n, err := strconv.Atoi(w)
		if err != nil || n < 0 || n > 100 {
			return r, bad("Record.Invalid.Weight", "Record weight is invalid: 0 to 100.")
		}
		r.Weight = n
	}
	r.Priority = 0
	if r.Type == "MX" {
		if r.Priority, err = strconv.ParseInt(p["Priority"], 10, 64); err != nil || r.Priority < 1 || r.Priority > 99 {
			return r, bad("Record.Invalid.Priority", "Record priority is invalid: 1 to 99.")
		}
	}
	// A record that is there already and one that cannot stand beside another
	// are the same error here. An update that changes nothing is none.
	if e := c.s.collides(z, r); e != nil {
		if old != nil && e.code == "DomainRecordDuplicate" && sameRecord(*old, r) {
			return r, nil
		}
		return r, bad("Record.Invalid.Conflict", "Record conflicts with existing records.")
	}
	return r, nil
}

func sameRecord(a, b Record) bool {
	return strings.EqualFold(a.RR, b.RR) && a.Type == b.Type && strings.EqualFold(a.Value, b.Value) && a.Line == b.Line
}

func addZoneRecord(c *call) (obj, *apiError) {
	z, e := c.privateZone()
	if e != nil {
		return nil, e
	}
	return c.once(z, func() (obj, *apiError) {
		r, e := c.draftPrivate(z, nil)
		if e != nil {
			return nil, e
		}
		if !c.s.remarkable(c.params["Remark"]) {
			return nil, badRemark()
		}
		r.Remark = c.params["Remark"]
		r = c.s.addRecord(z, r)
		c.logRecord(z, &r, "add")
		return obj{"RecordId": r.ID, "Success": true}, nil
	})
}

func updateZoneRecord(c *call) (obj, *apiError) {
	z, old, e := c.privateRecord()
	if e != nil {
		return nil, e
	}
	return c.once(z, func() (obj, *apiError) {
		r, e := c.draftPrivate(z, old)
		if e != nil {
			return nil, e
		}
		c.s.put(z, r)
		c.logRecord(z, &r, "update")
		return obj{"RecordId": r.ID}, nil
	})
}

func updateRecordRemark(c *call) (obj, *apiError) {
	z, old, e := c.privateRecord()
	if e != nil {
		return nil, e
	}
	if !c.s.remarkable(c.params["Remark"]) {
		return nil, badRemark()
	}
	r := *old
	r.Remark = c.params["Remark"]
	c.s.put(z, r)
	c.logRecord(z, &r, "remark")
	return obj{"RecordId": r.ID}, nil
}

func setZoneRecordStatus(c *call) (obj, *apiError) {
	z, old, e := c.privateRecord()
	if e != nil {
		return nil, e
	}
	r := *old
	switch c.params["Status"] {
	case "ENABLE":
		r.Disabled = false
	case "DISABLE":
		r.Disabled = true
	default:
		return nil, bad("InvalidParameter", "The specified parameter Status is not valid.")
	}
	c.s.put(z, r)
	c.logRecord(z, &r, "status")
	return obj{"RecordId": r.ID, "Status": r.status()}, nil
}

func deleteZoneRecord(c *call) (obj, *apiError) {
	z, r, e := c.privateRecord()
	if e != nil {
		return nil, e
	}
	c.s.remove(z, r.ID)
	c.logRecord(z, r, "delete")
	return obj{"RecordId": r.ID}, nil
}

func (c *call) logRecord(z *zone, r *Record, action string) {
	c.logPrivate(z, "PV_RECORD", strconv.FormatInt(r.ID, 10), r.RR+"."+z.Name, action, action+" "+recordText(r))
}

func (c *call) logPrivate(z *zone, object, id, name, action, content string) {
	c.log(z, Record{RR: name}, action, content)
	l := &z.logs[len(z.logs)-1]
	l.object, l.entity = object, id
}

func describeChangeLogs(c *call) (obj, *apiError) {
	from, e := c.number("StartTimestamp", 0)
	if e != nil {
		return nil, e
	}
	to, e := c.number("EndTimestamp", 1<<62)
	if e != nil {
		return nil, e
	}
	kind, id := c.params["EntityType"], c.params["ZoneId"]
	if kind != "PV_ZONE" && kind != "PV_RECORD" {
		kind = ""
	}
	var list []logEntry
	for _, z := range c.s.zones {
		for _, l := range z.logs {
			if z.Private && (id == "" || z.ID == id && l.object == "PV_RECORD") && same(l.object, kind) &&
				contains(l.message, c.params["Keyword"]) && l.at.UnixMilli() >= from && l.at.UnixMilli() <= to {
				list = append(list, l)
			}
		}
	}
	slices.SortFunc(list, func(a, b logEntry) int { return cmp.Compare(b.id, a.id) })
	part, o, e := items(c, list)
	if e != nil {
		return nil, e
	}
	logs := make([]obj, 0, len(part))
	for _, l := range part {
		logs = append(logs, obj{
			"Id": l.id, "OperTimestamp": l.at.UnixMilli(), "OperTime": stamp(l.at), "OperIp": l.client, "OperAction": l.action,
			"OperObject": l.object, "EntityId": l.entity, "EntityName": l.rr, "Content": l.message,
			"CreatorId": c.s.opts.Account, "CreatorType": "USER", "CreatorSubType": "CUSTOMER",
		})
	}
	o["ChangeLogs"] = obj{"ChangeLog": logs}
	return o, nil
}
