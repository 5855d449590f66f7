package alicloud

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

func alidnsAPI() product {
	return product{
		name: "Alidns", host: "alidns.aliyuncs.com", version: "2015-01-09",
		actions: map[string]action{
			"DescribeDomains":          {do: describeDomains},
			"DescribeDomainInfo":       {needs: []string{"DomainName"}, do: describeDomainInfo},
			"DescribeDomainNs":         {needs: []string{"DomainName"}, do: describeDomainNs},
			"AddDomain":                {needs: []string{"DomainName"}, write: true, do: addDomain},
			"DeleteDomain":             {needs: []string{"DomainName"}, write: true, do: deleteDomain},
			"DescribeDomainRecords":    {needs: []string{"DomainName"}, do: describeDomainRecords},
			"DescribeSubDomainRecords": {needs: []string{"SubDomain"}, do: describeSubDomainRecords},
			"DescribeDomainRecordInfo": {needs: []string{"RecordId"}, do: describeDomainRecordInfo},
			"AddDomainRecord":          {needs: []string{"DomainName", "RR", "Type", "Value"}, write: true, do: addDomainRecord},
			"UpdateDomainRecord":       {needs: []string{"RecordId", "RR", "Type", "Value"}, write: true, do: updateDomainRecord},
			"DeleteDomainRecord":       {needs: []string{"RecordId"}, write: true, do: deleteDomainRecord},
			"DeleteSubDomainRecords":   {needs: []string{"DomainName", "RR"}, write: true, do: deleteSubDomainRecords},
			"SetDomainRecordStatus":    {needs: []string{"RecordId", "Status"}, write: true, do: setDomainRecordStatus},
			"UpdateDomainRecordRemark": {needs: []string{"RecordId"}, write: true, do: updateDomainRecordRemark},
			"DescribeRecordLogs":       {needs: []string{"DomainName"}, do: describeRecordLogs},
			"DescribeSupportLines":     {do: describeSupportLines},
			"SetDNSSLBStatus":          {needs: []string{"SubDomain", "Open"}, write: true, do: setDNSSLBStatus},
			"UpdateDNSSLBWeight":       {needs: []string{"RecordId", "Weight"}, write: true, do: updateDNSSLBWeight},
			"DescribeDNSSLBSubDomains": {needs: []string{"DomainName"}, do: describeDNSSLBSubDomains},
		},
	}
}

// domain is the public zone that the call names.
func (c *call) domain() (*zone, *apiError) {
	if z := c.s.zoneNamed(c.params["DomainName"], false); z != nil {
		return z, nil
	}
	return nil, bad("InvalidDomainName.NoExist", "The specified domain name does not exist. Refresh the page and try again.")
}

// owned is the public record that the call names.
func (c *call) owned() (*zone, *Record, *apiError) {
	id, err := strconv.ParseInt(c.params["RecordId"], 10, 64)
	if err == nil {
		if z, r := c.s.find(id, false); z != nil {
			return z, r, nil
		}
	}
	return nil, nil, notOwned()
}

func notOwned() *apiError {
	return bad("DomainRecordNotBelongToUser", "The domain record does not belong to this user.")
}

func locked() *apiError { return bad("DomainRecordLocked", "The domain record has been locked.") }

// changeable is the record that the call names, if it may be changed.
func (c *call) changeable() (*zone, *Record, *apiError) {
	z, r, e := c.owned()
	if e == nil && r.Locked {
		e = locked()
	}
	return z, r, e
}

// number reads a parameter that is a number; without it the default holds.
func (c *call) number(name string, otherwise int64) (int64, *apiError) {
	v := c.params[name]
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, bad("InvalidParameter", "The specified parameter %s is not valid.", name)
	}
	return n, nil
}

