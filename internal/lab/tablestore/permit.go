package tablestore

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// PolicyRules are what the vendor's pages leave open, or say in two ways, of
// instance policies.
type PolicyRules struct {
	// Delay is how long an acknowledged policy takes until requests are judged
	// by it, and no longer by the one before. Not documented; 2 s at the start.
	Delay time.Duration `json:"-"` // delay_ms
	// Text2024 judges as the page of January 2024 has it: Action and Resource
	// are everything, whatever a statement names, and one of the conditions of
	// a statement that allows is enough. Off is the page of June 2026.
	Text2024 bool `json:"text_2024"`
	// AllowAdds makes statements that allow add to what a key may do, and take
	// nothing away. Off: if there is one that allows, a request needs one that
	// allows it (page on access sources, January 2025).
	AllowAdds bool `json:"allow_adds"`
	// Code of a refusal: OTSNoPermissionAccess, which is the default, or
	// OTSAuthFailed. Both are 403; no page says which.
	Code string `json:"code"`
	// Message of a refusal; no page has it.
	Message string `json:"message"`
	// ClosesConnections ends the connection of a request that is refused. Off:
	// a refused client keeps its connection, so its pool never asks DNS again.
	ClosesConnections bool `json:"closes_connections"`
}

// DefaultPolicyRules are those of a server that was given none.
func DefaultPolicyRules() PolicyRules {
	return PolicyRules{Delay: 2 * time.Second, Code: codeNoPermission, Message: "Request denied by instance policy."}
}

// MarshalJSON tells durations in ms, as the rest of the management API.
func (r PolicyRules) MarshalJSON() ([]byte, error) {
	type plain PolicyRules
	return json.Marshal(struct {
		Delay int64 `json:"delay_ms"`
		plain
	}{r.Delay.Milliseconds(), plain(r)})
}

// UnmarshalJSON reads that; an element that is not known is an error, and what
// is absent stays.
func (r *PolicyRules) UnmarshalJSON(text []byte) error {
	type plain PolicyRules
	in := struct {
		Delay int64 `json:"delay_ms"`
		plain
	}{r.Delay.Milliseconds(), plain(*r)}
	if err := strictly(text, &in); err != nil {
		return err
	}
	*r = PolicyRules(in.plain)
	r.Delay = millis(in.Delay)
	return nil
}

// millis is so many ms; what is out of all bounds is refused as what is below 0.
func millis(n int64) time.Duration {
	if n > int64(24*time.Hour/time.Millisecond) {
		return -1
	}
	return time.Duration(n) * time.Millisecond
}

func strictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func (r *PolicyRules) check() error {
	if r.Delay < 0 || r.Delay > time.Hour {
		return fmt.Errorf("policy rules: the delay %s is not from 0 to 1h", r.Delay)
	}
	r.Code, r.Message = cmp.Or(r.Code, codeNoPermission), cmp.Or(r.Message, DefaultPolicyRules().Message)
	if r.Code != codeNoPermission && r.Code != codeAuthFailed {
		return fmt.Errorf("policy rules: the code %q is neither %s nor %s", clip(r.Code), codeNoPermission, codeAuthFailed)
	}
	return nil
}

// PolicyRules are those of now.
func (s *Server) PolicyRules() PolicyRules { return *s.policyRules.Load() }

// SetPolicyRules sets all of them; an empty code or message is the default's.
// The delay counts for policies that come after.
func (s *Server) SetPolicyRules(r PolicyRules) error {
	if err := r.check(); err != nil {
		return err
	}
	s.policyRules.Store(&r)
	return nil
}

// VPC is a network that clients come from.
type VPC struct {
	ID     string       `json:"id"` // vpc-…
	Prefix netip.Prefix `json:"prefix"`
}

// The account that owns everything, and the region where none is named.
const (
	defaultAccount = "1234567890123456"
	defaultRegion  = "cn-hangzhou"
)

// guard is what stands before an instance: its policy.
type guard struct {
	region  string
	created time.Time

	mu sync.Mutex // orders changes of the policy
	// versions are in the order in which they came: the newest, which the
	// control API shows, and before it those that are in force until it is.
	versions atomic.Pointer[[]policyVersion]
}

// policyVersion is one policy of an instance. No text is no policy.
type policyVersion struct {
	Version int64
	Text    string    `json:",omitempty"`
	From    time.Time // when it comes into force
	policy  *Policy
}

// guardRecord is what the store keeps of a guard, under i/<instance>.
type guardRecord struct {
	Created  time.Time
	Versions []policyVersion
}

func guardKey(instance string) []byte { return []byte("i/" + instance) }

