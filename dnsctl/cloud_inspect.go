package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/pvtz"

	"pointsman/internal/failover"
)

// CloudFacts are what a name and its zone are at the provider, for doctor and
// explain. Reading them changes nothing. What could not be read stands in Unread.
type CloudFacts struct {
	Provider string              `json:"provider"`
	Zone     string              `json:"zone"`
	Name     failover.RecordName `json:"name"`

	Records     []CloudRecordFact `json:"records"`     // all that stand at the name, of any type, on any line
	Conflicting []string          `json:"conflicting"` // those of other types than CNAME, by line
	Several     []string          `json:"several"`     // lines with more than one CNAME
	Locked      []string          `json:"locked"`      // lines whose record is locked
	Disabled    []string          `json:"disabled"`    // lines whose record is paused
	Weighted    bool              `json:"weighted"`    // answers are shared out by weight
	GTM         []string          `json:"gtm"`         // values that look like names of the vendor's traffic manager, which moves by itself

	Edition string   `json:"edition,omitempty"` // of the zone; Alidns
	MinTTL  uint32   `json:"min_ttl,omitempty"` // seconds; 0 is not known
	Lines   []string `json:"lines,omitempty"`   // that the edition has

	// Delegation, Alidns: who answers for the zone, and who should.
	Delegated   *bool    `json:"delegated,omitempty"` // all name servers of the parent are the vendor's; nil is not known
	NameServers []string `json:"name_servers,omitempty"`
	Expected    []string `json:"expected,omitempty"`

	// PrivateZone.
	DNSGroup     string   `json:"dns_group,omitempty"`     // FAST_ZONE: changes show at once; NORMAL_ZONE: resolvers keep answers for their TTL
	ProxyPattern string   `json:"proxy_pattern,omitempty"` // RECORD passes on what the zone does not hold
	VPCs         []string `json:"vpcs,omitempty"`
	MissingVPCs  []string `json:"missing_vpcs,omitempty"` // that the config names and the zone is not bound to

	Rights     []CloudRight `json:"rights"`                // what was tried, in order
	OtherZones []string     `json:"other_zones,omitempty"` // zones that the key can see besides its own: it is too broad
	Unread     []string     `json:"unread,omitempty"`
}

