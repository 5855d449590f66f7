package alicloud

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Record is one record of a zone. Its zero values are those of a usual record:
// enabled, not locked, line default.
type Record struct {
	ID       int64     `json:"id"`   // Alidns shows it as a string, PrivateZone as a number
	Zone     string    `json:"zone"` // name of the zone, without the last dot
	RR       string    `json:"rr"`   // relative to the zone, @ for the zone itself
	Type     string    `json:"type"`
	Value    string    `json:"value"` // names without the last dot
	TTL      int64     `json:"ttl"`   // seconds
	Priority int64     `json:"priority,omitempty"`
	Line     string    `json:"line"` // who is answered with it: a code such as default or telecom
	Remark   string    `json:"remark"`
	Weight   int       `json:"weight,omitempty"`
	Disabled bool      `json:"disabled,omitempty"`
	Locked   bool      `json:"locked,omitempty"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

func (r *Record) status() string {
	if r.Disabled {
		return "DISABLE"
	}
	return "ENABLE"
}

// Edition is what was paid for a public zone: the shortest TTL hangs on it.
type Edition struct {
	Code   string `json:"code"`    // VersionCode; of one that is known it is enough
	Name   string `json:"name"`    // VersionName
	MinTTL int64  `json:"min_ttl"` // seconds
}

// Editions that the vendor sells. Its documents disagree on the floors over
// the years; these are those of the mainland page. A client reads MinTtl.
var (
	Free       = Edition{"mianfei", "Alibaba Cloud DNS Free", 600}
	Personal   = Edition{"version_personal", "Alibaba Cloud DNS Personal", 600}
	Enterprise = Edition{"version_enterprise_basic", "Alibaba Cloud DNS Enterprise Standard", 60}
	Ultimate   = Edition{"version_enterprise_advanced", "Alibaba Cloud DNS Enterprise Ultimate", 1}
)

var editions = []Edition{Free, Personal, Enterprise, Ultimate}

// maxTTL is the longest TTL, in seconds.
const maxTTL = 86400

// Zone is a zone as its owner makes it.
type Zone struct {
	Name    string  `json:"name"`    // case and a last dot are not told apart
	Private bool    `json:"private"` // PrivateZone instead of Alidns
	Edition Edition `json:"edition"` // of a public zone; Ultimate if not said
	MinTTL  int64   `json:"min_ttl"` // seconds; that of the edition if 0. Of a private zone 5

	DelegatedTo []string `json:"delegated_to"` // name servers that the parent zone names; those of the vendor if empty

	// Of a private zone.
	Standard     bool     `json:"standard"`      // a standard zone, whose resolvers keep answers for their TTL; else an acceleration zone
	ProxyPattern string   `json:"proxy_pattern"` // ZONE (default) or RECORD: names that it lacks are asked elsewhere
	VPCs         []string `json:"vpcs"`          // bound ones

	ID string `json:"id"` // made by AddZone
}

type zone struct {
	Zone
	created  time.Time
	updated  time.Time
	remark   string
	versions []version // oldest first, never empty
	written  time.Time // the last write of a record; zero for none
	open     map[set]bool
	logs     []logEntry
	tokens   map[string]obj // answers by ClientToken
	turns    map[set]int    // of weights
}

// set is what a weight is weighed within.
type set struct{ rr, kind, line string }

// version is what the records were from a moment on. Records are never
// changed in place, so that versions can share them.
type version struct {
	at      time.Time
	serial  uint32    // of the SOA: the second the zone was made, and one more for each write
	records []*Record // by ID
}

type logEntry struct {
	at      time.Time
	id      int64
	action  string // ADD, UPDATE, DEL, …
	client  string
	message string
	rr      string
	object  string // of PrivateZone: PV_ZONE or PV_RECORD
	entity  string // of PrivateZone: the ID of that
}

func (z *zone) records() []*Record { return z.versions[len(z.versions)-1].records }

// seenAt is what somebody sees who is told of changes late.
func (z *zone) seenAt(t time.Time) version {
	for _, v := range slices.Backward(z.versions) {
		if !v.at.After(t) {
			return v
		}
	}
	return z.versions[0]
}

// before is what was there before the last write.
func (z *zone) before() []*Record { return z.versions[max(0, len(z.versions)-2)].records }

// maxVersions bounds what a zone remembers of its past.
const maxVersions = 2000

// commit makes records the newest version.
func (s *Server) commit(z *zone, records []*Record) {
	now := s.now()
	z.written, z.updated = now, now
	z.versions = append(z.versions, version{now, z.versions[len(z.versions)-1].serial + 1, records})
	keep := 0
	oldest := now.Add(-s.longestDelay())
	for keep+2 < len(z.versions) && !z.versions[keep+1].at.After(oldest) {
		keep++
	}
	z.versions = slices.Delete(z.versions, 0, keep)
	// The oldest stays, since a frozen authority may show it; one with a long
	// delay then misses what came after it.
	if over := len(z.versions) - maxVersions; over > 0 {
		z.versions = slices.Delete(z.versions, 1, 1+over)
	}
}

// put adds a record or takes the place of the one with its ID.
func (s *Server) put(z *zone, r Record) {
	r.Updated = s.now()
	records := slices.Clone(z.records())
	i, found := slices.BinarySearchFunc(records, r.ID, func(e *Record, id int64) int { return cmp.Compare(e.ID, id) })
	if found {
		records[i] = &r
	} else {
		records = slices.Insert(records, i, &r)
	}
	s.commit(z, records)
}

func (s *Server) remove(z *zone, ids ...int64) {
	s.commit(z, slices.DeleteFunc(slices.Clone(z.records()), func(r *Record) bool { return slices.Contains(ids, r.ID) }))
}

// find is the record of this ID and its zone; nil, nil for none.
func (s *Server) find(id int64, private bool) (*zone, *Record) {
	for _, z := range s.zones {
		if z.Private != private {
			continue
		}
		for _, r := range z.records() {
			if r.ID == id {
				return z, r
			}
		}
	}
	return nil, nil
}

// zone finds a zone by its ID, or by its name; of two zones of one name the
// public one.
func (s *Server) zone(ref string) *zone {
	if z := s.zoneNamed(ref, false); z != nil {
		return z
	}
	if z := s.zoneNamed(ref, true); z != nil {
		return z
	}
	for _, z := range s.zones {
		if z.ID == ref {
			return z
		}
	}
	return nil
}

func (s *Server) zoneNamed(name string, private bool) *zone {
	name = canonical(name)
	for _, z := range s.zones {
		if z.Name == name && z.Private == private {
			return z
		}
	}
	return nil
}

// canonical is how names of zones are kept and compared.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// AddZone puts a zone there, as its owner has it before anybody calls the API.
// It returns the ID of the zone. The name must not be taken by another zone of
// the same kind.
func (s *Server) AddZone(z Zone) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addZone(z)
}

func (s *Server) addZone(z Zone) (string, error) {
	z.Name = canonical(z.Name)
	if _, ok := dns.IsDomainName(z.Name); !ok || z.Name == "" {
		return "", fmt.Errorf("zone %q: not a domain name", z.Name)
	}
	if s.zoneNamed(z.Name, z.Private) != nil {
		return "", fmt.Errorf("zone %s: there already", z.Name)
	}
	if z.ProxyPattern == "" {
		z.ProxyPattern = "ZONE"
	}
	switch {
	case z.Private:
		z.Edition = Edition{}
		z.MinTTL = cmp.Or(z.MinTTL, 5)
	case z.Edition.MinTTL == 0:
		code := cmp.Or(z.Edition.Code, Ultimate.Code)
		i := slices.IndexFunc(editions, func(e Edition) bool { return e.Code == code })
		if i < 0 {
			return "", fmt.Errorf("zone %s: edition %q: there are mianfei, version_personal, version_enterprise_basic, version_enterprise_advanced", z.Name, code)
		}
		z.Edition = editions[i]
	}
	z.MinTTL = cmp.Or(z.MinTTL, z.Edition.MinTTL)
	s.serial++
	if z.Private {
		z.ID = fmt.Sprintf("%032x", uint64(0xdf2d0386)<<32+uint64(s.serial))
	} else {
		z.ID = fmt.Sprintf("00efd71a-770e-4255-b54e-%012x", s.serial)
	}
	now := s.now()
	s.zones = append(s.zones, &zone{
		Zone: z, created: now, updated: now, versions: []version{{at: now, serial: uint32(now.Unix())}},
		open: map[set]bool{}, tokens: map[string]obj{}, turns: map[set]int{},
	})
	return z.ID, nil
}

// firstRecordID makes IDs of 18 digits, as the vendor's are: a client that
// keeps one in a float loses digits.
const firstRecordID = 870_212_345_678_901_249

// AddRecord puts a record there without the checks of the API, so that it can
// be one that the API of today would refuse, and without any delay: to all who
// look it was there before. What is not said is what the API takes: TTL 600 (60
// in a private zone), and line default. It returns the record with its ID.
func (s *Server) AddRecord(zone string, r Record) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.zone(zone)
	if z == nil {
		return Record{}, fmt.Errorf("zone %s: there is none", zone)
	}
	r = s.draw(z, r)
	for i := range z.versions {
		z.versions[i].records = append(slices.Clone(z.versions[i].records), &r)
	}
	return r, nil
}

func (s *Server) addRecord(z *zone, r Record) Record {
	r = s.draw(z, r)
	s.put(z, r)
	return r
}

// draw makes a record whole.
func (s *Server) draw(z *zone, r Record) Record {
	s.serial++
	r.ID = firstRecordID + s.serial
	r.Zone, r.Value = z.Name, dotless(r.Type, r.Value)
	if r.TTL == 0 {
		r.TTL = max(600, z.MinTTL)
		if z.Private {
			r.TTL = 60
		}
	}
	r.Line = cmp.Or(r.Line, "default")
	r.Weight = cmp.Or(r.Weight, 1)
	r.Created, r.Updated = s.now(), s.now()
	return r
}

// dotless takes the last dot off where the value is a name.
func dotless(kind, value string) string {
	switch kind {
	case "CNAME", "NS", "MX", "SRV", "PTR":
		return strings.TrimSuffix(value, ".")
	}
	return value
}

// Records are those of a zone, given by name or ID, oldest first; nil where
// there is no such zone.
func (s *Server) Records(zone string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.zone(zone)
	if z == nil {
		return nil
	}
	out := make([]Record, 0, len(z.records()))
	for _, r := range z.records() {
		out = append(out, *r)
	}
	return out
}

// Record is the oldest record of a zone with exactly this RR and line; case
// does not count, and an empty line is default.
func (s *Server) Record(zone, rr, line string) (Record, bool) {
	for _, r := range s.Records(zone) {
		if strings.EqualFold(r.RR, rr) && r.Line == cmp.Or(line, "default") {
			return r, true
		}
	}
	return Record{}, false
}

// Edit is what somebody else does to a record, in the console say. What is nil
// stays.
type Edit struct {
	Value    *string `json:"value,omitempty"`
	TTL      *int64  `json:"ttl,omitempty"`
	Remark   *string `json:"remark,omitempty"`
	Line     *string `json:"line,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
	Locked   *bool   `json:"locked,omitempty"`
	Delete   bool    `json:"delete,omitempty"`
	// Another adds a second record of the same RR, type and line with this
	// value, which the API allows.
	Another *string `json:"another,omitempty"`
}

