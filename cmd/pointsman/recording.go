package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
	reporting "pointsman/internal/report"
)

// Kinds of lines of the history that say what would have been done, and when
// somebody looked.
const (
	episodeKind   = "episode"
	recordingKind = "recording"
	silenceKind   = "silence"
	policyKind    = "policy"
)

// recording notes in the history that this life looks, and which vantages do
// not: what has no line otherwise was calm, and not unseen. Run owns its
// goroutine.
type recording struct {
	p      *process
	life   failover.Recording
	silent map[failover.VantageName]failover.Silence // that last

	trouble string // of the history, as last logged
}

func newRecording(p *process) *recording {
	now := time.Now()
	return &recording{p: p, life: failover.Recording{Controller: p.now.Load().cfg.Controller.Name, From: now, Until: now}, silent: map[failover.VantageName]failover.Silence{}}
}

// Run beats until ctx ends.
func (r *recording) Run(ctx context.Context) error {
	tick := time.NewTicker(failover.BeatEvery)
	defer tick.Stop()
	r.beat(time.Now())
	for {
		select {
		case <-ctx.Done():
			r.life.Ended = true
			r.beat(time.Now())
			return nil
		case now := <-tick.C:
			r.beat(now)
		}
	}
}

func (r *recording) beat(now time.Time) {
	if r.p.past == nil {
		return
	}
	st := r.p.past.Stats()
	if why := fmt.Sprint(st.Trouble); st.Trouble != nil && why != r.trouble {
		r.trouble = why
		r.p.log.Warn("the history is in trouble; decisions are not", "reason", why, "lines_dropped", st.Dropped)
	}
	r.life.Until, r.life.Dropped, r.life.Reach = now, st.Dropped, st.Reach
	if r.p.ctl != nil {
		r.life.Dropped += r.p.ctl.Stats().HistoryDropped
		r.listen(now)
	}
	// Filed under now: a life that outlasts the history is told anew when its
	// first line has gone.
	r.p.keep(fmt.Sprintf("recording/%d", r.life.From.UnixMilli()), now, "", recordingKind, r.life)
	for _, h := range r.p.clocks.untold(now) {
		r.p.keep(fmt.Sprintf("clock/%s/%d/%d", h.Vantage, h.Hour.Unix(), r.life.From.UnixMilli()), h.Latest.At, "", reporting.KindClock, h)
	}
}

// listen notes which vantages are silent, and which speak again.
func (r *recording) listen(now time.Time) {
	found := map[failover.VantageName]failover.Silence{}
	for _, i := range r.p.ctl.Instances() {
		s, ok := r.p.ctl.Snapshot(i)
		if !ok {
			continue
		}
		for v, since := range s.State.Silent(s.Policy, r.life.From, now) {
			f, had := found[v]
			if !had || since.Before(f.From) {
				f.From = since
			}
			f.Vantage = v
			f.Instances++
			if len(f.Names) < 16 {
				f.Names = append(f.Names, i)
			}
			found[v] = f
		}
	}
	for v, f := range found {
		was, had := r.silent[v]
		if had {
			f.From = was.From
			if f.Instances <= was.Instances {
				continue
			}
		}
		r.silent[v] = f
		r.tell(f)
	}
	for v, was := range r.silent {
		if _, still := found[v]; !still {
			was.To = now
			r.tell(was)
			delete(r.silent, v)
		}
	}
}

func (r *recording) tell(s failover.Silence) {
	r.p.keep(fmt.Sprintf("silence/%s/%d", s.Vantage, s.From.UnixMilli()), s.From, "", silenceKind, s)
}

// keep adds to the measured history, in the place of what had the key before.
func (p *process) keep(key string, at time.Time, i failover.InstanceName, kind string, what any) {
	if p.past == nil {
		return
	}
	s := sampleOf(i, kind, what)
	s.At = at
	if err := p.past.Keep(context.Background(), key, s); err != nil {
		p.log.Debug("history took no sample", "instance", i, "kind", kind, "reason", err)
	}
}

func (p *process) keepEpisode(_ context.Context, e failover.Episode) {
	p.keep("episode/"+e.ID, e.Began, e.Instance, episodeKind, e)
}

// policyEvery is after which time a policy is told again: its line may have been
// pruned by age, or lost with a damaged file, and votes would be left without it.
const policyEvery = time.Hour

// keepTape keeps recorded votes, and the policy that ran once for each.
func (p *process) keepTape(_ context.Context, t failover.Tape, ran *failover.Policy) {
	if p.past == nil {
		return
	}
	key := fmt.Sprintf("policy/%s/%s", t.Instance, t.Policy)
	now := time.Now()
	if at, known := p.policies.Load(key); !known || now.Sub(at.(time.Time)) >= policyEvery {
		p.policies.Store(key, now)
		p.keep(key, t.From, t.Instance, policyKind, ran)
	}
	s := sampleOf(t.Instance, ledger.KindVotes, t)
	s.At = t.From
	if err := p.past.Add(context.Background(), s); err != nil {
		p.log.Debug("history took no sample", "instance", t.Instance, "kind", s.Kind, "reason", err)
	}
}

// unfinished reads which episodes the life before left open. One of each
// instance that is still there goes on; the others, of which nobody will see the
// end, are closed as they are.
func (p *process) unfinished(ctx context.Context, there []failover.InstanceName) map[failover.InstanceName]controller.Unfinished {
	if p.past == nil {
		return nil
	}
	episodes, err := p.past.List(ctx, ledger.HistoryFilter{Kind: episodeKind})
	if err != nil {
		p.log.Warn("open episodes are not known", "reason", err)
		return nil
	}
	out := map[failover.InstanceName]controller.Unfinished{}
	seen := p.lastSeen(ctx)
	for _, s := range slices.Backward(episodes) {
		var e failover.Episode
		if json.Unmarshal(s.Data, &e) != nil || e.ID == "" || e.Watched {
			continue
		}
		why := ""
		if _, newer := out[e.Instance]; newer {
			why = "the controller did not run, and another episode began"
		} else if !slices.Contains(there, e.Instance) {
			why = "the instance is not in the config any more"
		}
		if why != "" {
			p.keepEpisode(ctx, e.Abandoned(why))
			continue
		}
		out[e.Instance] = controller.Unfinished{Episode: e, Seen: seen}
	}
	return out
}

// lastSeen is the newest beat of any life, or zero.
func (p *process) lastSeen(ctx context.Context) (at time.Time) {
	lives, err := p.past.List(ctx, ledger.HistoryFilter{Kind: recordingKind})
	if err != nil {
		return at
	}
	var rs []failover.Recording
	for _, s := range lives {
		var r failover.Recording
		if json.Unmarshal(s.Data, &r) == nil {
			rs = append(rs, r)
		}
	}
	for _, r := range failover.Credible(rs, time.Now()) {
		if r.Until.After(at) {
			at = r.Until
		}
	}
	return at
}