// openGuard reads what the store has of an instance, or begins it.
func (in *instance) openGuard(region string, now time.Time) error {
	rec := guardRecord{Created: now}
	text, closer, err := in.store.db.Get(guardKey(in.name))
	switch {
	case err == nil:
		err = json.Unmarshal(text, &rec)
		if e := closer.Close(); err == nil {
			err = e
		}
	case errors.Is(err, pebble.ErrNotFound):
		err = in.saveGuard(rec)
	}
	if err != nil {
		return fmt.Errorf("policy of instance %s: %w", in.name, err)
	}
	for i := range rec.Versions {
		if v := &rec.Versions[i]; v.Text != "" {
			if v.policy, err = ParsePolicy(v.Text); err != nil {
				return fmt.Errorf("policy of instance %s: %w", in.name, err)
			}
		}
	}
	in.guard.region, in.guard.created = region, rec.Created
	in.guard.versions.Store(&rec.Versions)
	return nil
}

// saveGuard returns when it is durable.
func (in *instance) saveGuard(rec guardRecord) error {
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	b := in.store.db.NewBatch()
	if err := b.Set(guardKey(in.name), text, nil); err != nil {
		return err
	}
	durable, err := in.store.commit(b)
	if err != nil {
		return err
	}
	return durable()
}

// newest is the policy that the control API shows; version 0 if there never
// was one.
func (g *guard) newest() policyVersion {
	all := *g.versions.Load()
	if len(all) == 0 {
		return policyVersion{}
	}
	return all[len(all)-1]
}

// inForce is the policy that a request is judged by; nil if there is none.
func (g *guard) inForce(now time.Time) *Policy {
	for _, v := range slices.Backward(*g.versions.Load()) {
		if !v.From.After(now) {
			return v.policy
		}
	}
	return nil
}

// errStale says that a policy was to replace another than the newest.
var errStale = errors.New("the policy version is not that of now")

// setPolicy replaces the policy of this version; no text deletes it. It is in
// force from then on, and survives, when it returns.
func (in *instance) setPolicy(version int64, text string, now, from time.Time) error {
	v := policyVersion{Text: text, From: from}
	if text != "" {
		var err error
		if v.policy, err = parseInstancePolicy(text); err != nil {
			return err
		}
	}
	g := &in.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if version != g.newest().Version {
		return errStale
	}
	v.Version = version + 1
	var rec guardRecord
	rec.Created = g.created
	old := *g.versions.Load()
	for i, o := range old {
		// One that is followed by another that is in force already is history.
		if i+1 == len(old) || old[i+1].From.After(now) {
			rec.Versions = append(rec.Versions, o)
		}
	}
	rec.Versions = append(rec.Versions, v)
	if err := in.saveGuard(rec); err != nil {
		return fmt.Errorf("%w: %w", errKeep, err)
	}
	g.versions.Store(&rec.Versions)
	return nil
}

var (
	errLong = fmt.Errorf("the document has more than %d bytes", maxInstancePolicy)
	errKeep = errors.New("keep the policy")
)

func parseInstancePolicy(text string) (*Policy, error) {
	if len(text) > maxInstancePolicy {
		return nil, errLong
	}
	return ParsePolicy(text)
}

// Policy is the newest policy of an instance with its version, as the control
// API shows it, and the one that is in force at this moment. No text is no
// policy; version 0 is that there never was one.
func (s *Server) Policy(instance string) (text string, version int64, inForce string, err error) {
	in, err := s.only(instance)
	if err != nil {
		return "", 0, "", err
	}
	v := in.guard.newest()
	if p := in.guard.inForce(s.clock()); p != nil {
		inForce = p.text
	}
	return v.Text, v.Version, inForce, nil
}

// SetPolicy replaces the policy of an instance if its version is this, as the
// control API does; no text deletes it.
func (s *Server) SetPolicy(instance, text string, version int64) error {
	in, err := s.only(instance)
	if err != nil {
		return err
	}
	if err := s.setPolicy(in, version, text); err != nil {
		return fmt.Errorf("policy of instance %s: %w", instance, err)
	}
	return nil
}

func (s *Server) setPolicy(in *instance, version int64, text string) error {
	now := s.clock()
	return in.setPolicy(version, text, now, now.Add(s.PolicyRules().Delay))
}

// source is where a request came from.
type source struct {
	ip  netip.Addr
	tls string // 1.2, 1.3; empty in clear
}

var tlsVersions = map[uint16]string{0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}

func sourceOf(r *http.Request) source {
	var from source
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		ip, _ := netip.ParseAddr(host)
		from.ip = ip.Unmap()
	}
	if r.TLS != nil {
		from.tls = tlsVersions[r.TLS.Version]
	}
	return from
}