// Change does it at once.
func (s *Server) Change(id int64, e Edit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.change(id, e)
}

func (s *Server) change(id int64, e Edit) error {
	z, old := s.find(id, false)
	if z == nil {
		z, old = s.find(id, true)
	}
	if z == nil {
		return fmt.Errorf("record %d: there is none", id)
	}
	if e == (Edit{}) {
		return errors.New("an edit that changes nothing")
	}
	if e.Delete {
		s.remove(z, id)
		return nil
	}
	r := *old
	assign(&r.Value, e.Value)
	assign(&r.TTL, e.TTL)
	assign(&r.Remark, e.Remark)
	assign(&r.Line, e.Line)
	assign(&r.Disabled, e.Disabled)
	assign(&r.Locked, e.Locked)
	if r != *old {
		s.put(z, r)
	}
	if e.Another != nil {
		r.Value, r.Remark = *e.Another, ""
		s.addRecord(z, r)
	}
	return nil
}

func assign[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// validValue says whether a value is one of its type, as far as the vendor
// checks: the name of the error, or nothing.
func validValue(kind, value string) bool {
	switch kind {
	case "A":
		a, err := netip.ParseAddr(value)
		return err == nil && a.Is4()
	case "AAAA":
		a, err := netip.ParseAddr(value)
		return err == nil && a.Is6() && a.Zone() == ""
	case "CNAME", "NS", "MX", "PTR":
		_, ok := dns.IsDomainName(value)
		return ok && value != "" && !strings.ContainsAny(value, " \t/:@")
	case "SRV":
		f := strings.Fields(value)
		return len(f) == 4
	}
	return value != "" && len(value) <= 512
}
