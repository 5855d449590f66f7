package doctor

import (
	"strings"
	"testing"
	"time"
)

func TestJudgeReplicaKey(t *testing.T) {
	fine := ReplicaKeyFacts{Instance: "orders", Cluster: "a", As: "source", KeyID: "LTAI1", Granted: 9}
	for _, c := range []struct {
		name   string
		change func(*ReplicaKeyFacts)
		want   []Verdict
		says   string
	}{
		{"all is well", func(*ReplicaKeyFacts) {}, []Verdict{OK}, "has the 9 rights"},
		{"no key", func(k *ReplicaKeyFacts) { k.Err = "no such file" }, []Verdict{Fail}, "no such file"},
		{"a right is missing", func(k *ReplicaKeyFacts) { k.Missing = []string{"ots:GetRange on orders"} }, []Verdict{Fail}, "lacks ots:GetRange on orders"},
		{"too broad", func(k *ReplicaKeyFacts) { k.Broad = []string{"ots:UpdateTable"} }, []Verdict{Warn}, "more than it needs: ots:UpdateTable"},
		{"one key for two", func(k *ReplicaKeyFacts) { k.SameAs = "target" }, []Verdict{Warn}, "is that of target too"},
		{"not known", func(k *ReplicaKeyFacts) { k.Unknown = []string{"ots:GetRange on orders"} }, []Verdict{Skipped}, "not known"},
		{"missing and broad", func(k *ReplicaKeyFacts) { k.Missing, k.Broad = []string{"x"}, []string{"y"} }, []Verdict{Fail, Warn}, "lacks x"},
	} {
		k := fine
		c.change(&k)
		got := JudgeReplicaKey(k)
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		for i, f := range got {
			if f.Verdict != c.want[i] || f.ID != "replication.rights" || f.About != "orders/a as source" || (f.Verdict == Warn || f.Verdict == Fail) && f.Fix == "" {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if !strings.Contains(got[0].Evidence, c.says) {
			t.Errorf("%s: it says %q", c.name, got[0].Evidence)
		}
	}
}

func TestJudgeLag(t *testing.T) {
	for _, c := range []struct {
		facts LagFacts
		want  Verdict
		says  string
	}{
		{LagFacts{Lag: 1200 * time.Millisecond, Limited: true, Limit: 30 * time.Second}, OK, "1.2s behind"},
		{LagFacts{Lag: time.Hour}, OK, "1h"},
		{LagFacts{Lag: 31 * time.Second, Limited: true, Limit: 30 * time.Second}, Warn, "may lose 30s"},
		{LagFacts{Limited: true}, OK, "0s behind"},
		{LagFacts{Lag: time.Millisecond, Limited: true}, Warn, "1ms behind (mode external), and an automatic failover may lose 0s"},
		{LagFacts{Err: "the job has stopped", Fix: "start it"}, Fail, "the job has stopped"},
	} {
		c.facts.Instance, c.facts.Mode = "orders", "external"
		if got := JudgeLag(c.facts); got.Verdict != c.want || got.ID != "replication.lag" || got.About != "orders" || !strings.Contains(got.Evidence, c.says) || c.want != OK && got.Fix == "" {
			t.Errorf("%+v: %+v", c.facts, got)
		}
	}
}

func TestJudgeIdle(t *testing.T) {
	f := IdleFacts{Instance: "orders", Cluster: "a", Tables: 3, Shards: 4, Idle: 2 * time.Second, Busy: 100 * time.Millisecond}
	if got := JudgeIdle(f); got.Verdict != OK || !strings.Contains(got.Evidence, "about 172,800 read units a day") || !strings.Contains(got.Evidence, "up to 3,456,000;") {
		t.Errorf("of few it says %+v", got)
	}
	f.Shards = 1000
	if got := JudgeIdle(f); got.Verdict != Warn || !strings.Contains(got.Evidence, "43,200,000") || got.Fix == "" {
		t.Errorf("of many it says %+v", got)
	}
	f.Err = "no answer"
	if got := JudgeIdle(f); got.Verdict != Skipped || got.Evidence != "no answer" {
		t.Errorf("without an answer it says %+v", got)
	}
}

func TestJudgeReplicaClock(t *testing.T) {
	for _, c := range []struct {
		known     bool
		low, high time.Duration
		want      Verdict
	}{
		{false, 0, 0, Skipped},
		{true, -time.Second, time.Second, OK},
		{true, 4 * time.Second, 5 * time.Second, Warn},
		{true, -8 * time.Minute, -8*time.Minute + time.Second, Fail},
	} {
		if got := JudgeReplicaClock("orders", "a", c.known, c.low, c.high); got.Verdict != c.want || got.ID != "replication.clock" {
			t.Errorf("between %s and %s: %+v", c.low, c.high, got)
		}
	}
}
