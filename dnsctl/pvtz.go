package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/pvtz"

	"pointsman/internal/failover"
)

// pvtzHost is the vendor's one endpoint for all regions.
const pvtzHost = "pvtz.aliyuncs.com"

// Pvtz changes names in a zone of PrivateZone (API 2018-01-01), which answers
// the VPCs that are bound to it, in place by the ID of their records. With the
// proxy pattern RECORD a zone overrides single names of somebody else's domain
// and passes all others on. It is safe for concurrent use.
type Pvtz struct {
	*cloud
	api *pvtzAPI
}

var _ Provider = (*Pvtz)(nil)

// NewPvtz checks the config and builds the provider; it opens no connection
// and reads no secret. The error joins every fault that Validate finds.
func NewPvtz(c PvtzConfig) (*Pvtz, error) {
	if errs := c.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("pvtz: %w", errors.Join(errs...))
	}
	if c.Endpoint == "" {
		c.Endpoint = pvtzHost
	}
	core, err := newCloud("pvtz", c.CloudConfig)
	if err != nil {
		return nil, fmt.Errorf("pvtz: %w", err)
	}
	api := &pvtzAPI{call: core.call, zone: core.zone, id: c.ZoneID, override: c.Override, vpcs: c.VPCs}
	core.api = api
	return &Pvtz{cloud: core, api: api}, nil
}

// String names the provider without anything secret.
func (p *Pvtz) String() string { return p.cloud.String() + " (" + p.api.id + ")" }

// pvtzAPI is the product under the shared core.
type pvtzAPI struct {
	call     *caller
	zone     failover.RecordName
	id       string
	override bool
	vpcs     []string
}

func (a *pvtzAPI) list(ctx context.Context, l lane, n failover.RecordName) ([]cloudRecord, error) {
	return pages(func(page int) ([]cloudRecord, int, int64, error) {
		q := pvtz.CreateDescribeZoneRecordsRequest()
		q.ZoneId, q.Keyword, q.SearchMode = a.id, relative(n, a.zone), "EXACT"
		q.PageNumber, q.PageSize = requests.NewInteger(page), requests.NewInteger(pageSize)
		r := pvtz.CreateDescribeZoneRecordsResponse()
		if err := a.call.do(ctx, l, q, r, "TotalItems", "Records"); err != nil {
			return nil, 0, 0, err
		}
		var out []cloudRecord
		for _, rec := range r.Records.Record {
			got, mine, err := a.record(rec, n)
			if err != nil {
				return nil, 0, 0, err
			}
			if mine {
				out = append(out, got)
			}
		}
		return out, len(r.Records.Record), int64(r.TotalItems), nil
	})
}

// record judges one record of an answer; mine says whether it stands at n.
func (a *pvtzAPI) record(r pvtz.Record, n failover.RecordName) (got cloudRecord, mine bool, err error) {
	if r.Rr == "" || r.Type == "" {
		return got, false, fmt.Errorf("%w: a record lacks Rr or Type", ErrMalformed)
	}
	if r.ZoneId != "" && r.ZoneId != a.id {
		return got, false, fmt.Errorf("%w: the API speaks of records of the zone %s", ErrZone, printable(r.ZoneId, 80))
	}
	if toASCII(r.Rr+"."+bare(a.zone)) != string(n) {
		return got, false, nil
	}
	line := r.Line
	if line == "" {
		line = "default" // zones without lines do not say
	}
	got, err = newCloudRecord(strconv.FormatInt(r.RecordId, 10), r.Type, line, r.Value, int64(r.Ttl), r.Remark)
	got.weight = r.Weight
	switch strings.ToUpper(r.Status) {
	case "ENABLE":
	case "DISABLE":
		got.disabled = true
	default:
		err = errors.Join(err, fmt.Errorf("%w: record %d has the status %q", ErrMalformed, r.RecordId, printable(r.Status, 24)))
	}
	return got, true, err
}

