package healthcheck

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// What somebody waits for is sent at once; what tells only that all is well
// waits for others, not for long, and not in a full message.
func TestReportsThatAllIsWellAreGathered(t *testing.T) {
	up := []ClusterReport{{Cluster: "a", Vote: failover.Up}, {Cluster: "b", Vote: failover.Up}}
	with := func(change func(*ClusterReport)) []ClusterReport {
		cs := slices.Clone(up)
		change(&cs[1])
		return cs
	}
	for name, tc := range map[string]struct {
		sent []InstanceReport
		wait time.Duration
	}{
		"all is well, as before":            {[]InstanceReport{{Instance: "i", Clusters: up}}, gatherFor},
		"a vote has changed":                {[]InstanceReport{{Instance: "i", Clusters: with(func(c *ClusterReport) { c.Vote = failover.Down })}}, 0},
		"it is well again":                  {[]InstanceReport{{Instance: "j", Clusters: up}}, 0},
		"a miss":                            {[]InstanceReport{{Instance: "i", Clusters: with(func(c *ClusterReport) { c.Misses = 1 })}}, 0},
		"down, as before":                   {[]InstanceReport{{Instance: "k", Clusters: with(func(c *ClusterReport) { c.Vote = failover.Down })}}, 0},
		"unknown, as before":                {[]InstanceReport{{Instance: "l", Clusters: with(func(c *ClusterReport) { c.Vote = failover.Unknown })}}, 0},
		"sick, as before":                   {[]InstanceReport{{Instance: "m", Sick: "ill", Clusters: up}}, 0},
		"two are well, one of them changed": {[]InstanceReport{{Instance: "i", Clusters: up}, {Instance: "j", Clusters: up}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := NewSender(SenderConfig{Vantage: "van-1", Key: keyOne, Controllers: []string{"http://127.0.0.1:1"}})
				if err != nil {
					t.Fatal(err)
				}
				l := (*s.lines.Load())[0]
				s.Send(InstanceReport{Instance: "i", Clusters: up})
				s.Send(InstanceReport{Instance: "j", Clusters: with(func(c *ClusterReport) { c.Vote = failover.Down })})
				s.Send(InstanceReport{Instance: "k", Clusters: with(func(c *ClusterReport) { c.Vote = failover.Down })})
				s.Send(InstanceReport{Instance: "l", Clusters: with(func(c *ClusterReport) { c.Vote = failover.Unknown })})
				s.Send(InstanceReport{Instance: "m", Sick: "ill", Clusters: up})
				time.Sleep(time.Hour)
				l.gather(t.Context())
				for len(l.news.press)+len(l.news.rush) > 0 { // those of the first reports
					select {
					case <-l.news.press:
					case <-l.news.rush:
					}
				}
				l.news.since = time.Now()
				for _, r := range tc.sent {
					s.Send(r)
				}
				start := time.Now()
				if got := l.gather(t.Context()); len(got) != len(tc.sent) {
					t.Errorf("%d reports in the message, want %d", len(got), len(tc.sent))
				}
				if got := time.Since(start); got != tc.wait {
					t.Errorf("waited %s, want %s", got, tc.wait)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLine("http://127.0.0.1:1", SenderConfig{})
		l.news.since = time.Now()
		start := time.Now()
		if got := l.gather(t.Context()); len(got) != 0 || time.Since(start) != 0 {
			t.Errorf("%d of none after %s", len(got), time.Since(start))
		}
		for i := range maxBatch {
			l.put(InstanceReport{Instance: failover.InstanceName(strconv.Itoa(i)), Clusters: up})
		}
		if got := l.gather(t.Context()); len(got) != maxBatch || time.Since(start) != 0 {
			t.Errorf("a full message of %d after %s", len(got), time.Since(start))
		}
		l.news.since = time.Now()
		l.put(InstanceReport{Instance: "late", Clusters: up})
		l.backlog.hurry("late") // what was left of the news after a full message
		start = time.Now()
		if got := l.gather(t.Context()); len(got) != 1 || time.Since(start) != 0 {
			t.Errorf("news: %d after %s", len(got), time.Since(start))
		}
	})
}
