package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// stage is a controller with the real core, a ledger and names in memory, and
// three vantages that look at two clusters every round.
type stage struct {
	*Controller
	t      *testing.T
	ledger *memLedger
	zone   *zone
	log    safeLog
	eyes   sync.WaitGroup

	mu    sync.Mutex
	down  map[failover.ClusterName]bool
	mute  bool   // no vantage reports
	crash string // failpoint that ends the process
	pass  func(point string)

	unfinished map[failover.InstanceName]Unfinished // for the next life
	episodes   []failover.Episode                   // as told
	tapes      []failover.Tape

	reloading sync.Mutex
	stop      context.CancelFunc
	ended     chan error
}

// safeLog is a log that can be read while it is written.
type safeLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *safeLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// zone is an external provider with conditional writes, its own authority.
type zone struct {
	mu    sync.Mutex
	value failover.Target
	ttl   uint32
	mark  string
	past  []string

	gone  bool // nothing gets through
	tries int  // calls meanwhile
}

var errGone = errors.New("no answer: the API is down")

// cut makes the provider answer nothing any more, or lets it answer again.
func (z *zone) cut(gone bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.gone, z.tries = gone, 0
}

// ByHand is the command of this provider.
func (z *zone) ByHand(w failover.WriteName) string {
	return fmt.Sprintf("set %s from %s to %s %d %q", w.Name.Name, w.Expect, w.Value, w.TTL, w.Mark)
}

// look returns the value, the mark, and every value that was ever written.
func (z *zone) look() (failover.Target, string, []string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.value, z.mark, slices.Clone(z.past)
}

func (z *zone) Read(_ context.Context, n failover.RecordName) (failover.NameRead, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.gone {
		z.tries++
		return failover.NameRead{}, errGone
	}
	return failover.NameRead{Name: n, Value: z.value, TTL: z.ttl, Mark: z.mark}, nil
}

func (z *zone) Write(_ context.Context, w failover.WriteName) (failover.WriteOutcome, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.gone {
		z.tries++
		return failover.WriteUnknown, errGone
	}
	if z.value != w.Expect || w.ExpectMark != nil && z.mark != *w.ExpectMark {
		return failover.WriteMismatch, errors.New("the prerequisite does not hold")
	}
	z.value, z.ttl, z.mark = w.Value, w.TTL, w.Mark.String()
	z.past = append(z.past, string(z.value))
	return failover.WriteDone, nil
}

func (z *zone) Verify(_ context.Context, ns []failover.NameRecord) map[failover.RecordName]failover.NameAgreement {
	z.mu.Lock()
	defer z.mu.Unlock()
	got := make(map[failover.RecordName]failover.NameAgreement)
	for _, n := range ns {
		got[n.Name] = failover.NameAgreement{
			Agree: n.Embedded || z.value == n.Value, Asked: 2, Agreeing: 2,
			Wanted: n.Value, AskedAt: time.Now(), LastAgree: time.Now(),
		}
	}
	return got
}

