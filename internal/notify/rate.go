package notify

import (
	"slices"
	"time"
)

// Limit is how many messages a channel may send in any stretch of time.
type Limit struct {
	Count int
	Per   time.Duration
}

// rate is what a channel has spent. Each of its tokens comes back one stretch
// after it was spent, not little by little: robots of chats count the calls of
// the last minute, and a bucket that refills while it is emptied lets twice as
// many through in its first minute. DingTalk then mutes the robot for ten.
type rate struct {
	limits []Limit
	spent  []time.Time // the newest last
}

// window is the longest stretch that is counted.
func (r *rate) window() time.Duration {
	var w time.Duration
	for _, l := range r.limits {
		w = max(w, l.Per)
	}
	return w
}

// ready is when the next message may go, now at the earliest. What is not
// urgent leaves one place of every limit for what is.
func (r *rate) ready(now time.Time, urgent bool) time.Time {
	at := now
	for _, l := range r.limits {
		n := l.Count
		if !urgent && n > 1 {
			n--
		}
		if len(r.spent) < n {
			continue
		}
		// The place of the n-th newest comes back first.
		if back := r.spent[len(r.spent)-n].Add(l.Per); back.After(at) {
			at = back
		}
	}
	return at
}

// spend takes a place.
func (r *rate) spend(now time.Time) {
	r.forget(now)
	r.spent = append(r.spent, now)
}

// finish moves the newest place to when the receiver answered: it counted the
// message at some time between, and the stretch must be over for it, too.
func (r *rate) finish(began, now time.Time) {
	for i := len(r.spent) - 1; i >= 0; i-- {
		if r.spent[i].Equal(began) {
			r.spent[i] = now
			slices.SortFunc(r.spent, time.Time.Compare)
			return
		}
	}
}

// forget drops what no limit counts any more, and takes what seems to come
// from the future for now: the clock was set back.
func (r *rate) forget(now time.Time) {
	w := r.window()
	r.spent = slices.DeleteFunc(r.spent, func(t time.Time) bool { return now.Sub(t) >= w })
	for i, t := range r.spent {
		if t.After(now) {
			r.spent[i] = now
		}
	}
}

// defaults of the rates, per type of channel and of service behind shoutrrr.
// Sources: DingTalk, custom robots, "20 messages a minute, then limited for 10
// minutes"; WeCom, group robots, 20 a minute; Feishu, custom bot guide, 100 a
// minute and 5 a second; Slack, incoming webhooks, 1 a second with short
// bursts; Telegram, 20 a minute to one group; PagerDuty, Events API v2,
// 120 a minute for each key.
var defaults = map[string][]Limit{
	string(DingTalk):     {{20, time.Minute}},
	string(Email):        {{30, time.Minute}},
	string(Folder):       {{600, time.Minute}},
	string(Webhook):      {{120, time.Minute}},
	string(Alertmanager): {{120, time.Minute}},
	string(Shoutrrr):     {{20, time.Minute}},

	"wecom":     {{20, time.Minute}},
	"lark":      {{100, time.Minute}, {5, time.Second}},
	"slack":     {{30, time.Minute}, {1, time.Second}},
	"teams":     {{60, time.Minute}, {4, time.Second}},
	"telegram":  {{20, time.Minute}, {1, time.Second}},
	"pagerduty": {{120, time.Minute}},
	"opsgenie":  {{120, time.Minute}},
	"generic":   {{60, time.Minute}},
}