func (a *pvtzAPI) setValue(ctx context.Context, n failover.RecordName, r cloudRecord, value failover.Target, ttl uint32) error {
	q := pvtz.CreateUpdateZoneRecordRequest()
	// TTL, line and weight fall back to their defaults when they are left out.
	q.RecordId, q.Rr, q.Type, q.Value, q.Line = requests.Integer(r.id), relative(n, a.zone), "CNAME", bare(value), r.line
	q.Ttl = requests.NewInteger64(int64(ttl))
	if r.weight > 0 {
		q.Weight = requests.NewInteger(r.weight)
	}
	return a.call.do(ctx, laneWrite, q, pvtz.CreateUpdateZoneRecordResponse())
}

func (a *pvtzAPI) setRemark(ctx context.Context, r cloudRecord, remark string) error {
	q := pvtz.CreateUpdateRecordRemarkRequest()
	q.RecordId, q.Remark = requests.Integer(r.id), remark
	return a.call.do(ctx, laneWrite, q, pvtz.CreateUpdateRecordRemarkResponse())
}

func (a *pvtzAPI) info(ctx context.Context, l lane) (*pvtz.DescribeZoneInfoResponse, error) {
	q := pvtz.CreateDescribeZoneInfoRequest()
	q.ZoneId = a.id
	r := pvtz.CreateDescribeZoneInfoResponse()
	if err := a.call.do(ctx, l, q, r, "ZoneName"); err != nil {
		return nil, err
	}
	if toASCII(r.ZoneName) != string(a.zone) {
		return nil, fmt.Errorf("%w: the zone %s is %s, the config says %s", ErrZone, a.id, printable(r.ZoneName, 80), a.zone)
	}
	return r, nil
}

func (a *pvtzAPI) zoneFacts(ctx context.Context, l lane) (zoneFacts, error) {
	r, err := a.info(ctx, l)
	if err != nil {
		return zoneFacts{}, err
	}
	var f zoneFacts
	if a.override && r.ProxyPattern != "RECORD" {
		f.unfit = fmt.Errorf("%w: the zone %s overrides names of a domain that is not its own, and its proxy pattern is %s: set it to RECORD, or every other name below it is gone for the VPCs bound to it",
			ErrParameter, a.id, printable(r.ProxyPattern, 24))
	}
	return f, nil
}

func (a *pvtzAPI) command(n failover.RecordName, r cloudRecord, value failover.Target, ttl uint32) string {
	c := fmt.Sprintf("aliyun pvtz UpdateZoneRecord --RecordId %s --Rr %s --Type CNAME --Value %s --Ttl %d --Line %s",
		r.id, quote(relative(n, a.zone)), quote(bare(value)), ttl, quote(r.line))
	if r.weight > 0 {
		c += fmt.Sprintf(" --Weight %d", r.weight)
	}
	return c
}

func (a *pvtzAPI) find(n failover.RecordName, m CloudMove) CloudByHand {
	rr := quote(relative(n, a.zone))
	list := fmt.Sprintf("aliyun pvtz DescribeZoneRecords --ZoneId %s --Keyword %s --SearchMode EXACT --PageSize %d", quote(a.id), rr, pageSize)
	const rows = "Records.Record[]"
	// The keyword may match more than names; rows of others are left.
	mine := fmt.Sprintf(`[ "$type" = CNAME ] && [ "$rr" = %s ] || continue; `, rr)
	return CloudByHand{
		List: list,
		Move: eachOf(list, rows, []string{"RecordId", "Type", "Rr", "Weight", "Line", "Value"}, mine+onlyFrom(m.From)+
			fmt.Sprintf(`aliyun pvtz UpdateZoneRecord --RecordId "$recordid" --Rr %s --Type CNAME --Value %s --Ttl %d --Weight "$weight" --Line "$line"`, rr, quote(bare(m.To)), m.TTL)),
		Unmark: eachOf(list, rows, []string{"RecordId", "Type", "Rr", "Remark"}, mine+marked+`aliyun pvtz UpdateRecordRemark --RecordId "$recordid" --Remark ''`),
	}
}