// life starts a process on the ledger and the zone that are there.
func (s *stage) life(term uint64, p failover.Policy) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := New(Config{
		Policies: []failover.Policy{p}, Lead: lead(term),
		Ledger: s.ledger, Names: map[string]Names{"bind": s.zone}, Verifier: s.zone,
		Log:        slog.New(slog.NewTextHandler(&s.log, nil)),
		Unfinished: s.unfinished,
		Episode: func(_ context.Context, e failover.Episode) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.episodes = append(s.episodes, e)
		},
		Tape: func(_ context.Context, t failover.Tape, ran *failover.Policy) {
			if t.Policy != ran.Expected {
				s.t.Errorf("a tape under policy %s is kept with policy %s", t.Policy, ran.Expected)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.tapes = append(s.tapes, t)
		},
		Fail: func(point string) error {
			s.mu.Lock()
			dies := point == s.crash
			if dies {
				s.crash = ""
			}
			pass := s.pass
			s.mu.Unlock()
			if pass != nil {
				pass(point)
			}
			if dies {
				cancel()
				return errBroken
			}
			return nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Controller, s.stop, s.ended = c, cancel, make(chan error, 1)
	go func() { s.ended <- c.Run(ctx) }()
	s.eyes.Go(func() { s.report(ctx, c, p) })
}

// report is the three vantages.
func (s *stage) report(ctx context.Context, c *Controller, p failover.Policy) {
	counts := make(map[string]failover.Count)
	for ctx.Err() == nil {
		sent := time.Now()
		time.Sleep(5 * time.Millisecond)
		for _, v := range p.Vantages {
			r := failover.Report{Vantage: v.Name, Clusters: make(map[failover.ClusterName]failover.Sighting)}
			for _, cl := range p.Clusters {
				key := string(v.Name) + " " + string(cl)
				s.mu.Lock()
				ok := !s.down[cl]
				s.mu.Unlock()
				counts[key] = counts[key].Add(ok, sent, p.Count)
				x := counts[key].Sighting(p.Count)
				x.Received, x.Identity, x.Reason = time.Now(), ok, "probe"
				r.Clusters[cl] = x
			}
			s.mu.Lock()
			mute := s.mute
			s.mu.Unlock()
			if !mute {
				_ = c.Deliver(p.Instance, r)
			}
		}
		time.Sleep(p.Round - 5*time.Millisecond)
	}
}

func (s *stage) kill(c failover.ClusterName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down[c] = true
}

// dieAt ends the process when it passes a failpoint.
func (s *stage) dieAt(point string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crash = point
}

func (s *stage) record() failover.Record {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return s.ledger.records[orders]
}

// until waits for a state of affairs.
func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	snap, _ := s.Snapshot(orders)
	s.t.Fatalf("never came: %s\n%+v\n%s", what, failover.Explain(&snap.State, snap.Policy, time.Now()), s.log.String())
}

func (s *stage) do(c failover.Command) failover.Reply {
	s.t.Helper()
	r, err := s.Do(s.t.Context(), orders, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *stage) end() {
	s.stop()
	if err := <-s.ended; err != nil {
		s.t.Error(err)
	}
	s.eyes.Wait()
}

// play runs a story on a stage that is armed and at rest with a active.
func play(t *testing.T, embedded bool, story func(*stage, failover.Policy)) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(t, orders)
		p.By, p.Expected = "ctl-1", "cfg"
		if embedded {
			p.Names[0].Provider, p.Names[0].Embedded = "embedded", true
		}
		s := &stage{
			t: t, ledger: newLedger(), zone: &zone{value: "a.example.", ttl: 5},
			down: make(map[failover.ClusterName]bool),
		}
		s.life(1, p)
		time.Sleep(2 * time.Second)
		if !embedded {
			if r := s.do(failover.Command{Do: failover.DoAdopt, By: "test", Seen: "a.example.", Reason: "test"}); r.Code != failover.ReplyDone {
				t.Fatalf("adopt: %+v", r)
			}
		}
		if r := s.do(failover.Command{Do: failover.DoArm, By: "test", Mode: failover.ModeAuto, Reason: "test"}); r.Code != failover.ReplyDone {
			t.Fatalf("arm: %+v", r)
		}
		time.Sleep(2 * time.Second)
		story(s, p)
		s.end()
	})
}

func (s *stage) settled() bool {
	r := s.record()
	return r.Op == nil && r.LastOp != nil && r.LastOp.Outcome == failover.Settled
}

