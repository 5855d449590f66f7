package replication

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// pairOfLabs is two clusters, and a configuration of replication between them.
type pairOfLabs struct {
	a, b *tablestore.Server
	cfg  Config
}

func labCredentials(k tablestore.Key) func() (ots.Credentials, error) {
	return func() (ots.Credentials, error) {
		text, err := json.Marshal(map[string]string{"AccessKeyId": k.ID, "AccessKeySecret": k.Secret})
		if err != nil {
			return ots.Credentials{}, err
		}
		return ots.ParseCredentials(text)
	}
}

// labPolicy is a policy that allows actions on resources of the lab's instance.
func labPolicy(t *testing.T, statements ...string) *tablestore.Policy {
	t.Helper()
	p, err := tablestore.ParsePolicy(`{"Version":"1","Statement":[` + strings.Join(statements, ",") + `]}`)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func allowing(actions []string, resources ...string) string {
	text, _ := json.Marshal(map[string]any{"Effect": "Allow", "Action": actions, "Resource": resources})
	return string(text)
}

const (
	labInstance = "acs:ots:*:*:instance/orders"
	labTables   = labInstance + "/table/*"
	labOwn      = labInstance + "/table/pointsman_*"
)

// labKeys are the identities as init rights grants them.
func labKeys(t *testing.T) []tablestore.Key {
	return []tablestore.Key{
		{ID: "LTAIroot", Secret: "s0"},
		{ID: "LTAIsource", Secret: "s1", Policy: labPolicy(t, allowing(SourceActions, labInstance, labTables))},
		{ID: "LTAItarget", Secret: "s2", Policy: labPolicy(t, allowing(TargetActions, labTables), allowing(OwnActions, labOwn))},
		{ID: "LTAIprepare", Secret: "s3", Policy: labPolicy(t, allowing(PrepareActions, labInstance, labTables))},
	}
}

func newLabs(t *testing.T) *pairOfLabs {
	t.Helper()
	p := &pairOfLabs{cfg: Config{Instance: "orders", Clusters: map[failover.ClusterName]ClusterConfig{}}}
	for name, s := range map[failover.ClusterName]**tablestore.Server{"a": &p.a, "b": &p.b} {
		x, err := tablestore.New(tablestore.Options{Instances: []tablestore.Instance{{Name: "orders"}, {Name: "keeper"}}, Keys: labKeys(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		})
		*s = x
		at := ots.Config{Endpoint: x.Endpoint(), Instance: "orders"}
		source, target := at, at
		source.Credentials, target.Credentials = labCredentials(labKeys(t)[1]), labCredentials(labKeys(t)[2])
		p.cfg.Clusters[name] = ClusterConfig{Source: source, Target: target, Control: target}
	}
	return p
}

// as is the configuration with one key for everything.
func (p *pairOfLabs) as(k tablestore.Key) Config {
	c := p.cfg
	c.Clusters = map[failover.ClusterName]ClusterConfig{}
	for name, at := range p.cfg.Clusters {
		at.Source.Credentials, at.Target.Credentials, at.Control.Credentials = labCredentials(k), labCredentials(k), labCredentials(k)
		c.Clusters[name] = at
	}
	return c
}

func (p *pairOfLabs) client(t *testing.T, name failover.ClusterName) *ots.Client {
	t.Helper()
	c, err := ots.Open(p.as(labKeys(t)[0]).Clusters[name].Source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createAll(t *testing.T, c *ots.Client, tables ...ots.Table) {
	t.Helper()
	for _, x := range tables {
		if err := c.CreateTable(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
}

// As tables are made by default: no stream, a window of a day.
func bareTable(name string) ots.Table {
	return ots.Table{Name: name, Key: []ots.KeySchema{{Name: "id", Type: "STRING"}, {Name: "line", Type: "INTEGER"}}, TTL: -1, MaxVersions: 1, Deviation: 86400, AllowUpdate: true}
}

// Prepare, with an identity that may do nothing else, makes two clusters fit
// of which one has bare tables and the other nearly nothing; a second run finds
// nothing to do; and nobody needed a right that is not in the lists.
func TestPrepareMakesTwoClustersFit(t *testing.T) {
	p := newLabs(t)
	numbered, short := bareTable("numbered"), bareTable("short")
	numbered.Key[1].AutoIncrement = true
	short.TTL, short.MaxVersions = 7*86400, 3
	createAll(t, p.client(t, "a"), bareTable("orders"), numbered, short, bareTable("other"))
	few := bareTable("short")
	few.TTL, few.Retention = 86400, 24*time.Hour
	createAll(t, p.client(t, "b"), few)
	cfg := p.as(labKeys(t)[3])
	cfg.Except = []string{"oth*"}

	f, err := Inspect(t.Context(), cfg, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	plan := NewPlan(f)
	if len(plan.Steps) == 0 || plan.Blocked() != "" {
		t.Fatalf("the plan has %d steps and is blocked by %q", len(plan.Steps), plan.Blocked())
	}
	var done []PlanStep
	if err := plan.Carry(t.Context(), cfg, func(s PlanStep) { done = append(done, s) }); err != nil {
		t.Fatal(err)
	}
	if len(done) != len(plan.Steps) || slices.ContainsFunc(plan.Steps, func(s PlanStep) bool { return s.State != StepDone }) {
		t.Errorf("of %d steps %d were told: %+v", len(plan.Steps), len(done), plan.Steps)
	}
	after, err := Inspect(t.Context(), cfg, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if again := NewPlan(after); len(again.Steps) != 0 {
		t.Errorf("a second plan has %+v", again.Steps)
	}
	got := map[string]string{}
	for _, x := range after.Findings() {
		got[x.Table] += string(x.Level) + " " + x.ID + "; "
	}
	// The hours of a stream that was on cannot be had without losing it.
	if want := (map[string]string{"numbered": "warn table.auto_increment; ", "short": "warn reverse.retention; "}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("afterwards there is %v, want %v", got, want)
	}
	b, err := p.client(t, "b").Describe(t.Context(), "short")
	if err != nil || b.TTL != 7*86400 || b.MaxVersions != 3 || b.Deviation != WideDeviation || b.Retention != 24*time.Hour {
		t.Errorf("short at b is %+v, %v", b, err)
	}
	n, err := p.client(t, "b").Describe(t.Context(), "numbered")
	if err != nil || n.Key[1].AutoIncrement || n.Retention != LongRetention {
		t.Errorf("numbered at b is %+v, %v", n, err)
	}
	if names, err := p.client(t, "b").ListTables(t.Context()); err != nil || slices.Contains(names, "other") {
		t.Errorf("b has %v, %v", names, err)
	}
	for _, s := range []*tablestore.Server{p.a, p.b} {
		if refused := s.Requests(tablestore.Filter{Code: "OTSNoPermissionAccess"}); len(refused) > 0 {
			t.Errorf("the key lacked a right: %+v", refused[0])
		}
		if dropped := s.Requests(tablestore.Filter{Operation: "DeleteTable"}); len(dropped) > 0 {
			t.Errorf("a table was dropped: %+v", dropped[0])
		}
	}
}

// What stops halfway says where, keeps what was done, and a second run goes on.
func TestPrepareGoesOnWhereItWasStopped(t *testing.T) {
	p := newLabs(t)
	createAll(t, p.client(t, "a"), bareTable("orders"), bareTable("returns"))
	cfg := p.as(labKeys(t)[3])
	plan := func() *Plan {
		t.Helper()
		f, err := Inspect(t.Context(), cfg, "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		return NewPlan(f)
	}
	if _, err := p.b.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Operation: "CreateTable", Table: "returns", Code: "OTSParameterInvalid", Message: "no"}, 1); err != nil {
		t.Fatal(err)
	}
	first := plan()
	if err := first.Carry(t.Context(), cfg, func(PlanStep) {}); err == nil || !strings.Contains(err.Error(), "returns at b: OTSParameterInvalid: no") {
		t.Fatalf("the fault is told as %v", err)
	}
	states := map[StepState]int{}
	for _, s := range first.Steps {
		states[s.State]++
	}
	if states[StepFailed] != 1 || states[StepDone] == 0 || states[StepLeft] == 0 || states[StepPlanned] != 0 {
		t.Errorf("the steps are %v", states)
	}
	second := plan()
	if len(second.Steps) == 0 || len(second.Steps) >= len(first.Steps) {
		t.Errorf("of %d steps %d are still to be done", len(first.Steps), len(second.Steps))
	}
	if err := second.Carry(t.Context(), cfg, func(PlanStep) {}); err != nil {
		t.Fatal(err)
	}
	if rest := plan(); len(rest.Steps) != 0 {
		t.Errorf("left are %+v", rest.Steps)
	}
}

// A table that is not ready yet is asked again, and one that somebody else made
// is no fault.
func TestPrepareBearsWithTheService(t *testing.T) {
	p := newLabs(t)
	createAll(t, p.client(t, "a"), bareTable("orders"))
	cfg := p.as(labKeys(t)[3])
	f, err := Inspect(t.Context(), cfg, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	plan := NewPlan(f)
	createAll(t, p.client(t, "b"), bareTable("orders")) // between look and leap
	if err := plan.Carry(t.Context(), cfg, func(PlanStep) {}); err != nil {
		t.Fatal(err)
	}
	if f, err = Inspect(t.Context(), cfg, "a", "b"); err != nil {
		t.Fatal(err)
	}
	rest := NewPlan(f)
	if len(rest.Steps) != 2 { // the window and the stream of what somebody else made
		t.Errorf("the next plan has %+v", rest.Steps)
	}
}

// Our own tables may live in another instance of the cluster, and a table that
// is named in full and is nowhere is missed.
func TestInspectKeepsOurTablesElsewhere(t *testing.T) {
	p := newLabs(t)
	createAll(t, p.client(t, "a"), bareTable("orders"))
	cfg := p.as(labKeys(t)[0])
	for name, at := range cfg.Clusters {
		at.Control.Instance = "keeper"
		cfg.Clusters[name] = at
	}
	cfg.Tables = []string{"ord*", "gone"}
	f, err := Inspect(t.Context(), cfg, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Pairs) != 2 || f.Pairs[0].Table != "gone" || f.Pairs[0].Source != nil || f.Pairs[0].Target != nil {
		t.Fatalf("the pairs are %+v", f.Pairs)
	}
	if err := NewPlan(f).Carry(t.Context(), cfg, func(PlanStep) {}); err != nil {
		t.Fatal(err)
	}
	if f, err = Inspect(t.Context(), cfg, "a", "b"); err != nil {
		t.Fatal(err)
	}
	if got := findingIDs(f.Findings()); got != "block table.missing" {
		t.Errorf("afterwards it says %q", got)
	}
	if n := f.Counts[At{"b", "keeper"}]; n != len(ownTables(completed(t, cfg))) {
		t.Errorf("the keeper of b has %d tables", n)
	}
	if n := f.Counts[At{"b", "orders"}]; n != 1 {
		t.Errorf("orders of b has %d tables", n)
	}
}

func completed(t *testing.T, c Config) Config {
	t.Helper()
	c, err := c.complete()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// actionsIn are the actions that are in the given state, each once.
func actionsIn(rs []Right, s RightState) string {
	var out []string
	for _, r := range rs {
		if r.State == s && !slices.Contains(out, r.Action) {
			out = append(out, r.Action)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// The keys of init rights have what is needed and nothing that is not; each
// right that is taken away is seen, and a key that may do all is too broad.
func TestProbeRights(t *testing.T) {
	p := newLabs(t)
	for name, s := range map[failover.ClusterName]*tablestore.Server{"a": p.a, "b": p.b} {
		x := bareTable("orders")
		x.Retention = LongRetention
		createAll(t, p.client(t, name), x)
		s.Forget()
	}
	probe := func(c Config) (source, target KeyRights) {
		t.Helper()
		ks := ProbeRights(t.Context(), c, "a", []string{"orders"})
		if len(ks) != 2 || ks[0].As != AsSource || ks[1].As != AsTarget || ks[0].Err+ks[1].Err != "" {
			t.Fatalf("the keys are %+v", ks)
		}
		return ks[0], ks[1]
	}
	source, target := probe(p.cfg)
	if source.KeyID != "LTAIsource" || target.KeyID != "LTAItarget" {
		t.Errorf("the keys are %s and %s", source.KeyID, target.KeyID)
	}
	for _, k := range []KeyRights{source, target} {
		if d, u, b := actionsIn(k.Needed, RightDenied), actionsIn(k.Needed, RightUnknown), actionsIn(k.Broad, RightGranted); d+u+b != "" {
			t.Errorf("%s lacks %q, does not know %q and may %q too", k.As, d, u, b)
		}
	}
	sorted := func(actions ...string) string {
		slices.Sort(actions)
		return strings.Join(actions, " ")
	}
	if got := actionsIn(source.Needed, RightGranted); got != sorted(slices.Clone(SourceActions)...) {
		t.Errorf("of the source it tries %s", got)
	}
	if got := actionsIn(target.Needed, RightGranted); got != sorted(slices.Concat(TargetActions, OwnActions)...) {
		t.Errorf("of the target it tries %s", got)
	}
	if n := len(p.b.Requests(tablestore.Filter{})); n != 0 {
		t.Errorf("the other cluster was asked %d times", n)
	}
	rows, err := p.client(t, "a").Range(t.Context(), ots.RangeQuery{Table: "orders", Limit: 1, MaxVersions: 1})
	if names, err2 := p.client(t, "a").ListTables(t.Context()); err != nil || err2 != nil || len(rows.Rows) != 0 || len(names) != 1 {
		t.Errorf("it has written: %v, %v, %v, %v", rows.Rows, err, names, err2)
	}

	source, target = probe(p.as(labKeys(t)[0]))
	if got := actionsIn(source.Broad, RightGranted); got != "ots:DeleteRow ots:PutRow ots:UpdateRow ots:UpdateTable" {
		t.Errorf("of a source that may do all it says %q", got)
	}
	if got := actionsIn(target.Broad, RightGranted); got != "ots:UpdateTable" {
		t.Errorf("of a target that may do all it says %q", got)
	}

	for _, lacks := range slices.Concat(SourceActions, TargetActions, OwnActions) {
		without := func(actions []string) []string {
			return slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a == lacks })
		}
		for _, k := range []tablestore.Key{
			{ID: "LTAIsource", Secret: "s1", Policy: labPolicy(t, allowing(without(SourceActions), labInstance, labTables))},
			{ID: "LTAItarget", Secret: "s2", Policy: labPolicy(t, allowing(without(TargetActions), labTables), allowing(append(without(OwnActions), "ots:Nothing"), labOwn))},
		} {
			p.a.RemoveKey(k.ID)
			if err := p.a.AddKey(k); err != nil {
				t.Fatal(err)
			}
		}
		source, target = probe(p.cfg)
		for _, k := range []KeyRights{source, target} {
			want := ""
			if k.As == AsSource && slices.Contains(SourceActions, lacks) || k.As == AsTarget && slices.Contains(slices.Concat(TargetActions, OwnActions), lacks) {
				want = lacks
			}
			if got := actionsIn(k.Needed, RightDenied); got != want {
				t.Errorf("without %s the %s lacks %q", lacks, k.As, got)
			}
		}
	}

	// A cluster that does not answer says nothing of rights.
	if err := p.a.Kill(); err != nil {
		t.Fatal(err)
	}
	source, target = probe(p.cfg)
	for _, k := range []KeyRights{source, target} {
		if d, g := actionsIn(k.Needed, RightDenied), actionsIn(slices.Concat(k.Needed, k.Broad), RightGranted); d+g != "" {
			t.Errorf("of a dead cluster it says that %q are denied and %q granted", d, g)
		}
	}
}