// CloudRecordFact is one record.
type CloudRecordFact struct {
	Line     string `json:"line"`
	ID       string `json:"id"`
	Type     string `json:"type"`
	Value    string `json:"value"`
	TTL      uint32 `json:"ttl"`
	Mark     string `json:"mark,omitempty"`
	Weight   int    `json:"weight,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	Locked   bool   `json:"locked,omitempty"`
}

// CloudRight is one permission. Those that change something are not tried.
type CloudRight struct {
	Action string `json:"action"` // as RAM names it
	Needed bool   `json:"needed"` // without it nothing works; the others serve doctor
	State  string `json:"state"`  // granted, denied, unknown, not tried
}

// inspection gathers facts and goes on where one cannot be had.
type inspection struct {
	f    CloudFacts
	errs []error
}

func (i *inspection) tried(action string, needed bool, err error) bool {
	state := "granted"
	switch {
	case errors.Is(err, ErrRights):
		state = "denied"
	case err != nil:
		state = "unknown"
	}
	i.f.Rights = append(i.f.Rights, CloudRight{action, needed, state})
	if err != nil {
		i.f.Unread = append(i.f.Unread, fmt.Sprintf("%s: %v", action, err))
		i.errs = append(i.errs, err)
	}
	return err == nil
}

func (i *inspection) records(recs []cloudRecord) {
	lines := make(map[string]int)
	gtm := make(map[string]bool)
	for _, r := range recs {
		i.f.Records = append(i.f.Records, CloudRecordFact{r.line, r.id, r.rtype, string(r.value), r.ttl, r.mark, r.weight, r.disabled, r.locked})
		if r.disabled {
			i.f.Disabled = append(i.f.Disabled, r.line)
		}
		if r.locked {
			i.f.Locked = append(i.f.Locked, r.line)
		}
		if r.rtype != "CNAME" {
			i.f.Conflicting = append(i.f.Conflicting, fmt.Sprintf("%s %s on line %s", printable(r.rtype, 16), short(string(r.value)), r.line))
			continue
		}
		if lines[r.line]++; lines[r.line] == 2 {
			i.f.Several = append(i.f.Several, r.line)
		}
		if looksLikeGTM(string(r.value)) {
			gtm[string(r.value)] = true
		}
	}
	i.f.GTM = slices.Sorted(maps.Keys(gtm))
	slices.SortFunc(i.f.Records, func(a, b CloudRecordFact) int {
		return strings.Compare(a.Line+" "+a.Type+" "+a.ID, b.Line+" "+b.Type+" "+b.ID)
	})
	slices.Sort(i.f.Conflicting)
}

// looksLikeGTM knows access names of the vendor's Global Traffic Manager by
// their second level, as in NAME.gtm-a4b7.com. Links further down the chain
// are for whoever resolves it.
func looksLikeGTM(name string) bool {
	l := strings.Split(strings.Trim(name, "."), ".")
	return len(l) >= 2 && strings.HasPrefix(l[len(l)-2], "gtm-")
}

// end returns the facts; an error only if nothing at all could be read.
func (i *inspection) end(n failover.RecordName) (CloudFacts, error) {
	for _, r := range i.f.Rights {
		if r.State == "granted" {
			return i.f, nil
		}
	}
	return i.f, fmt.Errorf("inspect %s: %w", n, errors.Join(i.errs...))
}

// Inspect gathers the facts of a name and of its zone. It sends Describe* only,
// in the routine lane, and goes on where a right is missing.
func (p *cloud) Inspect(ctx context.Context, name failover.RecordName) (CloudFacts, error) {
	return p.inspect(ctx, name, true)
}

// InspectName is Inspect without what is the same for all names of the zone:
// of a thousand names the zone is looked at once.
func (p *cloud) InspectName(ctx context.Context, name failover.RecordName) (CloudFacts, error) {
	return p.inspect(ctx, name, false)
}

func (p *cloud) inspect(ctx context.Context, name failover.RecordName, zone bool) (CloudFacts, error) {
	n, err := p.inZone(name)
	if err != nil {
		return CloudFacts{}, err
	}
	i := inspection{f: CloudFacts{Provider: p.name, Zone: bare(p.zone), Name: n}}
	p.api.lookAtName(ctx, &i, n)
	if zone {
		p.api.lookAtZone(ctx, &i)
	}
	return i.end(n)
}

func (a *alidnsAPI) lookAtZone(ctx context.Context, i *inspection) {
	info, err := a.info(ctx, laneRoutine)
	if i.tried("alidns:DescribeDomainInfo", true, err) {
		i.f.Edition = printable(info.VersionCode+" "+info.VersionName, 128)
		if info.MinTtl > 0 && info.MinTtl <= 86400 {
			i.f.MinTTL = uint32(info.MinTtl)
		}
		for _, l := range info.RecordLines.RecordLine {
			i.f.Lines = append(i.f.Lines, printable(l.LineCode, 64))
		}
	}
	ns, err := a.nameServers(ctx)
	if i.tried("alidns:DescribeDomainNs", false, err) {
		i.f.Delegated = &ns.AllAliDns
		i.f.NameServers, i.f.Expected = printables(ns.DnsServers.DnsServer), printables(ns.ExpectDnsServers.ExpectDnsServer)
		if code := printable(ns.DetectFailedReasonCode, 64); code != "" {
			i.f.Delegated = nil
			i.f.Unread = append(i.f.Unread, "the vendor could not find out the delegation: "+code)
		}
	}
	others, err := a.otherZones(ctx)
	i.broad("alidns:DescribeDomains", others, err)
	i.untried("alidns:UpdateDomainRecord", "alidns:UpdateDomainRecordRemark")
}

func (a *alidnsAPI) lookAtName(ctx context.Context, i *inspection, n failover.RecordName) {
	recs, err := a.list(ctx, laneRoutine, n)
	if i.tried("alidns:DescribeSubDomainRecords", true, err) {
		i.records(recs)
	}
	weighted, err := a.weighted(ctx, n)
	if i.tried("alidns:DescribeDNSSLBSubDomains", false, err) {
		i.f.Weighted = weighted
	}
}

// untried are rights that only a write would show.
func (i *inspection) untried(actions ...string) {
	for _, a := range actions {
		i.f.Rights = append(i.f.Rights, CloudRight{a, true, "not tried"})
	}
}

// broad notes whether the key can see more than its zone. A denial is good.
func (i *inspection) broad(action string, others []string, err error) {
	state := "granted"
	switch {
	case errors.Is(err, ErrRights):
		state = "denied"
	case err != nil:
		state = "unknown"
		i.f.Unread = append(i.f.Unread, fmt.Sprintf("%s: %v", action, err))
	}
	i.f.Rights = append(i.f.Rights, CloudRight{action, false, state})
	i.f.OtherZones = others
}

func printables(l []string) []string {
	out := make([]string, 0, len(l))
	for _, s := range l {
		out = append(out, printable(s, 255))
	}
	return out
}

func (a *alidnsAPI) nameServers(ctx context.Context) (*alidns.DescribeDomainNsResponse, error) {
	q := alidns.CreateDescribeDomainNsRequest()
	q.DomainName = bare(a.zone)
	r := alidns.CreateDescribeDomainNsResponse()
	return r, a.call.do(ctx, laneRoutine, q, r, "AllAliDns")
}

func (a *alidnsAPI) weighted(ctx context.Context, n failover.RecordName) (bool, error) {
	q := alidns.CreateDescribeDNSSLBSubDomainsRequest()
	q.DomainName, q.Rr = bare(a.zone), relative(n, a.zone)
	r := alidns.CreateDescribeDNSSLBSubDomainsResponse()
	if err := a.call.do(ctx, laneRoutine, q, r, "SlbSubDomains"); err != nil {
		return false, err
	}
	for _, s := range r.SlbSubDomains.SlbSubDomain {
		if toASCII(s.SubDomain) == string(n) && s.Open {
			return true, nil
		}
	}
	return false, nil
}

func (a *alidnsAPI) otherZones(ctx context.Context) ([]string, error) {
	q := alidns.CreateDescribeDomainsRequest()
	q.PageSize = requests.NewInteger(20)
	r := alidns.CreateDescribeDomainsResponse()
	if err := a.call.do(ctx, laneRoutine, q, r, "Domains"); err != nil {
		return nil, err
	}
	var out []string
	for _, d := range r.Domains.Domain {
		if toASCII(d.DomainName) != string(a.zone) {
			out = append(out, printable(d.DomainName, 255))
		}
	}
	return out, nil
}

func (a *pvtzAPI) lookAtZone(ctx context.Context, i *inspection) {
	info, err := a.info(ctx, laneRoutine)
	if i.tried("pvtz:DescribeZoneInfo", true, err) {
		i.f.DNSGroup, i.f.ProxyPattern = printable(info.DnsGroup, 64), printable(info.ProxyPattern, 64)
		for _, v := range info.BindVpcs.Vpc {
			i.f.VPCs = append(i.f.VPCs, printable(v.VpcId, 64))
		}
		for _, v := range a.vpcs {
			if !slices.Contains(i.f.VPCs, v) {
				i.f.MissingVPCs = append(i.f.MissingVPCs, v)
			}
		}
	}
	others, err := a.otherZones(ctx)
	i.broad("pvtz:DescribeZones", others, err)
	i.untried("pvtz:UpdateZoneRecord", "pvtz:UpdateRecordRemark")
}

func (a *pvtzAPI) lookAtName(ctx context.Context, i *inspection, n failover.RecordName) {
	recs, err := a.list(ctx, laneRoutine, n)
	if i.tried("pvtz:DescribeZoneRecords", true, err) {
		i.records(recs)
		weights := make(map[int]bool)
		for _, r := range recs {
			weights[r.weight] = true
		}
		i.f.Weighted = len(i.f.Several) > 0 && len(weights) > 1
	}
}

// Clock reads the Date of an answer of the API (RFC 9110 section 6.6.1), which
// has whole seconds, to a request without a key and without a meaning: any
// answer bears it. sent and received are of this clock.
func (p *cloud) Clock(ctx context.Context) (sent, received, theirs time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.call.at.scheme+"://"+p.call.at.host+"/", nil)
	if err != nil {
		return sent, received, theirs, fmt.Errorf("%w: %s", ErrNotSent, p.call.at.host)
	}
	sent = time.Now()
	resp, err := p.call.http.RoundTrip(r) // no redirects are followed
	received = time.Now()
	if err != nil {
		return sent, received, theirs, fmt.Errorf("ask %s: %w (%w)", p.call.at.host, ErrNoAnswer, plain(err))
	}
	resp.Body.Close()
	if theirs, err = http.ParseTime(resp.Header.Get("Date")); err != nil {
		return sent, received, theirs, fmt.Errorf("%w: the answer of %s has no Date that can be read", ErrMalformed, p.call.at.host)
	}
	return sent, received, theirs, nil
}

func (a *pvtzAPI) otherZones(ctx context.Context) ([]string, error) {
	q := pvtz.CreateDescribeZonesRequest()
	q.PageSize = requests.NewInteger(20)
	r := pvtz.CreateDescribeZonesResponse()
	if err := a.call.do(ctx, laneRoutine, q, r, "Zones"); err != nil {
		return nil, err
	}
	var out []string
	for _, z := range r.Zones.Zone {
		if z.ZoneId != a.id {
			out = append(out, printable(z.ZoneName, 255))
		}
	}
	return out, nil
}

// Manual returns the commands of the vendor's own program that move a name by
// hand, one for each line, from the records that were last read. They hold no
// secret: whoever runs them has a key of his own. It asks nobody, so it works
// while the API is down. The remarks stay as they are, so that the move shows
// as somebody's and is adopted, not fought.
func (p *cloud) Manual(name failover.RecordName, value failover.Target, ttl uint32) ([]string, error) {
	n, err := p.inZone(name)
	if err != nil {
		return nil, err
	}
	to, err := ParseTarget(string(value))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	k := p.known(n)
	k.mu.Lock()
	last := k.last
	k.mu.Unlock()
	if len(last) == 0 {
		return nil, fmt.Errorf("commands for %s: %w: its records were never read", n, ErrNoAnswer)
	}
	out := make([]string, 0, len(last))
	for _, r := range last {
		t := ttl
		if t == 0 {
			t = r.ttl
		}
		out = append(out, p.api.command(n, r, to, t))
	}
	return out, nil
}

// CloudMove is one change of a name that people make by hand.
type CloudMove struct {
	// From: only lines that show it are changed. Empty changes every line.
	From failover.Target
	To   failover.Target
	TTL  uint32 // seconds
}

// CloudByHand are commands of the vendor's own program for people, for a shell.
// They hold no secret: whoever runs them has a key of his own.
type CloudByHand struct {
	List   string // shows the records of the name
	Move   string // finds the CNAME of each line, and changes those that show From
	Unmark string // empties the remarks that hold a mark of this program
	// Pinned change the lines whose records the config pins, without looking.
	Pinned []string
}

// ByHand are the commands for a name, made of the config alone: nothing of the
// name need ever have been read, and nobody is asked.
func (c AlidnsConfig) ByHand(name failover.RecordName, m CloudMove) (CloudByHand, error) {
	zone, err := parseZone(c.Zone)
	if err != nil {
		return CloudByHand{}, err
	}
	return byHand(&alidnsAPI{zone: zone}, zone, c.Records, name, m)
}

// ByHand are the commands for a name; see [AlidnsConfig.ByHand].
func (c PvtzConfig) ByHand(name failover.RecordName, m CloudMove) (CloudByHand, error) {
	zone, err := parseZone(c.Zone)
	if err != nil {
		return CloudByHand{}, err
	}
	return byHand(&pvtzAPI{zone: zone, id: c.ZoneID}, zone, c.Records, name, m)
}

func byHand(api cloudAPI, zone failover.RecordName, pins map[failover.RecordName]map[string]string, name failover.RecordName, m CloudMove) (CloudByHand, error) {
	n, err := nameInZone(name, zone)
	if err != nil {
		return CloudByHand{}, err
	}
	if m.To, err = ParseTarget(string(m.To)); err != nil {
		return CloudByHand{}, fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if m.From != "" {
		if m.From, err = ParseTarget(string(m.From)); err != nil {
			return CloudByHand{}, fmt.Errorf("%w: %w", ErrForbidden, err)
		}
	}
	out := api.find(n, m)
	for at, lines := range pins {
		if failover.RecordName(canonical(string(at))) != n {
			continue
		}
		for _, line := range slices.Sorted(maps.Keys(lines)) {
			if !recordID.MatchString(lines[line]) {
				return CloudByHand{}, fmt.Errorf("%w: %q is no ID of a record", ErrForbidden, lines[line])
			}
			out.Pinned = append(out.Pinned, api.command(n, cloudRecord{id: lines[line], line: line}, m.To, m.TTL))
		}
	}
	return out, nil
}

// eachOf runs a command for each row of a table of the vendor's program: below a
// line of heads and a rule, a row for each record with | between the columns. It
// stops at the first that fails, and does not begin where the list could not be
// had.
func eachOf(list, rows string, cols []string, command string) string {
	return fmt.Sprintf(`l=$(%s --output cols=%s 'rows=%s') && printf '%%s\n' "$l" | tail -n +3 | while IFS=' |' read -r %s; do %s || exit; done`,
		list, strings.Join(cols, ","), rows, strings.ToLower(strings.Join(cols, " ")), command)
}

// onlyFrom is the condition that a row has a value; of another it says so.
func onlyFrom(from failover.Target) string {
	if from == "" {
		return ""
	}
	return fmt.Sprintf(`[ "$value" = %s ] || { echo "line $line shows $value and stays"; continue; }; `, quote(bare(from)))
}

// marked is the condition that a row has a mark of this program.
const marked = `case $remark in ` + remarkPrefix + `,*) ;; *) continue;; esac; `