// question puts a request into the words of policies.
func (s *Server) question(action string, k Key, from source) *question {
	q := &question{
		action: "ots:" + strings.ToLower(action), from: from.ip,
		who: []string{s.account(), "acs:ram::" + s.account() + ":root"},
		values: map[string]string{
			keyAccessID: k.ID, keyTrustProxy: "false", keySecureTransport: fmt.Sprint(from.tls != ""),
		},
	}
	if k.Policy != nil {
		q.who = []string{"acs:ram::" + s.account() + ":user/" + cmp.Or(k.User, k.ID)}
	}
	if from.tls != "" {
		q.values[keyTLSVersion] = from.tls
	}
	for _, v := range s.opts.VPCs {
		if v.Prefix.Contains(from.ip) {
			q.values[keySourceVPC] = v.ID
		}
	}
	return q
}

func (s *Server) account() string { return cmp.Or(s.opts.Account, defaultAccount) }

func (s *Server) resource(in *instance, table string) string {
	r := "acs:ots:" + in.guard.region + ":" + s.account() + ":instance/" + strings.ToLower(in.name)
	if table != "" {
		r += "/table/" + table
	}
	return r
}

// permit asks the policy of the instance and the rights of the key, and whether
// it is a replica that is not to be written. A batch is refused as a whole
// [guessed].
func (s *Server) permit(c *call) *refusal {
	in := c.inst
	own := in.guard.inForce(s.clock())
	if own == nil && c.key.Policy == nil {
		return s.writable(c)
	}
	rules := s.policyRules.Load()
	q := s.question(c.op, c.key, c.from)
	for _, table := range subjects(c) {
		resource := s.resource(in, table)
		ofInstance, ofKey := unsaid, unsaid
		if own != nil {
			ofInstance = own.says(q, resource, rules.Text2024)
		}
		if c.key.Policy != nil {
			ofKey = c.key.Policy.says(q, resource, false)
		}
		switch {
		case ofInstance == denies || ofInstance == unsaid && own != nil && own.allow() && !rules.AllowAdds:
			r := refuse(rules.Code, "%s", rules.Message)
			r.closes = rules.ClosesConnections
			return r
		case ofKey == denies || ofKey == unsaid && c.key.Policy != nil && ofInstance != allows:
			return usual(codeNoPermission)
		}
	}
	return s.writable(c)
}

// subjects are the tables that a request is about, under every reading of its
// body; one empty name is the instance itself.
func subjects(c *call) []string {
	var out []string
	add := func(of func(string) string, path ...protowire.Number) {
		for _, text := range textsAt(c.body, path...) {
			out = append(out, of(text))
		}
	}
	itself := func(name string) string { return name }
	switch c.op {
	case "CommitTransaction", "AbortTransaction":
		add(func(id string) string {
			if t, ref := c.inst.txnTable(id); ref == nil {
				return t.Name
			}
			return ""
		}, 1)
	case "DescribeStream", "GetShardIterator":
		add(streamTable, 1)
	case "GetStreamRecord":
		add(func(iterator string) string {
			at, _ := parseCursor(iterator)
			return streamTable(at.stream)
		}, 1)
		add(itself, 3)
	default:
		if path, ok := tablePaths[c.op]; ok {
			add(itself, path...)
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) == 0 {
		out = []string{""}
	}
	return out
}

// tablePaths is where a message names tables: the numbers of the fields, from
// the outside in.
var tablePaths = map[string][]protowire.Number{
	"CreateTable": {1, 1}, "UpdateTable": {1}, "DescribeTable": {1}, "DeleteTable": {1},
	"PutRow": {1}, "GetRow": {1}, "UpdateRow": {1}, "DeleteRow": {1}, "GetRange": {1},
	"BatchGetRow": {1, 1}, "BatchWriteRow": {1, 1},
	"ComputeSplitPointsBySize": {1}, "StartLocalTransaction": {1}, "ListStream": {1},
	"CreateIndex": {1}, "DropIndex": {1}, "AddDefinedColumn": {1}, "DeleteDefinedColumn": {1}, "ListSearchIndex": {1},
	"CreateGlobalTable": {2, 3}, "BindGlobalTable": {3}, "UnbindGlobalTable": {3}, "DescribeGlobalTable": {2}, "UpdateGlobalTable": {2},
}

// textsAt collects the texts at a path of fields, all of them: of a field that
// is there twice the last counts for one reader and the first for another.
func textsAt(b []byte, path ...protowire.Number) []string {
	var out []string
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return out
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(num, typ, b)
		if size < 0 {
			return out
		}
		if num == path[0] && typ == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			if len(path) == 1 {
				out = append(out, string(v))
			} else {
				out = append(out, textsAt(v, path[1:]...)...)
			}
		}
		b = b[size:]
	}
	return out
}
