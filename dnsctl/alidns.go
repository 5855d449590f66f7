package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"

	"pointsman/internal/failover"
)

// alidnsHost is the vendor's one endpoint for all regions.
const alidnsHost = "alidns.aliyuncs.com"

// pageSize is the most that one page of records may have (the vendor's page of
// DescribeSubDomainRecords says 500), and maxRecords bounds what is read in all.
const (
	pageSize   = 100
	maxRecords = 1000
)

// Alidns changes names at Alibaba Cloud DNS (API 2015-01-09), in place by the
// ID of their records. It is safe for concurrent use.
type Alidns struct{ *cloud }

var _ Provider = (*Alidns)(nil)

// NewAlidns checks the config and builds the provider; it opens no connection
// and reads no secret. The error joins every fault that Validate finds.
func NewAlidns(c AlidnsConfig) (*Alidns, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("alidns: %w", errors.Join(errs...))
	}
	if c.Endpoint == "" {
		c.Endpoint = alidnsHost
	}
	core, err := newCloud("alidns", c.CloudConfig)
	if err != nil {
		return nil, fmt.Errorf("alidns: %w", err)
	}
	core.api = &alidnsAPI{call: core.call, zone: core.zone}
	return &Alidns{cloud: core}, nil
}

// alidnsAPI is the product under the shared core.
type alidnsAPI struct {
	call *caller
	zone failover.RecordName
}

// bare is a name as the APIs write it: without the final dot.
func bare[T ~string](n T) string { return strings.TrimSuffix(string(n), ".") }

// relative is a name below its zone, as the APIs want it.
func relative(n, zone failover.RecordName) string {
	return strings.TrimSuffix(strings.TrimSuffix(string(n), string(zone)), ".")
}

func (a *alidnsAPI) list(ctx context.Context, l lane, n failover.RecordName) ([]cloudRecord, error) {
	return pages(func(page int) ([]cloudRecord, int, int64, error) {
		q := alidns.CreateDescribeSubDomainRecordsRequest()
		q.SubDomain, q.DomainName = bare(n), bare(a.zone)
		q.PageNumber, q.PageSize = requests.NewInteger(page), requests.NewInteger(pageSize)
		r := alidns.CreateDescribeSubDomainRecordsResponse()
		if err := a.call.do(ctx, l, q, r, "TotalCount", "DomainRecords"); err != nil {
			return nil, 0, 0, err
		}
		var out []cloudRecord
		for _, rec := range r.DomainRecords.Record {
			got, mine, err := a.record(rec, n)
			if err != nil {
				return nil, 0, 0, err
			}
			if mine {
				out = append(out, got)
			}
		}
		return out, len(r.DomainRecords.Record), r.TotalCount, nil
	})
}

// record judges one record of an answer; mine says whether it stands at n.
func (a *alidnsAPI) record(r alidns.Record, n failover.RecordName) (got cloudRecord, mine bool, err error) {
	if r.RR == "" || r.Type == "" {
		return got, false, fmt.Errorf("%w: a record lacks RR or Type", ErrMalformed)
	}
	if r.DomainName != "" && toASCII(r.DomainName) != string(a.zone) {
		return got, false, fmt.Errorf("%w: the API speaks of records of %s", ErrZone, printable(r.DomainName, 80))
	}
	if toASCII(r.RR+"."+bare(a.zone)) != string(n) {
		return got, false, nil
	}
	got, err = newCloudRecord(r.RecordId, r.Type, r.Line, r.Value, r.TTL, r.Remark)
	got.locked, got.weight = r.Locked, r.Weight
	switch strings.ToUpper(r.Status) {
	case "ENABLE":
	case "DISABLE":
		got.disabled = true
	default:
		err = errors.Join(err, fmt.Errorf("%w: record %s has the status %q", ErrMalformed, printable(r.RecordId, 24), printable(r.Status, 24)))
	}
	return got, true, err
}

// newCloudRecord judges what both products' records have.
func newCloudRecord(id, rtype, line, value string, ttl int64, remark string) (cloudRecord, error) {
	r := cloudRecord{id: id, rtype: strings.ToUpper(rtype), line: line, ttl: uint32(ttl), mark: fromRemark(strings.TrimSpace(remark)), value: failover.Target(value)}
	bad := func(format string, args ...any) (cloudRecord, error) {
		return cloudRecord{}, fmt.Errorf("%w: record %s: %s", ErrMalformed, printable(id, 24), fmt.Sprintf(format, args...))
	}
	switch {
	case !recordID.MatchString(id):
		return bad("its ID is no number")
	case line == "" || len(line) > 128 || printable(line, 128) != line:
		return bad("its line has no code")
	case ttl < 0 || ttl > 1<<31-1:
		return bad("its TTL is %d s", ttl)
	case len(r.mark) > 16*txtString:
		return bad("its remark is longer than %d octets", 16*txtString)
	}
	if r.rtype == "CNAME" {
		v := toASCII(value)
		if !wireName(v) || v == "." {
			return bad("its value %q is no name", printable(value, 64))
		}
		r.value = failover.Target(v)
	}
	return r, nil
}