// page cuts a list as PageNumber and PageSize say; largest is the most that a
// page may have.
func page[T any](c *call, list []T, largest int64) (part []T, number, size int64, e *apiError) {
	if number, e = c.number("PageNumber", 1); e != nil {
		return nil, 0, 0, e
	}
	if size, e = c.number("PageSize", 20); e != nil {
		return nil, 0, 0, e
	}
	if number < 1 || number > 1<<31 {
		return nil, 0, 0, bad("InvalidParameter", "The specified parameter PageNumber is not valid.")
	}
	if size < 1 || size > largest {
		return nil, 0, 0, bad("InvalidParameter", "The specified parameter PageSize is not valid: 1 to %d.", largest)
	}
	from := min((number-1)*size, int64(len(list)))
	return list[from:min(from+size, int64(len(list)))], number, size, nil
}

// domainObject is what all answers say of a zone.
func (c *call) domainObject(z *zone) obj {
	return obj{
		"DomainId": z.ID, "DomainName": z.Name, "PunyCode": punyCode(z.Name), "AliDomain": true,
		"VersionCode": z.Edition.Code, "VersionName": z.Edition.Name, "InstanceId": "",
		"GroupId": "", "GroupName": "", "Remark": z.remark, "ResourceGroupId": "rg-lab",
		"CreateTime": stamp(z.created), "DnsServers": obj{"DnsServer": c.s.nameServers()},
	}
}

func describeDomains(c *call) (obj, *apiError) {
	word, mode := c.params["KeyWord"], strings.ToUpper(c.params["SearchMode"])
	var list []*zone
	for _, z := range slices.Backward(c.s.zones) {
		if !z.Private && (word == "" || mode == "EXACT" && strings.EqualFold(z.Name, word) || mode != "EXACT" && contains(z.Name, word)) {
			list = append(list, z)
		}
	}
	part, number, size, e := page(c, list, 100)
	if e != nil {
		return nil, e
	}
	domains := make([]obj, 0, len(part))
	for _, z := range part {
		o := c.domainObject(z)
		o["RecordCount"], o["CreateTimestamp"], o["Starmark"] = len(z.records()), z.created.UnixMilli(), false
		o["InstanceExpired"], o["Tags"] = false, obj{"Tag": []obj{}}
		domains = append(domains, o)
	}
	return obj{
		"TotalCount": len(list), "PageNumber": number, "PageSize": size, "Domains": obj{"Domain": domains},
	}, nil
}

// describeDomainNs tells what the parent zone says from what it should say.
func describeDomainNs(c *call) (obj, *apiError) {
	z, e := c.domain()
	if e != nil {
		return nil, e
	}
	expected := c.s.nameServers()
	now := z.DelegatedTo
	if len(now) == 0 {
		now = expected
	}
	here := 0
	for _, n := range now {
		if slices.ContainsFunc(expected, func(e string) bool { return canonical(e) == canonical(n) }) {
			here++
		}
	}
	return obj{
		"AllAliDns": here == len(now), "IncludeAliDns": here > 0, "DetectFailedReasonCode": "",
		"DnsServers": obj{"DnsServer": now}, "ExpectDnsServers": obj{"ExpectDnsServer": expected},
	}, nil
}

func addDomain(c *call) (obj, *apiError) {
	name := canonical(c.params["DomainName"])
	if c.s.zoneNamed(name, false) != nil {
		return nil, bad("DomainAlreadyExist", "The domain name already exists.")
	}
	if !strings.Contains(name, ".") || !validValue("CNAME", name) {
		return nil, bad("InvalidDomainName.Format", "Invalid domain name.")
	}
	id, err := c.s.addZone(Zone{Name: name, Edition: Free})
	if err != nil {
		return nil, bad("InvalidDomainName.Format", "Invalid domain name.")
	}
	return obj{
		"DomainId": id, "DomainName": name, "PunyCode": punyCode(name), "GroupId": "", "GroupName": "",
		"DnsServers": obj{"DnsServer": c.s.nameServers()},
	}, nil
}

func deleteDomain(c *call) (obj, *apiError) {
	z, e := c.domain()
	if e != nil {
		return nil, e
	}
	c.s.zones = slices.DeleteFunc(c.s.zones, func(o *zone) bool { return o == z })
	return obj{"DomainName": z.Name}, nil
}

