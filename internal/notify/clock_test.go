package notify

import (
	"testing"
	"time"
)

// A controller whose clock was years ahead before a restart is silent no
// longer than a receiver may ask for, or than a step of a route waits.
func TestAClockThatWasAheadSilencesNobody(t *testing.T) {
	dir := t.TempDir()
	s := Setup{
		Channels: []Channel{
			{Name: "hook", Type: Webhook, URL: "http://127.0.0.1:1/", Secret: []byte("0123456789abcdef"), Info: true, Allow: loopback},
			{Name: "slow", Type: Webhook, URL: "http://127.0.0.1:1/", Secret: []byte("0123456789abcdef"), Allow: loopback},
			{Name: "pager", Type: Webhook, URL: "http://127.0.0.1:1/", Secret: []byte("0123456789abcdef"), Allow: loopback},
		},
		Routes: []Route{{Steps: []Step{{Channel: "hook"}, {Channel: "slow"}, {"pager", 20 * time.Minute}}}},
	}
	at := func(now time.Time) *Notifier {
		n, err := open(Config{Dir: dir, Setup: s, Name: "ctl-1", Log: quietLog}, outer{now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	now := time.Now()
	ahead := now.AddDate(5, 0, 0)
	n := at(ahead)
	m := n.complete(fire("a", "held"))
	m.Instance = "orders"
	n.put(&m)
	p, _ := n.box.next("hook", ahead)
	n.box.done(p, &throttled{time.Second, "status 429"}, ahead)
	p, _ = n.box.next("slow", ahead)
	n.box.done(p, errNoAnswer, ahead)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = at(now)
	defer n.Close()
	for channel, wait := range map[string]time.Duration{"hook": maxThrottle, "slow": lastRetry * 3 / 2, "pager": 20 * time.Minute} {
		if p, _ := n.box.next(channel, now.Add(wait-time.Minute)); p != nil {
			t.Errorf("%s goes before its time", channel)
		}
		if p, _ := n.box.next(channel, now.Add(wait)); p == nil {
			t.Errorf("%s has nothing after %s", channel, wait)
		}
	}
	if e := n.box.entries[0]; e.queued.After(now) {
		t.Errorf("queued %s ahead: it is never too old", e.queued.Sub(now))
	}
	if i := n.box.incidents["orders"]; i.Since.After(now) {
		t.Errorf("called for %s ahead", i.Since.Sub(now))
	}
}