func TestAnEmbeddedNameMovesFromADyingCluster(t *testing.T) {
	play(t, true, func(s *stage, _ failover.Policy) {
		sub := s.Subscribe()
		defer sub.Close()
		before := time.Now()
		s.kill("a")
		s.until("the name shows b", func() bool {
			r := s.record()
			return r.Name("orders.example.").Value == "b.example."
		})
		if d := time.Since(before); d > time.Second {
			s.t.Errorf("it took %s", d)
		}
		s.until("settled", s.settled)
		r := s.record()
		if r.Active != "b" || !r.LastOp.Op.Auto || r.LastOp.Op.Kind != failover.Failover {
			s.t.Errorf("record %+v", r)
		}
		snap, _ := s.Snapshot(orders)
		if v := failover.Look(&snap.State, snap.Policy, snap.At); v.Active != "b" || v.Phase != failover.PhaseIdle {
			s.t.Errorf("view: active %s, phase %s", v.Active, v.Phase)
		}
		var told []string
		ts, ok := sub.Take()
		for _, x := range ts {
			told = append(told, fmt.Sprintf("%s %s %s", x.Kind, x.Cluster, x.To))
		}
		for _, want := range []string{"verdict a down", "operation b failover started", "active b b", "operation b settled"} {
			if !ok || !strings.Contains(strings.Join(told, "\n"), want) {
				s.t.Errorf("subscribers were not told %q: %q", want, told)
			}
		}
		if lines := strings.Count(s.log.String(), "\n"); lines > 60 {
			s.t.Errorf("%d log lines for one failover", lines)
		}
	})
}

func TestAnExternalNameMovesAfterItsIntentIsDurable(t *testing.T) {
	play(t, false, func(s *stage, _ failover.Policy) {
		_, _, before := s.zone.look()
		s.kill("a")
		s.until("settled", s.settled)
		_, mark, past := s.zone.look()
		if got := fmt.Sprint(past[len(before):]); got != "[b.example.]" {
			s.t.Errorf("the zone was written %s, want the new target once", got)
		}
		r := s.record()
		if m, err := failover.ParseMark(mark); err != nil || m.Token != r.Token() {
			s.t.Errorf("mark %q (%v) beside a record with %s", mark, err, r.Token())
		}
	})
}

func TestAProcessThatDiesAtAnyFailpointOfAFailoverIsFollowedByOneThatFinishesIt(t *testing.T) {
	for _, point := range []string{
		"commit/before", "commit/after", "write-name/before", "write-name/after",
		"read-name/before", "read-name/after", "verify/before", "verify/after",
	} {
		t.Run(point, func(t *testing.T) {
			play(t, false, func(s *stage, p failover.Policy) {
				s.kill("a")
				s.dieAt(point)
				<-s.ended
				s.life(2, p)
				s.until("settled on b under the new term", func() bool {
					r := s.record()
					return s.settled() && r.Active == "b" && r.Term == 2
				})
				value, _, past := s.zone.look()
				if value != "b.example." {
					t.Errorf("the name shows %s", value)
				}
				for i, v := range past {
					if v == "a.example." && i > 0 && past[i-1] == "b.example." {
						t.Errorf("the name went back: %v", past)
					}
				}
			})
		})
	}
}

// Silence is calm, since nothing moves for it, and is told all the same.
func TestASilenceOfAllVantagesIsTold(t *testing.T) {
	play(t, true, func(s *stage, p failover.Policy) {
		sub := s.Subscribe()
		defer sub.Close()
		var told strings.Builder
		for i, mute := range []bool{true, false} {
			s.mu.Lock()
			s.mute = mute
			s.mu.Unlock()
			word := []string{"unknown", "up"}[i]
			s.until("verdicts turn "+word, func() bool {
				ts, _ := sub.Take()
				for _, x := range ts {
					fmt.Fprintf(&told, "%s %s %s\n", x.Kind, x.Cluster, x.To)
				}
				return strings.Contains(told.String(), "verdict a "+word) && strings.Contains(told.String(), "verdict b "+word)
			})
			snap, _ := s.Snapshot(orders)
			if next := failover.NextWake(&snap.State, &p, snap.At); next.Before(snap.At.Add(p.Round)) {
				s.t.Errorf("%s: it wants to be woken after %s, its round is %s", word, next.Sub(snap.At), p.Round)
			}
		}
	})
}

func TestTwoDeadClustersMoveNothing(t *testing.T) {
	play(t, true, func(s *stage, _ failover.Policy) {
		s.kill("a")
		s.kill("b")
		time.Sleep(time.Minute)
		if r := s.record(); r.Active != "a" || r.Op != nil || r.LastOp != nil {
			s.t.Errorf("record %+v", r)
		}
	})
}