func describeDomainInfo(c *call) (obj, *apiError) {
	z, e := c.domain()
	if e != nil {
		return nil, e
	}
	o := c.domainObject(z)
	for k, v := range map[string]any{
		"InBlackHole": false, "InClean": false, "SlaveDns": false, "RegionLines": true, "LineType": "",
	} {
		o[k] = v
	}
	if c.params["NeedDetailAttributes"] == "true" {
		o["MinTtl"] = z.MinTTL
		o["AvailableTtls"] = obj{"AvailableTtl": availableTTLs(z.MinTTL)}
		o["RecordLines"] = obj{"RecordLine": recordLines()}
		o["RecordLineTreeJson"] = recordLineTree()
	}
	return o, nil
}

func availableTTLs(floor int64) []string {
	var out []string
	for _, t := range []int64{1, 5, 10, 60, 120, 600, 1800, 3600, 43200, 86400} {
		if t >= floor {
			out = append(out, strconv.FormatInt(t, 10))
		}
	}
	return out
}

// recordObject is a record as the lists of Alidns show it.
func recordObject(r *Record) obj {
	o := obj{
		"RecordId": strconv.FormatInt(r.ID, 10), "DomainName": r.Zone, "RR": r.RR, "Type": r.Type, "Value": r.Value,
		"TTL": r.TTL, "Line": r.Line, "Status": r.status(), "Locked": r.Locked, "Weight": r.Weight,
		"CreateTimestamp": r.Created.UnixMilli(), "UpdateTimestamp": r.Updated.UnixMilli(),
	}
	if r.Type == "MX" {
		o["Priority"] = r.Priority
	}
	if r.Remark != "" {
		o["Remark"] = r.Remark
	}
	return o
}

func recordObjects(list []*Record) []obj {
	out := make([]obj, 0, len(list))
	for _, r := range list {
		out = append(out, recordObject(r))
	}
	return out
}

func describeDomainRecords(c *call) (obj, *apiError) {
	z, e := c.domain()
	if e != nil {
		return nil, e
	}
	list, e := c.search(c.records(z))
	if e != nil {
		return nil, e
	}
	part, number, size, e := page(c, list, 500)
	if e != nil {
		return nil, e
	}
	return obj{
		"TotalCount": len(list), "PageNumber": number, "PageSize": size,
		"DomainRecords": obj{"Record": recordObjects(part)},
	}, nil
}

