package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// cloudWorld is a machine room whose name is kept by Alibaba Cloud DNS, as the
// lab imitates it: two lines, and an authority that answers for each.
type cloudWorld struct {
	*bindWorld
	cloud *alicloud.Server
	zone  string // ID
	keys  []alicloud.Key
}

const cloudConfig = `controller: {name: ctl-1, data: data, socket: s/s}
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://$CONTROL"]}
single_vantage: accept
providers:
  cloud:
    type: alidns
    zone: example.com.
    endpoint: "http://$API"
    credentials: {file: dns.key.json}
    read_credentials: {file: look.key.json}
    authorities: [$AUTHORITIES]
    settle: 1s
    ttl_floor: 1s
instances:
  - name: orders
    preset: fast-lab
    names: [{name: orders.example.com., provider: cloud}]
` + twoClusters

var cloudLines = []string{"default", "telecom"}

func newCloudWorld(t *testing.T) *cloudWorld {
	t.Helper()
	s, err := alicloud.New(alicloud.Options{Authorities: []alicloud.Authority{{}, {Line: "telecom"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := &cloudWorld{cloud: s, bindWorld: &bindWorld{dir: shortDir(t, "cloud"), a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")}}
	if w.zone, err = s.AddZone(alicloud.Zone{Name: "example.com", MinTTL: 1}); err != nil {
		t.Fatal(err)
	}
	for _, line := range cloudLines {
		if _, err := s.AddRecord(w.zone, alicloud.Record{RR: "orders", Type: "CNAME", Value: "orders-a.example.com", TTL: 6, Line: line}); err != nil {
			t.Fatal(err)
		}
	}
	var at []string
	for _, a := range s.Authorities() {
		at = append(at, fmt.Sprintf("%q", a))
	}
	w.replace = strings.NewReplacer("$API", s.Endpoint(), "$AUTHORITIES", strings.Join(at, ", "), "$CONTROL", controlAt(t), "$A", w.a.addr, "$B", w.b.addr)
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": w.replace.Replace(cloudConfig)})
	w.grant(t, "alidns")
	return w
}

// grant makes both keys with exactly the policies that init rights prints.
func (w *cloudWorld) grant(t *testing.T, provider string) {
	t.Helper()
	file := filepath.Join(w.dir, "pointsman.yaml")
	for name, grants := range map[string][]string{"look": {"pointsman-dns-read"}, "dns": {"pointsman-dns-read", "pointsman-dns-write"}} {
		k := alicloud.Key{ID: "LTAI-" + name, Secret: name + "-secret-secret-secret-secret", User: name, Policy: rightsFor(t, provider, file, grants...)}
		if err := w.cloud.AddKey(k); err != nil {
			t.Fatal(err)
		}
		w.keys = append(w.keys, k)
		writeFiles(t, w.dir, map[string]string{name + ".key.json": keyFileOf(t, k)})
	}
}

// noKey wants no key in a text.
func (w *cloudWorld) noKey(t *testing.T, text string) {
	t.Helper()
	for _, k := range w.keys {
		if strings.Contains(text, k.ID) || strings.Contains(text, k.Secret) {
			t.Errorf("the key %s is in\n%s", k.User, text)
		}
	}
}

func keyFileOf(t *testing.T, k alicloud.Key) string {
	t.Helper()
	text, err := json.Marshal(map[string]string{"AccessKeyId": k.ID, "AccessKeySecret": k.Secret})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// shows wants every line to have the target.
func (w *cloudWorld) shows(t *testing.T, target string) {
	t.Helper()
	for _, line := range cloudLines {
		if r, ok := w.cloud.Record(w.zone, "orders", line); !ok || r.Value+"." != target {
			t.Errorf("line %s shows %+v (%v), want %s", line, r, ok, target)
		}
	}
}

// TestCloudStories runs the program against the lab's Alibaba Cloud.
func TestCloudStories(t *testing.T) {
	t.Parallel()
	var g errgroup.Group
	g.SetLimit(4)
	for _, story := range []struct {
		name string
		tell func(*testing.T)
	}{
		{"one authority stays behind", cloudStaleAuthority}, // the longest comes first
		{"shadow, then armed, then a death", cloudDeath},
		{"the reply is lost after the commit", func(t *testing.T) {
			cloudFault(t, "UpdateDomainRecord", alicloud.Fault{Kind: alicloud.Reset, After: true}, 1)
		}},
		{"throttled at the worst time", func(t *testing.T) {
			cloudFault(t, "UpdateDomainRecord", alicloud.Fault{Kind: alicloud.Throttled}, 3)
		}},
		{"one line of two fails", func(t *testing.T) {
			cloudFault(t, "UpdateDomainRecord", alicloud.Fault{Kind: alicloud.Unavailable, Line: "telecom"}, 4)
		}},
		{"somebody else edits", cloudSomebodyElse},
		{"the edition takes no TTL as short", cloudFloor},
		{"killed between value and remark", func(t *testing.T) {
			cloudKilled(t, "UpdateDomainRecordRemark", "telecom", false, map[string]string{"default": "orders-b, marked true", "telecom": "orders-b, marked false"})
		}},
		{"killed between two lines", func(t *testing.T) {
			cloudKilled(t, "UpdateDomainRecord", "telecom", false, map[string]string{"default": "orders-b, marked true", "telecom": "orders-a, marked false"})
		}},
		{"killed before the reply to the last remark", func(t *testing.T) {
			cloudKilled(t, "UpdateDomainRecordRemark", "telecom", true, map[string]string{"default": "orders-b, marked true", "telecom": "orders-b, marked true"})
		}},
		{"a second controller has a newer mark", cloudSecondController},
		{"a private zone whose resolver keeps answers", cloudPrivateZone},
	} {
		g.Go(func() error {
			t.Run(story.name, story.tell)
			return nil
		})
	}
	_ = g.Wait()
}

// cloudDeath: in shadow nothing is written and no key is read that could; then
// the active cluster dies, and both lines move in place.
func cloudDeath(t *testing.T) {
	w := newCloudWorld(t)
	shadow := w.start(t, "run", "-c", "pointsman.yaml", "--shadow")
	w.until(t, "both up", bothUp)
	w.adopt(t)
	shadow.end(t)
	for _, r := range w.cloud.Requests() {
		if !strings.HasPrefix(r.Action, "Describe") {
			t.Errorf("in shadow it sent %s", r.Action)
		}
	}
	before := map[string]int64{}
	for _, line := range cloudLines {
		r, _ := w.cloud.Record(w.zone, "orders", line)
		before[line] = r.ID
	}
	w.run(t)
	w.took(t)
	w.shows(t, bindA)
	w.a.kill()
	w.until(t, "it moved", marked("b"))
	w.shows(t, bindB)
	for _, line := range cloudLines {
		if r, _ := w.cloud.Record(w.zone, "orders", line); r.ID != before[line] {
			t.Errorf("the record of line %s is another: %d, was %d", line, r.ID, before[line])
		}
	}
	for _, r := range w.cloud.Requests() {
		if strings.HasPrefix(r.Action, "Delete") || strings.HasPrefix(r.Action, "Add") || strings.HasPrefix(r.Action, "SetDomain") {
			t.Errorf("it sent %s", r.Action)
		}
	}
	const limits = "cloud: no compare-and-swap: it reads, writes and reads back; a write that is cut off may have changed a part"
	for verb, want := range map[string]int{"status orders": exitOK, "explain orders": exitOK, "plan switchover orders": exitRefused, "status orders -o json": exitOK, "plan switchover orders -o json": exitRefused} {
		out := w.verb(t, want, strings.Fields(verb)...)
		w.noKey(t, out)
		if !strings.Contains(out, limits) && !strings.Contains(out, `"limits": "`+strings.TrimPrefix(limits, "cloud: ")) {
			t.Errorf("%s does not say what the provider does not promise:\n%s", verb, out)
		}
	}
	wantIn(t, w.verb(t, exitOK, "config", "explain", "-c", "pointsman.yaml"), "provider "+limits)
}

// cloudFault: the fault comes while the name is moved, and the move ends all
// the same, on both lines.
func cloudFault(t *testing.T, action string, f alicloud.Fault, times int) {
	w := newCloudWorld(t)
	w.run(t)
	w.took(t)
	w.cloud.Fail(action, f, times)
	w.a.kill()
	w.until(t, "it moved", marked("b"))
	w.shows(t, bindB)
	if left := w.cloud.Faults(); len(left) > 0 {
		t.Errorf("the fault was not met: %+v", left)
	}
}

// cloudSomebodyElse: a person moves one line. That is reported and not fought,
// and a failover meanwhile does not overwrite it.
func cloudSomebodyElse(t *testing.T) {
	w := newCloudWorld(t)
	w.run(t)
	w.took(t)
	r, _ := w.cloud.Record(w.zone, "orders", "telecom")
	elsewhere, none := "elsewhere.example.com", ""
	if err := w.cloud.Change(r.ID, alicloud.Edit{Value: &elsewhere, Remark: &none}); err != nil {
		t.Fatal(err)
	}
	w.until(t, "a drift", drifts)
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "telecom", "elsewhere.example.com.")
	w.a.kill()
	w.until(t, "a is down, and why nothing moves", func(v failover.View) bool {
		return v.Wants != "" && len(v.Refused) > 0 &&
			slices.ContainsFunc(v.Clusters, func(c failover.ClusterView) bool { return c.Name == "a" && c.Verdict == failover.Down })
	})
	if r, _ := w.cloud.Record(w.zone, "orders", "telecom"); r.Value != "elsewhere.example.com" {
		t.Errorf("it was overwritten: %+v", r)
	}
}

// TestEjectLetsAPersonMoveTheNameAtACloud: the lines that are printed are typed
// as they stand, before anything was ever read by the one who types, and the lab
// does it. A line that shows something else is left.
func TestEjectLetsAPersonMoveTheNameAtACloud(t *testing.T) {
	for _, private := range []bool{false, true} {
		t.Run(fmt.Sprintf("private %v", private), func(t *testing.T) { ejectFromACloud(t, private) })
	}
}

func ejectFromACloud(t *testing.T, private bool) {
	w := newCloudWorld(t)
	pinned := ""
	if private {
		pinned = w.makePrivate(t)
	} else {
		r, _ := w.cloud.Record(w.zone, "orders", "telecom")
		pinned = fmt.Sprintf("--RecordId %d ", r.ID)
		w.edit(t, "    settle: 1s\n", fmt.Sprintf("    settle: 1s\n    records: {orders.example.com.: {telecom: %q, default: %q}}\n", fmt.Sprint(r.ID), fmt.Sprint(w.first(t))))
	}
	ctl := w.run(t)
	w.took(t)
	said, readme := ejected(t, w.bindWorld, "--out", "hand")
	ctl.end(t)
	w.noKey(t, readme+said)
	wantIn(t, readme, "no compare-and-swap", "aliyun configure", "mark, in the remark of its records", pinned)
	person := alicloud.Key{ID: "LTAI-person", Secret: "person-person-person-person-person", User: "person"}
	if err := w.cloud.AddKey(person); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAB_ENDPOINT", w.cloud.Endpoint())
	t.Setenv("LAB_KEY_ID", person.ID)
	t.Setenv("LAB_KEY_SECRET", person.Secret)
	run := func(line string) (string, bool) { return typed(t, w.dir, line) }
	for _, step := range []struct{ to, want string }{{"b", bindB}, {"b", bindB}, {"a", bindA}} {
		line := below(t, readme, "to "+step.to+" (")
		if said, ok := run(line); !ok {
			t.Fatalf("%s\n%s", line, said)
		}
		w.shows(t, step.want)
		for _, l := range strings.Split(readme, "\n") {
			if l = strings.TrimSpace(l); !strings.HasPrefix(l, "dig @") && !strings.HasPrefix(l, "dig +n") && !strings.HasPrefix(l, "aliyun alidns Describe") && !strings.HasPrefix(l, "aliyun pvtz Describe") || strings.Contains(l, "resolver of this machine") {
				continue
			}
			if said, ok := run(l); !ok || !strings.Contains(said, strings.TrimSuffix(step.want, ".")) {
				t.Errorf("to look: %s\n%s", l, said)
			}
		}
	}
	if r, _ := w.cloud.Record(w.zone, "orders", "default"); r.TTL != 6 {
		t.Errorf("the TTL is %d", r.TTL)
	}
	// Somebody else's line stays.
	elsewhere := "elsewhere.example.com"
	r, _ := w.cloud.Record(w.zone, "orders", "telecom")
	if err := w.cloud.Change(r.ID, alicloud.Edit{Value: &elsewhere}); err != nil {
		t.Fatal(err)
	}
	said, ok := run(below(t, readme, "to b ("))
	if r, _ := w.cloud.Record(w.zone, "orders", "telecom"); !ok || r.Value != elsewhere || !strings.Contains(said, "line telecom shows "+elsewhere+" and stays") {
		t.Errorf("%s\n%+v", said, r)
	}
	if !private {
		if said, ok := run(below(t, readme, "or, line by line and whatever it shows")); !ok {
			t.Errorf("pinned: %s", said)
		}
	}
	if said, ok := run(below(t, readme, "without the mark:")); !ok {
		t.Errorf("unmark: %s", said)
	}
	for _, line := range cloudLines {
		if r, _ := w.cloud.Record(w.zone, "orders", line); r.Remark != "" {
			t.Errorf("line %s still has the mark %q", line, r.Remark)
		}
	}
	// The API is gone: the line says so and does nothing.
	w.cloud.Fail("", alicloud.Fault{Kind: alicloud.Unavailable}, -1)
	if said, ok := run(below(t, readme, "to a (")); ok {
		t.Errorf("without an API it went well: %s", said)
	}
}

// edit changes the configuration.
func (w *cloudWorld) edit(t *testing.T, old, text string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "pointsman.yaml"))
	if err != nil || !strings.Contains(string(data), old) {
		t.Fatalf("no %q in the file (%v)", old, err)
	}
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": strings.Replace(string(data), old, text, 1)})
}

func (w *cloudWorld) first(t *testing.T) int64 {
	t.Helper()
	r, ok := w.cloud.Record(w.zone, "orders", "default")
	if !ok {
		t.Fatal("no record on the line default")
	}
	return r.ID
}

// makePrivate puts the name into a private zone instead, seen by one network. It
// returns its ID.
func (w *cloudWorld) makePrivate(t *testing.T, change ...func(*alicloud.Zone)) string {
	t.Helper()
	s, err := alicloud.New(alicloud.Options{VPCs: []alicloud.VPC{{ID: "vpc-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	before := w.cloud.Endpoint()
	w.cloud = s
	z := alicloud.Zone{Name: "example.com", Private: true, VPCs: []string{"vpc-1"}, MinTTL: 1}
	for _, c := range change {
		c(&z)
	}
	if w.zone, err = s.AddZone(z); err != nil {
		t.Fatal(err)
	}
	for _, line := range cloudLines {
		if _, err := s.AddRecord(w.zone, alicloud.Record{RR: "orders", Type: "CNAME", Value: "orders-a.example.com", TTL: 6, Line: line, Weight: 1}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(w.dir, "pointsman.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^    authorities: .*$`).ReplaceAllString(string(data), fmt.Sprintf("    zone_id: %s\n    resolvers: [%q]", w.zone, s.Resolver("vpc-1")))
	text = strings.NewReplacer("type: alidns", "type: pvtz", before, s.Endpoint()).Replace(text)
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": text})
	w.keys = nil
	w.grant(t, "pvtz")
	return w.zone
}

// cloudFloor: the zone takes no TTL as short as the policy's. That is said before
// the night on which it would matter, and counted.
func cloudFloor(t *testing.T) {
	w := newCloudWorld(t)
	id, err := w.cloud.AddZone(alicloud.Zone{Name: "free.example", Edition: alicloud.Free})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range cloudLines {
		if _, err := w.cloud.AddRecord(id, alicloud.Record{RR: "orders", Type: "CNAME", Value: "orders-a.example.com", TTL: 6, Line: line}); err != nil {
			t.Fatal(err)
		}
	}
	w.edit(t, "zone: example.com.", "zone: free.example.")
	w.edit(t, "name: orders.example.com.", "name: orders.free.example.")
	w.keys = nil
	w.grant(t, "alidns")
	w.run(t)
	w.until(t, "both up", bothUp)
	w.adopt(t)
	w.until(t, "the floor", func(v failover.View) bool { return len(v.Names) == 1 && v.Names[0].TTLFloor == 600 })
	const says = "orders.free.example.: cloud takes no TTL below 600 s and ttl is 6 s, so it will refuse every move"
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "notice: "+says)
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "note: "+says)
	_, out := w.try(t, "plan", "failover", "orders", "-o", "json")
	var p failover.Plan
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if sum, _ := failover.Sum(p.Bound); sum < 10*time.Minute {
		t.Errorf("the bound of the plan is %s: %+v", sum, p.Bound)
	}
}