// pages reads all pages of a list. A list that changes while it is read is
// ErrUnstable: half of it must not pass for all.
func pages(page func(int) (out []cloudRecord, held int, total int64, err error)) ([]cloudRecord, error) {
	var all []cloudRecord
	var first int64
	held := 0
	for n := 1; ; n++ {
		out, h, total, err := page(n)
		if err != nil {
			return nil, err
		}
		held += h
		all = append(all, out...)
		if n == 1 {
			first = total
		}
		switch {
		case total < 0 || total > maxRecords || held > maxRecords:
			return nil, fmt.Errorf("%w: a list of %d records for one name", ErrMalformed, max(total, int64(held)))
		case total != first || int64(held) > total:
			return nil, fmt.Errorf("%w: the list has %d records, then %d", ErrUnstable, first, max(total, int64(held)))
		case int64(held) == total:
			seen := make(map[string]bool, len(all))
			for _, r := range all {
				if seen[r.id] {
					return nil, fmt.Errorf("%w: record %s stands on two pages", ErrUnstable, r.id)
				}
				seen[r.id] = true
			}
			return all, nil
		case h == 0:
			return nil, fmt.Errorf("%w: page %d is empty, %d of %d records were there", ErrUnstable, n, held, total)
		}
	}
}

func (a *alidnsAPI) setValue(ctx context.Context, n failover.RecordName, r cloudRecord, value failover.Target, ttl uint32) error {
	q := alidns.CreateUpdateDomainRecordRequest()
	// TTL and line fall back to their defaults when they are left out.
	q.RecordId, q.RR, q.Type, q.Value, q.Line = r.id, relative(n, a.zone), "CNAME", bare(value), r.line
	q.TTL = requests.NewInteger64(int64(ttl))
	return a.call.do(ctx, laneWrite, q, alidns.CreateUpdateDomainRecordResponse())
}

func (a *alidnsAPI) setRemark(ctx context.Context, r cloudRecord, remark string) error {
	q := alidns.CreateUpdateDomainRecordRemarkRequest()
	q.RecordId, q.Remark = r.id, remark
	return a.call.do(ctx, laneWrite, q, alidns.CreateUpdateDomainRecordRemarkResponse())
}

func (a *alidnsAPI) info(ctx context.Context, l lane) (*alidns.DescribeDomainInfoResponse, error) {
	q := alidns.CreateDescribeDomainInfoRequest()
	q.DomainName, q.NeedDetailAttributes = bare(a.zone), requests.NewBoolean(true)
	r := alidns.CreateDescribeDomainInfoResponse()
	if err := a.call.do(ctx, l, q, r, "DomainName"); err != nil {
		return nil, err
	}
	if toASCII(r.DomainName) != string(a.zone) && toASCII(r.PunyCode) != string(a.zone) {
		return nil, fmt.Errorf("%w: asked for %s, the API answers for %s", ErrZone, a.zone, printable(r.DomainName, 80))
	}
	return r, nil
}

func (a *alidnsAPI) zoneFacts(ctx context.Context, l lane) (zoneFacts, error) {
	r, err := a.info(ctx, l)
	if err != nil {
		return zoneFacts{}, err
	}
	if r.MinTtl < 0 || r.MinTtl > 86400 {
		return zoneFacts{}, fmt.Errorf("%w: MinTtl is %d s", ErrMalformed, r.MinTtl)
	}
	f := zoneFacts{minTTL: uint32(r.MinTtl)}
	if r.InBlackHole || r.InClean {
		f.unfit = fmt.Errorf("%w: the zone is under attack and the vendor has taken it out (black hole or cleaning): see the console", ErrLocked)
	}
	return f, nil
}

func (a *alidnsAPI) command(n failover.RecordName, r cloudRecord, value failover.Target, ttl uint32) string {
	return fmt.Sprintf("aliyun alidns UpdateDomainRecord --RecordId %s --RR %s --Type CNAME --Value %s --TTL %s --Line %s",
		r.id, quote(relative(n, a.zone)), quote(bare(value)), strconv.FormatUint(uint64(ttl), 10), quote(r.line))
}

func (a *alidnsAPI) find(n failover.RecordName, m CloudMove) CloudByHand {
	list := fmt.Sprintf("aliyun alidns DescribeSubDomainRecords --DomainName %s --SubDomain %s --PageSize %d", quote(bare(a.zone)), quote(bare(n)), pageSize)
	const rows = "DomainRecords.Record[]"
	cnames := list + " --Type CNAME"
	return CloudByHand{
		List: list,
		Move: eachOf(cnames, rows, []string{"RecordId", "Line", "Value"}, onlyFrom(m.From)+
			fmt.Sprintf(`aliyun alidns UpdateDomainRecord --RecordId "$recordid" --RR %s --Type CNAME --Value %s --TTL %d --Line "$line"`, quote(relative(n, a.zone)), quote(bare(m.To)), m.TTL)),
		Unmark: eachOf(cnames, rows, []string{"RecordId", "Remark"}, marked+`aliyun alidns UpdateDomainRecordRemark --RecordId "$recordid" --Remark ''`),
	}
}

// quote makes one word of a shell of a text.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