// search filters and orders as DescribeDomainRecords does. Key words are
// substrings without case; types, lines and states are whole words. LIKE and
// EXACT look for KeyWord alone, in RR and Value; the other filters count in
// ADVANCED, COMBINATION, and where no mode is given.
func (c *call) search(records []*Record) ([]*Record, *apiError) {
	p := c.params
	mode := strings.ToUpper(p["SearchMode"])
	if mode != "" && !slices.Contains([]string{"LIKE", "EXACT", "ADVANCED", "COMBINATION"}, mode) {
		return nil, bad("InvalidParameter", "The specified parameter SearchMode is not valid.")
	}
	var list []*Record
	for _, r := range records {
		word := p["KeyWord"]
		var ok bool
		switch mode {
		case "EXACT":
			ok = word == "" || strings.EqualFold(r.RR, word) || strings.EqualFold(r.Value, word)
		case "LIKE":
			ok = contains(r.RR, word) || contains(r.Value, word)
		default:
			ok = (contains(r.RR, word) || contains(r.Value, word)) &&
				contains(r.RR, p["RRKeyWord"]) && contains(r.Value, p["ValueKeyWord"]) &&
				same(r.Type, p["TypeKeyWord"]) && same(r.Type, p["Type"]) &&
				same(r.Line, p["Line"]) && same(r.status(), p["Status"])
		}
		if ok {
			list = append(list, r)
		}
	}
	up := strings.EqualFold(p["Direction"], "ASC")
	slices.SortStableFunc(list, func(a, b *Record) int {
		var n int
		switch strings.ToLower(p["OrderBy"]) {
		case "rr", "host":
			n = strings.Compare(a.RR, b.RR)
		case "value":
			n = strings.Compare(a.Value, b.Value)
		case "type":
			n = strings.Compare(a.Type, b.Type)
		case "ttl":
			n = cmp.Compare(a.TTL, b.TTL)
		case "updatetimestamp":
			n = a.Updated.Compare(b.Updated)
		}
		n = cmp.Or(n, cmp.Compare(a.ID, b.ID))
		if !up {
			n = -n
		}
		return n
	})
	return list, nil
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// same says whether a filter that may be empty lets a word through.
func same(s, want string) bool { return want == "" || strings.EqualFold(s, want) }

// draft reads the record that a call wants written; the floor of the TTL, the
// line, the value and what stands beside it are checked.
func (c *call) draft(z *zone, old *Record) (Record, *apiError) {
	r := Record{Zone: z.Name, Weight: 1}
	if old != nil {
		r = *old
	}
	p := c.params
	r.RR, r.Type, r.Line = strings.ToLower(p["RR"]), strings.ToUpper(p["Type"]), cmp.Or(p["Line"], "default")
	if !slices.Contains(recordTypes, r.Type) {
		return r, bad("SubDomainInvalid.Type", "The specified type of the record is not valid.")
	}
	if e := validRR(r.RR, z.Name); e != nil {
		return r, e
	}
	r.Value = dotless(r.Type, p["Value"])
	if !validValue(r.Type, r.Value) {
		return r, bad("SubDomainInvalid.Value", "The DNS record value is invalid.")
	}
	if !knownLine(r.Line) {
		return r, bad("SubDomainInvalid.Line", "The specified line is not valid.")
	}
	// A TTL that is left out is 600 again, whatever the record had.
	ttl, err := strconv.ParseInt(cmp.Or(p["TTL"], "600"), 10, 64)
	switch {
	case err != nil || ttl < 1 || ttl > maxTTL:
		return r, bad("SubDomainInvalid.TTL", "Specified parameter TTL is not valid.")
	case ttl < z.MinTTL && (old == nil || ttl != old.TTL):
		return r, bad("QuotaExceeded.TTL", "The TTL is lower than the edition of this domain name allows: %d.", z.MinTTL)
	}
	r.TTL = ttl
	if r.Type == "MX" {
		n, err := strconv.ParseInt(p["Priority"], 10, 64)
		if err != nil || n < 1 || n > 50 {
			return r, bad("SubDomainInvalid.Priority", "The specified priority is not valid.")
		}
		r.Priority = n
	} else {
		r.Priority = 0
	}
	return r, c.s.collides(z, r)
}

var recordTypes = []string{"A", "AAAA", "CNAME", "MX", "NS", "TXT", "SRV", "CAA", "REDIRECT_URL", "FORWARD_URL", "SVCB", "HTTPS", "ALIAS"}

func validRR(rr, zone string) *apiError {
	switch {
	case rr == "@":
		return nil
	case len(rr)+1+len(zone) > 253:
		return bad("InvalidRR.Length", "The length of the host record is not valid.")
	}
	for i, label := range strings.Split(rr, ".") {
		ok := label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-' &&
			(label == "*" && i == 0 || !strings.ContainsFunc(label, func(r rune) bool {
				return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r > 127)
			}))
		if !ok {
			return bad("InvalidRR.Format", "The format of the host record is not valid.")
		}
	}
	return nil
}

// besideCNAME are types that a CNAME of the same RR and line cannot stand
// beside; MX joins them below the apex.
var besideCNAME = []string{"A", "AAAA", "REDIRECT_URL", "FORWARD_URL", "ALIAS", "SRV", "CAA", "SVCB", "HTTPS"}

// collides holds a record against what stands there: the same record twice, or
// a type that excludes it. Several CNAMEs beside each other are allowed.
func (s *Server) collides(z *zone, r Record) *apiError {
	for _, o := range z.records() {
		if !strings.EqualFold(o.RR, r.RR) || o.Line != r.Line {
			continue
		}
		same := o.Type == r.Type && strings.EqualFold(o.Value, r.Value)
		if same && (o.ID != r.ID || o.TTL == r.TTL && o.Priority == r.Priority) {
			return bad("DomainRecordDuplicate", "The domain record is duplicated.")
		}
		if o.ID != r.ID && (s.excludes(r.RR, r.Type, o.Type) || s.excludes(r.RR, o.Type, r.Type)) {
			return bad("DomainRecordConflict", "The domain record is conflict with other records.")
		}
	}
	return nil
}

