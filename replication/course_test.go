package replication

import (
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func TestCourses(t *testing.T) {
	now := time.Now()
	base := lead(3)
	for name, c := range map[string]struct {
		change func(*Course)
		why    string // none: rows are carried
		stays  bool   // a session of the base goes on
	}{
		"idle":              {change: func(*Course) {}, stays: true},
		"synced":            {change: func(c *Course) { c.State = failover.StandbySynced }, stays: true},
		"refilling":         {change: func(c *Course) { c.State = failover.StandbyRefilling }, stays: true},
		"not leading":       {change: func(c *Course) { c.Leading = false }, why: "not leading"},
		"nobody is active":  {change: func(c *Course) { c.Active = "" }, why: "does not say"},
		"one cluster twice": {change: func(c *Course) { c.Standby = c.Active }, why: "does not say"},
		"invalidated":       {change: func(c *Course) { c.State = failover.StandbyInvalidated }, why: "invalidated"},
		"an operation begins": {change: func(c *Course) {
			c.Token.Epoch, c.Op, c.Step = 9, "x-3.9", failover.StepIntent
		}, stays: true},
		"it closes":     {change: func(c *Course) { c.Op, c.Step = "x-3.9", failover.StepClose }, stays: true},
		"it drains":     {change: func(c *Course) { c.Op, c.Step = "x-3.9", failover.StepDrain }, stays: true},
		"it opens":      {change: func(c *Course) { c.Op, c.Step = "x-3.9", failover.StepOpen }, why: "cut by x-3.9"},
		"it moves":      {change: func(c *Course) { c.Op, c.Step = "x-3.9", failover.StepMove }, why: "cut by"},
		"it cuts":       {change: func(c *Course) { c.Op, c.Step = "x-3.9", failover.StepCut }, why: "cut by"},
		"it confirms":   {change: func(c *Course) { c.Op, c.Step = "x-3.9", failover.StepConfirm }, why: "cut by"},
		"it settles":    {change: func(c *Course) { c.Op, c.Step = "x-3.9", failover.StepSettle }, why: "cut by"},
		"other way":     {change: func(c *Course) { c.Active, c.Standby = "b", "a" }},
		"other term":    {change: func(c *Course) { c.Token.Term++ }},
		"lease holds":   {change: func(c *Course) { c.Until = now.Add(time.Second) }, stays: true},
		"lease is over": {change: func(c *Course) { c.Until = now }},
	} {
		t.Run(name, func(t *testing.T) {
			of, _ := base.carries()
			n := base
			c.change(&n)
			_, why := n.carries()
			if c.why == "" && why != "" || !strings.Contains(why, c.why) {
				t.Errorf("why %q, want %q", why, c.why)
			}
			if err := n.allows(of, now); (err == nil) != c.stays {
				t.Errorf("a session that runs may write: %v", err)
			}
		})
	}
}

func TestAnOlderCourseIsIgnored(t *testing.T) {
	r := &Replicator{told: make(chan struct{})}
	r.Follow(lead(5))
	old := lead(4)
	old.Leading = false
	r.Follow(old)
	if c, _ := r.look(); c != lead(5) {
		t.Errorf("the course is %+v", c)
	}
	ends := lead(5)
	ends.Leading = false
	r.Follow(ends)
	if c, _ := r.look(); c.Leading {
		t.Error("under the same token the later word counts")
	}
}

// A lease is renewed many times a second: nobody who waits for another course
// is woken by that, and it counts all the same.
func TestARenewedLeaseIsNoNews(t *testing.T) {
	r := &Replicator{told: make(chan struct{})}
	c := lead(1)
	c.Until = time.Now().Add(-time.Second)
	r.Follow(c)
	w, _ := c.carries()
	if r.allows(w) == nil {
		t.Fatal("the lease is over")
	}
	_, told := r.look()
	c.Until = time.Now().Add(time.Hour)
	r.Follow(c)
	select {
	case <-told:
		t.Error("it woke those who wait")
	default:
	}
	if err := r.allows(w); err != nil {
		t.Error(err)
	}
	c.State = failover.StandbySynced
	r.Follow(c)
	<-told
}

func TestEpochOf(t *testing.T) {
	for op, want := range map[string]uint64{"orders.example.-7.12": 12, "": 0, "x": 0, "x-1.": 0, "x-1.2x": 0} {
		if got := epochOf(op); got != want {
			t.Errorf("%q: %d", op, got)
		}
	}
}

func TestConfig(t *testing.T) {
	two := map[failover.ClusterName]ClusterConfig{"a": {}, "b": {}}
	for name, c := range map[string]struct {
		cfg Config
		err string
	}{
		"no instance":    {Config{Clusters: two}, "no instance"},
		"one cluster":    {Config{Instance: "x", Clusters: map[failover.ClusterName]ClusterConfig{"a": {}}}, "1 clusters"},
		"unknown mode":   {Config{Instance: "x", Clusters: two, Mode: "m"}, "unknown mode"},
		"unknown resync": {Config{Instance: "x", Clusters: two, Resync: "never"}, "unknown resync"},
		"bad glob":       {Config{Instance: "x", Clusters: two, Tables: []string{"[a"}}, "table pattern"},
		"idle < busy":    {Config{Instance: "x", Clusters: two, Busy: time.Second, Idle: time.Millisecond}, "less than busy"},
		"negative":       {Config{Instance: "x", Clusters: two, Lanes: -1}, "negative"},
		"good":           {Config{Instance: "x", Clusters: two}, ""},
	} {
		_, err := c.cfg.complete()
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := Config{Instance: "x", Clusters: two, Tables: []string{"o*", "bill", Prefix + "x"}, Except: []string{"old_*", "o?d"}}.complete()
	if err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]bool{
		"orders": true, "bill": true, "bills": false, "old_1": false, "odd": false,
		Prefix + "x": false, Prefix + "replication": false, "another": false,
	} {
		if c.wants(table) != want {
			t.Errorf("%s: %v", table, !want)
		}
	}
	if got := c.literal(); len(got) != 1 || got[0] != "bill" || !c.open() {
		t.Errorf("literal %v", got)
	}
}
