package alicloud

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/responses"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/pvtz"
)

// mayBeMore are keys that the vendor answers and its SDK does not know.
var mayBeMore = []string{"CreateTimestamp", "UpdateTimestamp"}

// mayBeLess are keys that the SDK knows and that are only there at times, or
// never for what the lab has.
var mayBeLess = []string{
	"Priority", "Remark", "GroupName", "Tag", "FatherCode", "InstanceEndTime", "RegistrantEmail", "CreatorSubType", "ResourceTags", "Vpcs",
}

// TestAnswersHaveTheKeysOfTheSDK holds every answer, as it came, against the
// struct that the vendor's SDK reads it into: no key that the struct lacks, and
// none of the struct that is missing. The SDK itself would read past both.
func TestAnswersHaveTheKeysOfTheSDK(t *testing.T) {
	s := start(t, Options{VPCs: []VPC{{ID: "vpc-1", Name: "orders"}}})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", Remark: "pm 1", Weight: 10})
	seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "b.back.test", Weight: 20})
	seed(t, s, Record{RR: "mail", Type: "MX", Value: "mx.back.test", Priority: 10})
	zoneID, err := s.AddZone(Zone{Name: "vpc.example.com", Private: true, VPCs: []string{"vpc-1"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.AddRecord(zoneID, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	if err != nil {
		t.Fatal(err)
	}
	id, pid := strconv.FormatInt(r.ID, 10), requests.Integer(strconv.FormatInt(p.ID, 10))
	ali, pvt := sdkClient(t, s, nil), pvtzClient(t, s)

	seen := map[string]bool{}
	check := func(product string, response responses.AcsResponse, err error) {
		t.Helper()
		name := strings.TrimSuffix(reflect.TypeOf(response).Elem().Name(), "Response")
		seen[name] = true
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var v any
		if err := json.Unmarshal(response.GetHttpContentBytes(), &v); err != nil {
			t.Fatal(err)
		}
		for _, fault := range keyFaults(name, v, reflect.TypeOf(response).Elem()) {
			t.Errorf("%s %s: %s", product, fault, response.GetHttpContentString())
		}
	}

	// Alidns.
	{
		q := alidns.CreateAddDomainRequest()
		q.DomainName = "other.example"
		a, err := ali.AddDomain(q)
		check("alidns", a, err)
	}
	{
		q := alidns.CreateDescribeDomainsRequest()
		q.KeyWord = "EXAMPLE"
		a, err := ali.DescribeDomains(q)
		check("alidns", a, err)
		if a.TotalCount != 2 || a.Domains.Domain[0].DomainName != "other.example" || a.Domains.Domain[1].RecordCount != 3 {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateDescribeDomainInfoRequest()
		q.DomainName, q.NeedDetailAttributes = "example.com", "true"
		a, err := ali.DescribeDomainInfo(q)
		check("alidns", a, err)
	}
	{
		q := alidns.CreateDescribeDomainNsRequest()
		q.DomainName = "example.com"
		a, err := ali.DescribeDomainNs(q)
		check("alidns", a, err)
		if !a.AllAliDns || !a.IncludeAliDns {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateAddDomainRecordRequest()
		q.DomainName, q.RR, q.Type, q.Value, q.Line = "example.com", "orders", "CNAME", "a.back.test.", "telecom"
		a, err := ali.AddDomainRecord(q)
		check("alidns", a, err)
		if now, _ := s.Record("example.com", "orders", "telecom"); strconv.FormatInt(now.ID, 10) != a.RecordId || now.TTL != 600 || now.Value != "a.back.test" {
			t.Errorf("%+v %+v", now, a)
		}
	}
	{
		q := alidns.CreateDescribeDomainRecordsRequest()
		q.DomainName = "example.com"
		a, err := ali.DescribeDomainRecords(q)
		check("alidns", a, err)
		if a.TotalCount != 4 || a.PageSize != 20 || a.DomainRecords.Record[0].Line != "telecom" { // the newest first
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateDescribeSubDomainRecordsRequest()
		q.SubDomain, q.Line = "Orders.Example.com", "default"
		a, err := ali.DescribeSubDomainRecords(q)
		check("alidns", a, err)
		if a.TotalCount != 2 {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateDescribeDomainRecordInfoRequest()
		q.RecordId = id
		a, err := ali.DescribeDomainRecordInfo(q)
		check("alidns", a, err)
		if a.Value != "a.back.test" || a.Remark != "pm 1" || a.RecordId != id {
			t.Errorf("%+v", a)
		}
	}
	{
		a, err := ali.UpdateDomainRecord(update(r, "c.back.test", 30))
		check("alidns", a, err)
	}
	{
		q := alidns.CreateUpdateDomainRecordRemarkRequest()
		q.RecordId, q.Remark = id, "pm.2"
		a, err := ali.UpdateDomainRecordRemark(q)
		check("alidns", a, err)
	}
	{
		q := alidns.CreateSetDNSSLBStatusRequest()
		q.SubDomain, q.Open, q.Type = "orders.example.com", "true", "CNAME"
		a, err := ali.SetDNSSLBStatus(q)
		check("alidns", a, err)
		if !a.Open || a.RecordCount != 2 {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateUpdateDNSSLBWeightRequest()
		q.RecordId, q.Weight = id, "7"
		a, err := ali.UpdateDNSSLBWeight(q)
		check("alidns", a, err)
		if a.Weight != 7 {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateDescribeDNSSLBSubDomainsRequest()
		q.DomainName = "example.com"
		a, err := ali.DescribeDNSSLBSubDomains(q)
		check("alidns", a, err)
		if a.TotalCount != 1 || a.SlbSubDomains.SlbSubDomain[0].SubDomain != "orders.example.com" || !a.SlbSubDomains.SlbSubDomain[0].Open {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateSetDomainRecordStatusRequest()
		q.RecordId, q.Status = id, "DISABLE"
		a, err := ali.SetDomainRecordStatus(q)
		check("alidns", a, err)
		if a.Status != "Disable" {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateDescribeRecordLogsRequest()
		q.DomainName, q.KeyWord = "example.com", "C.BACK"
		a, err := ali.DescribeRecordLogs(q)
		check("alidns", a, err)
		if a.TotalCount == 0 || !slices.ContainsFunc(a.RecordLogs.RecordLog, func(l alidns.RecordLog) bool { return l.Action == "UPDATE" && l.ClientIp == "127.0.0.1" }) {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateDescribeSupportLinesRequest()
		a, err := ali.DescribeSupportLines(q)
		check("alidns", a, err)
	}
	{
		q := alidns.CreateDeleteDomainRecordRequest()
		q.RecordId = id
		a, err := ali.DeleteDomainRecord(q)
		check("alidns", a, err)
	}
	{
		q := alidns.CreateDeleteSubDomainRecordsRequest()
		q.DomainName, q.RR, q.Type = "example.com", "orders", "CNAME"
		a, err := ali.DeleteSubDomainRecords(q)
		check("alidns", a, err)
		if a.TotalCount != "2" || len(s.Records("example.com")) != 1 {
			t.Errorf("%+v", a)
		}
	}
	{
		q := alidns.CreateDeleteDomainRequest()
		q.DomainName = "other.example"
		a, err := ali.DeleteDomain(q)
		check("alidns", a, err)
	}

	// PrivateZone.
	{
		q := pvtz.CreateAddZoneRequest()
		q.ZoneName, q.ProxyPattern = "Other.Example.", "RECORD"
		a, err := pvt.AddZone(q)
		check("pvtz", a, err)
		b := pvtz.CreateBindZoneVpcRequest()
		b.ZoneId, b.Vpcs = a.ZoneId, &[]pvtz.BindZoneVpcVpcs{{VpcId: "vpc-1", RegionId: "cn-hangzhou"}}
		bound, err := pvt.BindZoneVpc(b)
		check("pvtz", bound, err)
		d := pvtz.CreateDeleteZoneRequest()
		d.ZoneId = a.ZoneId
		_, err = pvt.DeleteZone(d)
		refused(t, err, 400, "Zone.VpcExists")
		b = pvtz.CreateBindZoneVpcRequest() // the SDK would send again what a used one had
		b.ZoneId = a.ZoneId
		if _, err := pvt.BindZoneVpc(b); err != nil {
			t.Fatal(err)
		}
		gone, err := pvt.DeleteZone(d)
		check("pvtz", gone, err)
	}
	{
		q := pvtz.CreateCheckZoneNameRequest()
		q.ZoneName = "vpc.example.com"
		a, err := pvt.CheckZoneName(q)
		check("pvtz", a, err)
		if a.Check {
			t.Error("free")
		}
	}
	{
		q := pvtz.CreateDescribeZonesRequest()
		q.QueryVpcId = "vpc-1"
		a, err := pvt.DescribeZones(q)
		check("pvtz", a, err)
		if a.TotalItems != 1 || a.TotalPages != 1 || a.Zones.Zone[0].ZoneId != zoneID || a.Zones.Zone[0].DnsGroup != "FAST_ZONE" {
			t.Errorf("%+v", a)
		}
	}
	{
		q := pvtz.CreateSetProxyPatternRequest()
		q.ZoneId, q.ProxyPattern = zoneID, "RECORD"
		a, err := pvt.SetProxyPattern(q)
		check("pvtz", a, err)
	}
	{
		q := pvtz.CreateUpdateZoneRemarkRequest()
		q.ZoneId, q.Remark = zoneID, "orders"
		a, err := pvt.UpdateZoneRemark(q)
		check("pvtz", a, err)
	}
	{
		q := pvtz.CreateDescribeZoneInfoRequest()
		q.ZoneId = zoneID
		a, err := pvt.DescribeZoneInfo(q)
		check("pvtz", a, err)
		if a.ProxyPattern != "RECORD" || len(a.BindVpcs.Vpc) != 1 || a.BindVpcs.Vpc[0].VpcName != "orders" {
			t.Errorf("%+v", a)
		}
	}
	{
		a, err := pvt.DescribeZoneVpcTree(pvtz.CreateDescribeZoneVpcTreeRequest())
		check("pvtz", a, err)
		if len(a.Zones.Zone) != 1 || len(a.Zones.Zone[0].Vpcs.Vpc) != 1 || a.Zones.Zone[0].Vpcs.Vpc[0].VpcId != "vpc-1" {
			t.Errorf("%+v", a)
		}
	}
	{
		q := pvtz.CreateAddZoneRecordRequest()
		q.ZoneId, q.Rr, q.Type, q.Value, q.ClientToken = zoneID, "billing", "CNAME", "a.back.test", "once"
		a, err := pvt.AddZoneRecord(q)
		check("pvtz", a, err)
		again, err := pvt.AddZoneRecord(q)
		if err != nil || again.RecordId != a.RecordId {
			t.Errorf("%+v %v", again, err)
		}
		q.ClientToken = "twice"
		_, err = pvt.AddZoneRecord(q)
		refused(t, err, 400, "Record.Invalid.Conflict")
		d := pvtz.CreateDeleteZoneRecordRequest()
		d.RecordId = requests.Integer(strconv.FormatInt(a.RecordId, 10))
		gone, err := pvt.DeleteZoneRecord(d)
		check("pvtz", gone, err)
		_, err = pvt.DeleteZoneRecord(d)
		refused(t, err, 400, "Record.NotExists")
	}
	{
		q := pvtz.CreateUpdateZoneRecordRequest()
		q.RecordId, q.Rr, q.Type, q.Value, q.Ttl, q.Weight = pid, "orders", "CNAME", "b.back.test", "5", "3"
		a, err := pvt.UpdateZoneRecord(q)
		check("pvtz", a, err)
		if now, _ := s.Record(zoneID, "orders", ""); now.Value != "b.back.test" || now.TTL != 5 || now.Weight != 3 || a.RecordId != p.ID {
			t.Errorf("%+v", now)
		}
		q.Ttl = "4"
		_, err = pvt.UpdateZoneRecord(q)
		refused(t, err, 400, "Record.Invalid.TTL")
	}
	{
		q := pvtz.CreateUpdateRecordRemarkRequest()
		q.RecordId, q.Remark = pid, "pm.1,2-x_y 中文，。"
		a, err := pvt.UpdateRecordRemark(q)
		check("pvtz", a, err)
		for _, remark := range []string{"v=1", strings.Repeat("x", 51), "a:b", "a/b"} {
			q.Remark = remark
			_, err = pvt.UpdateRecordRemark(q)
			refused(t, err, 400, "Zone.Remark")
		}
	}
	{
		q := pvtz.CreateSetZoneRecordStatusRequest()
		q.RecordId, q.Status = pid, "DISABLE"
		a, err := pvt.SetZoneRecordStatus(q)
		check("pvtz", a, err)
	}
	{
		q := pvtz.CreateDescribeZoneRecordsRequest()
		q.ZoneId, q.Keyword = zoneID, "order" // EXACT where no mode is given
		a, err := pvt.DescribeZoneRecords(q)
		check("pvtz", a, err)
		if a.TotalItems != 0 {
			t.Errorf("%+v", a)
		}
		q.SearchMode = "LIKE"
		a, err = pvt.DescribeZoneRecords(q)
		check("pvtz", a, err)
		if a.TotalItems != 1 || a.Records.Record[0].RecordId != p.ID || a.Records.Record[0].Status != "DISABLE" {
			t.Errorf("%+v", a)
		}
	}
	{
		q := pvtz.CreateDescribeZoneRecordRequest()
		q.RecordId = pid
		a, err := pvt.DescribeZoneRecord(q)
		check("pvtz", a, err)
	}
	{
		q := pvtz.CreateDescribeChangeLogsRequest()
		q.ZoneId, q.EntityType = zoneID, "PV_RECORD"
		a, err := pvt.DescribeChangeLogs(q)
		check("pvtz", a, err)
		if a.TotalItems < 4 || a.ChangeLogs.ChangeLog[0].OperObject != "PV_RECORD" {
			t.Errorf("%+v", a)
		}
	}

	for _, p := range []product{alidnsAPI(), pvtzAPI()} {
		for name := range p.actions {
			if !seen[name] {
				t.Errorf("%s of %s was not called", name, p.name)
			}
		}
	}
}

// keyFaults compares the keys of JSON with the struct that it is read into.
func keyFaults(at string, v any, want reflect.Type) []string {
	for want.Kind() == reflect.Pointer {
		want = want.Elem()
	}
	var faults []string
	switch v := v.(type) {
	case map[string]any:
		fields := map[string]reflect.Type{}
		for i := range want.NumField() {
			if f := want.Field(i); !f.Anonymous {
				fields[f.Tag.Get("json")] = f.Type
			}
		}
		for k, e := range v {
			if f, ok := fields[k]; ok {
				faults = append(faults, keyFaults(at+"."+k, e, f)...)
			} else if !slices.Contains(mayBeMore, k) {
				faults = append(faults, at+"."+k+" is not known to the SDK")
			}
		}
		for k := range fields {
			if _, ok := v[k]; !ok && !slices.Contains(mayBeLess, k) {
				faults = append(faults, at+"."+k+" is missing")
			}
		}
	case []any:
		for _, e := range v {
			faults = append(faults, keyFaults(at+"[]", e, want.Elem())...)
		}
	}
	return faults
}

// The check of keys refuses what it is for.
func TestKeyFaultsAreSeen(t *testing.T) {
	type inner struct {
		A string `json:"A"`
	}
	type outer struct {
		B []inner `json:"B"`
		C string  `json:"C"`
	}
	for text, want := range map[string]int{
		`{"B":[{"A":"x"}],"C":""}`: 0, `{"B":[{"a":"x"}],"C":""}`: 2, `{"B":[]}`: 1, `{"B":[],"C":"","c":1}`: 1,
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := keyFaults("x", v, reflect.TypeFor[outer]()); len(got) != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}