func (s *Server) excludes(rr, cname, other string) bool {
	if cname != "CNAME" || other == "CNAME" {
		return false
	}
	apex := rr == "@"
	return slices.Contains(besideCNAME, other) || other == "MX" && !apex || other == "NS" && !apex ||
		other == "TXT" && !apex && s.opts.ConflictTXT
}

func describeSubDomainRecords(c *call) (obj, *apiError) {
	z, rr := c.s.splitSubDomain(c.params["SubDomain"], c.params["DomainName"])
	if z == nil {
		return nil, bad("InvalidDomainName.NoExist", "The specified domain name does not exist. Refresh the page and try again.")
	}
	var list []*Record
	for _, r := range slices.Backward(c.records(z)) {
		if strings.EqualFold(r.RR, rr) && same(r.Type, c.params["Type"]) && same(r.Line, c.params["Line"]) {
			list = append(list, r)
		}
	}
	part, number, size, e := page(c, list, 500)
	if e != nil {
		return nil, e
	}
	return obj{
		"TotalCount": len(list), "PageNumber": number, "PageSize": size,
		"DomainRecords": obj{"Record": recordObjects(part)},
	}, nil
}

func describeDomainRecordInfo(c *call) (obj, *apiError) {
	z, r, e := c.owned()
	if e != nil {
		return nil, e
	}
	i := slices.IndexFunc(c.records(z), func(o *Record) bool { return o.ID == r.ID })
	if i < 0 { // it is too new for what is shown
		return nil, notOwned()
	}
	o := recordObject(c.records(z)[i])
	for _, k := range []string{"Weight", "CreateTimestamp", "UpdateTimestamp"} {
		delete(o, k)
	}
	o["DomainId"], o["PunyCode"], o["GroupId"], o["GroupName"] = z.ID, punyCode(z.Name), "", ""
	return o, nil
}

func addDomainRecord(c *call) (obj, *apiError) {
	z, e := c.domain()
	if e != nil {
		return nil, e
	}
	r, e := c.draft(z, nil)
	if e != nil {
		return nil, e
	}
	r = c.s.addRecord(z, r)
	c.log(z, r, "ADD", recordText(&r))
	return obj{"RecordId": strconv.FormatInt(r.ID, 10)}, nil
}

func deleteDomainRecord(c *call) (obj, *apiError) {
	z, r, e := c.changeable()
	if e != nil {
		return nil, e
	}
	c.s.remove(z, r.ID)
	c.log(z, *r, "DEL", recordText(r))
	return obj{"RecordId": c.params["RecordId"]}, nil
}

func deleteSubDomainRecords(c *call) (obj, *apiError) {
	z, e := c.domain()
	if e != nil {
		return nil, e
	}
	var ids []int64
	for _, r := range z.records() {
		if strings.EqualFold(r.RR, c.params["RR"]) && same(r.Type, c.params["Type"]) {
			if r.Locked {
				return nil, locked()
			}
			ids = append(ids, r.ID)
			c.log(z, *r, "DEL", recordText(r))
		}
	}
	c.s.remove(z, ids...)
	return obj{"RR": c.params["RR"], "TotalCount": strconv.Itoa(len(ids))}, nil
}

func setDomainRecordStatus(c *call) (obj, *apiError) {
	z, old, e := c.changeable()
	if e != nil {
		return nil, e
	}
	r := *old
	switch strings.ToUpper(c.params["Status"]) {
	case "ENABLE":
		r.Disabled = false
	case "DISABLE":
		r.Disabled = true
	default:
		return nil, bad("InvalidStatus", "The specified parameter Status is not valid.")
	}
	c.s.put(z, r)
	c.log(z, r, "STATUS", recordText(&r)+" "+r.status())
	// The answer spells it as the parameter is documented, not as lists do.
	status := "Enable"
	if r.Disabled {
		status = "Disable"
	}
	return obj{"RecordId": c.params["RecordId"], "Status": status}, nil
}

func describeRecordLogs(c *call) (obj, *apiError) {
	z, e := c.domain()
	if e != nil {
		return nil, e
	}
	from, to := c.params["StartDate"], c.params["endDate"] // lower case on the wire
	var list []logEntry
	for _, l := range slices.Backward(z.logs) {
		day := l.at.UTC().Format("2006-01-02")
		if (from == "" || day >= from) && (to == "" || day <= to) && contains(l.message, c.params["KeyWord"]) {
			list = append(list, l)
		}
	}
	part, number, size, e := page(c, list, 500)
	if e != nil {
		return nil, e
	}
	logs := make([]obj, 0, len(part))
	for _, l := range part {
		logs = append(logs, obj{
			"Action": l.action, "ActionTime": stamp(l.at), "ActionTimestamp": l.at.UnixMilli(), "ClientIp": l.client, "Message": l.message,
		})
	}
	return obj{
		"TotalCount": len(list), "PageNumber": number, "PageSize": size, "RecordLogs": obj{"RecordLog": logs},
	}, nil
}

func describeSupportLines(*call) (obj, *apiError) {
	return obj{"RecordLines": obj{"RecordLine": recordLines()}}, nil
}

// setDNSSLBStatus turns weights on for the records of one name, type and line.
func setDNSSLBStatus(c *call) (obj, *apiError) {
	z, rr := c.s.splitSubDomain(c.params["SubDomain"], c.params["DomainName"])
	if z == nil {
		return nil, bad("InvalidDomainName.NoExist", "The specified domain name does not exist. Refresh the page and try again.")
	}
	kind := strings.ToUpper(cmp.Or(c.params["Type"], "A"))
	if !slices.Contains([]string{"A", "AAAA", "CNAME"}, kind) {
		return nil, bad("SubDomainInvalid.Type", "Weights are for A, AAAA and CNAME.")
	}
	if strings.HasPrefix(rr, "*") {
		return nil, bad("DisabledDNSSLB", "Weights are not for wildcards.")
	}
	on := strings.EqualFold(c.params["Open"], "true")
	key := set{rr, kind, cmp.Or(c.params["Line"], "default")}
	n := 0
	for _, r := range z.records() {
		if (set{strings.ToLower(r.RR), r.Type, r.Line}) == key {
			n++
		}
	}
	if n == 0 {
		return nil, bad("InvalidRR.NoExist", "The specified record does not exist.")
	}
	z.open[key] = on
	c.log(z, Record{RR: rr}, "SLB", kind+" "+rr+" "+key.line+" "+strconv.FormatBool(on))
	return obj{"RecordCount": n, "Open": on}, nil
}

func updateDNSSLBWeight(c *call) (obj, *apiError) {
	z, old, e := c.changeable()
	if e != nil {
		return nil, e
	}
	weight, err := strconv.Atoi(c.params["Weight"])
	if err != nil || weight < 0 || weight > 100 {
		return nil, bad("InvalidParameter", "The specified parameter Weight is not valid: 0 to 100.")
	}
	if !z.open[set{strings.ToLower(old.RR), old.Type, old.Line}] {
		return nil, bad("DisabledDNSSLB", "Weights are not enabled for this record.")
	}
	r := *old
	r.Weight = weight
	c.s.put(z, r)
	c.log(z, r, "WEIGHT", recordText(&r)+" "+strconv.Itoa(weight))
	return obj{"RecordId": c.params["RecordId"], "Weight": weight}, nil
}

func describeDNSSLBSubDomains(c *call) (obj, *apiError) {
	z, e := c.domain()
	if e != nil {
		return nil, e
	}
	type name struct{ rr, kind string }
	count := map[name]map[string]int{}
	for _, r := range z.records() {
		n := name{strings.ToLower(r.RR), r.Type}
		if slices.Contains([]string{"A", "AAAA", "CNAME"}, r.Type) && same(n.rr, c.params["Rr"]) {
			if count[n] == nil {
				count[n] = map[string]int{}
			}
			count[n][r.Line]++
		}
	}
	var list []obj
	for n, byLine := range count {
		total, on := 0, false
		algorithms := []obj{}
		for _, l := range slices.Sorted(maps.Keys(byLine)) {
			total += byLine[l]
			on = on || z.open[set{n.rr, n.kind, l}]
			algorithms = append(algorithms, obj{"Line": l, "Open": z.open[set{n.rr, n.kind, l}]})
		}
		if total < 2 && !on {
			continue // there is nothing to weigh
		}
		list = append(list, obj{
			"SubDomain": strings.TrimPrefix(n.rr+"."+z.Name, "@."), "Type": n.kind, "RecordCount": total, "Open": on,
			"LineAlgorithms": obj{"LineAlgorithm": algorithms},
		})
	}
	slices.SortFunc(list, func(a, b obj) int {
		return cmp.Or(cmp.Compare(a["SubDomain"].(string), b["SubDomain"].(string)), cmp.Compare(a["Type"].(string), b["Type"].(string)))
	})
	part, number, size, e := page(c, list, 100)
	if e != nil {
		return nil, e
	}
	return obj{
		"TotalCount": len(list), "PageNumber": number, "PageSize": size, "SlbSubDomains": obj{"SlbSubDomain": slices.Concat([]obj{}, part)},
	}, nil
}

func updateDomainRecord(c *call) (obj, *apiError) {
	z, old, e := c.changeable()
	if e != nil {
		return nil, e
	}
	r, e := c.draft(z, old)
	if e != nil {
		return nil, e
	}
	c.s.put(z, r)
	c.log(z, r, "UPDATE", recordText(old)+" -> "+recordText(&r))
	return obj{"RecordId": c.params["RecordId"]}, nil
}

func updateDomainRecordRemark(c *call) (obj, *apiError) {
	z, old, e := c.owned()
	if e != nil {
		return nil, e
	}
	if !c.s.remarkable(c.params["Remark"]) {
		return nil, bad("InvalidParameter", "The specified parameter Remark is not valid: at most 50 letters, digits, blanks and _ - , .")
	}
	r := *old
	r.Remark = c.params["Remark"]
	c.s.put(z, r)
	c.log(z, r, "REMARK", recordText(&r))
	return obj{}, nil
}

// remarkable says whether a text may be a remark. PrivateZone documents the
// rule, with the error Zone.Remark (UpdateRecordRemark): 50 characters of
// letters of English and Chinese, digits, and _ - , . ，。; its own example has
// a blank. Alidns documents the same for remarks of domains and nothing for
// those of records, so a client that keeps to it is safe with both.
func (s *Server) remarkable(text string) bool {
	if s.opts.AnyRemark {
		return len(text) <= 1024
	}
	return utf8.RuneCountInString(text) <= 50 && !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || unicode.Is(unicode.Han, r) || strings.ContainsRune(" _-,.，。", r))
	})
}

// punyCode is the name as DNS carries it.
func punyCode(name string) string {
	if a, err := idna.Lookup.ToASCII(name); err == nil {
		return a
	}
	return name
}

// recordText is how logs write a record.
func recordText(r *Record) string {
	return r.Type + " " + r.RR + " " + r.Line + " " + r.Value + " (ttl:" + strconv.FormatInt(r.TTL, 10) + ")"
}

// maxLogs bounds what a zone logs.
const maxLogs = 5000

func (c *call) log(z *zone, r Record, action, message string) {
	if len(z.logs) >= maxLogs {
		z.logs = slices.Delete(z.logs, 0, maxLogs/2)
	}
	c.s.serial++
	z.logs = append(z.logs, logEntry{at: c.s.now(), id: c.s.serial, action: action, client: c.client, message: message, rr: r.RR})
}

// splitSubDomain finds the zone and the RR of a full name.
func (s *Server) splitSubDomain(name, domain string) (*zone, string) {
	name = canonical(name)
	var best *zone
	for _, z := range s.zones {
		if z.Private || domain != "" && z.Name != canonical(domain) {
			continue
		}
		if (name == z.Name || strings.HasSuffix(name, "."+z.Name)) && (best == nil || len(z.Name) > len(best.Name)) {
			best = z
		}
	}
	if best == nil {
		return nil, ""
	}
	if name == best.Name {
		return best, "@"
	}
	return best, strings.TrimSuffix(name, "."+best.Name)
}
