package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// session carries rows one way under one term: from the claim of the control
// rows to the last saved position. All that it knows comes from these rows and
// from what the clusters say, so that it may end anywhere, by any cause.
type session struct {
	r     *Replicator
	cfg   *Config
	way   way
	token failover.Token
	log   *slog.Logger

	source, target *ots.Client
	ctl            *control
	dead           *deadLetters
	applier        *applier
	pool           *copyPool
	copies         chan struct{} // one for each table that is being copied

	saving sync.Mutex    // held while a row of the control table is written
	relist chan struct{} // list the tables now
	over   chan struct{} // closed when nothing of it runs any more

	// hanging is, when it is over, why requests of it may still be under way.
	hanging error

	mu      sync.Mutex
	opened  bool            // ctl, dead and applier are there
	doing   string          // before the tables are known
	trouble string          // of the session as a whole
	unsaved error           // why positions cannot be saved
	unkept  map[string]bool // tables whose orders only a file keeps
	tables  map[string]*runner
	listed  time.Time // when the last whole list of tables was asked for
	left    int       // tables of people that the configuration leaves out
	pause   *savedOrder
	lifted  chan struct{} // closed when the pause is over
}

func newSession(r *Replicator, w way, token failover.Token) *session {
	return &session{
		r: r, cfg: &r.cfg, way: w, token: token,
		log:    r.cfg.Log.With("instance", r.cfg.Instance, "from", w.From, "to", w.To),
		source: r.clients[w.From].source, target: r.clients[w.To].target,
		pool: newCopyPool(r.cfg.Parallel, 0), copies: make(chan struct{}, r.cfg.Copies),
		relist: make(chan struct{}, 1), over: make(chan struct{}), doing: "beginning", tables: map[string]*runner{}, unkept: map[string]bool{},
	}
}

// may says whether a row or a control row may be written now.
func (s *session) may() error {
	return s.r.allows(s.way)
}

// fail is a point at which the process may die.
func (s *session) fail(point string) error { return s.r.fail(point) }

// run claims, restores and carries until ctx ends or the claim is lost.
func (s *session) run(ctx context.Context) error {
	had, err := s.restore(ctx)
	if err != nil {
		return err
	}
	s.log.Info("replication begins", "token", s.token, "tables", len(had))
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g, back := bareTeam(), bareTeam()
	part := func(do func() error) func() error {
		return func() error {
			err := safely(do)
			cancel(err)
			return err
		}
	}
	back.Go(part(func() error { return s.applier.Run(context.WithoutCancel(work)) }))
	g.Go(part(func() error { return s.discover(work, had) }))
	g.Go(part(func() error { return s.keep(work) }))
	err = g.Wait()
	return s.end(ctx, err, back)
}

// end stops the applier and saves, where that is still allowed, what it did.
func (s *session) end(ctx context.Context, why error, back *team) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	stopped := errors.Join(s.applier.Stop(last), s.pool.outlast(last))
	if err := back.Wait(); !errors.Is(why, errDead) && err != nil && !errors.Is(err, context.Canceled) {
		why = errors.Join(why, err)
	}
	s.hanging = stopped
	s.r.settled(s.way, stopped == nil)
	if s.may() != nil {
		return why
	}
	if err := s.saveAll(last, true); err != nil {
		return errors.Join(why, err)
	}
	if stopped == nil {
		// Only when nothing is in flight need the next one not wait.
		s.log.Debug("control rows released", "error", s.ctl.Release(last))
	}
	return why
}

// restore claims the control rows and reads them. It goes on trying.
func (s *session) restore(ctx context.Context) (map[string]saved, error) {
	var unclean bool
	still := s.r.takeStill(s.way)
	err := s.again(ctx, "claiming", func(ctx context.Context) (err error) {
		if !s.opened { // only we change it
			if err := s.open(ctx); err != nil {
				return err
			}
		}
		unclean, err = s.ctl.Claim(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if unclean && !still {
		s.say("waiting until no older request can be under way", "")
		if err := sleep(ctx, s.cfg.Timeout); err != nil {
			return nil, err
		}
	}
	var had map[string]saved
	err = s.again(ctx, "reading where it was", func(ctx context.Context) (err error) {
		had, err = s.ctl.Load(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.outdated(had)
	return had, s.restoreOrders(ctx, had)
}

// outdated takes rows for cut that are older than the last change of roles, as
// far as the record does not say that the standby is complete: nobody may have
// come to write the cut down. What people ordered then is over too.
func (s *session) outdated(had map[string]saved) {
	c, _ := s.r.look()
	if c.State != failover.StandbyRefilling && c.State != failover.StandbyUnprotected {
		return
	}
	for name, row := range had {
		if name == "" || row.Epoch >= c.Token.Epoch || row.Phase == PhaseCut {
			continue
		}
		s.log.Warn("positions of before an operation do not count", "table", name, "phase", row.Phase, "epoch", row.Epoch)
		had[name] = saved{Table: name, Phase: PhaseCut, At: row.At, Epoch: row.Epoch}
	}
}

// open opens what keeps our own tables.
func (s *session) open(ctx context.Context) error {
	control := s.r.clients[s.way.To].control
	ctl, err := openControl(ctx, controlConfig{
		Client: control, Table: s.cfg.ControlTable, Instance: s.cfg.Instance,
		From: s.way.From, To: s.way.To, Token: s.token, By: s.cfg.By, May: s.mayKeep,
	})
	if err != nil {
		return err
	}
	dead, err := openDeadLetters(ctx, deadConfig{
		Client: control, Table: s.cfg.DeadTable, Instance: s.cfg.Instance,
		From: s.way.From, To: s.way.To, By: s.cfg.By, May: s.may,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctl, s.dead, s.opened = ctl, dead, true
	s.applier = newApplier(applyConfig{
		Client: s.target, Lanes: s.cfg.Lanes, May: s.mayApply, Dead: dead, Table: s.targetTable,
		Fault: s.stopped, Settle: s.cfg.Timeout, Log: s.log,
	})
	return nil
}

// stopped hears that the applier takes nothing of a table any more.
func (s *session) stopped(table string, err error) {
	if r := s.runner(table); r != nil {
		r.interrupt(fmt.Errorf("apply: %w", err))
	}
}

// runner is that of a table, or nil.
func (s *session) runner(table string) *runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tables[table]
}

// targetTable is a table as the target describes it.
func (s *session) targetTable(name string) ots.Table {
	r := s.runner(name)
	if r == nil {
		return ots.Table{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.target
}

// again does what a session cannot begin without, until it is done, the claim
// is lost, or ctx ends.
func (s *session) again(ctx context.Context, doing string, do func(context.Context) error) error {
	wait := waits{least: time.Second, most: 15 * time.Second}
	for {
		s.say(doing, "")
		err := do(ctx)
		switch {
		case err == nil:
			s.say(doing, "")
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrSuperseded) || errors.Is(err, errDead) || errors.Is(err, ErrNotHere):
			return err
		}
		s.say(doing, err.Error())
		s.log.Warn("replication cannot begin", "doing", doing, "error", err)
		if err := sleep(ctx, wait.next()); err != nil {
			return err
		}
	}
}

func (s *session) say(doing, trouble string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doing, s.trouble = doing, trouble
}

// discover keeps a runner for every table that is wanted, until ctx ends.
func (s *session) discover(ctx context.Context, had map[string]saved) error {
	g := bareTeam()
	defer func() { _ = g.Wait() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := func(r *runner) {
		g.Go(func() error {
			err := safely(func() error { return r.run(ctx) })
			_, fault := errors.AsType[*faultError](err)
			if fault || errors.Is(err, errDead) || errors.Is(err, ErrSuperseded) {
				cancel(err) // not a fault of that table, or one that would leave it without a runner
			}
			return err
		})
	}
	for {
		asked := time.Now()
		names, err := s.list(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errDead):
			return err
		case err != nil:
			s.say("", "the tables cannot be listed: "+err.Error())
		default:
			s.say("", "")
			s.notice(names, asked, had, start)
		}
		t := time.NewTimer(s.cfg.Discover)
		select {
		case <-s.relist:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// list names the tables that are wanted: those at the source, and those that
// the configuration names outright, wherever they are.
func (s *session) list(ctx context.Context) ([]string, error) {
	names, err := s.source.ListTables(ctx)
	if err != nil {
		return nil, err
	}
	left := 0
	names = slices.DeleteFunc(names, func(n string) bool {
		ours := s.cfg.wants(n)
		if !ours && !s.cfg.own(n) {
			left++
		}
		return !ours
	})
	s.mu.Lock()
	s.left = left
	s.mu.Unlock()
	names = append(names, s.cfg.literal()...)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// notice compares the list with the runners.
func (s *session) notice(names []string, asked time.Time, had map[string]saved, start func(*runner)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		if r := s.tables[n]; r != nil {
			r.seen(true)
			continue
		}
		r := newRunner(s, n, had[n])
		s.tables[n] = r
		if !s.listed.IsZero() {
			s.log.Info("a new table is replicated", "table", n)
		}
		start(r)
	}
	for n, r := range s.tables {
		if !slices.Contains(names, n) {
			r.seen(false)
		}
	}
	s.listed = asked
}

// forget drops the runner of a table that is no more. A table of that name that
// is made later gets a new one, which finds another stream than the saved one.
func (s *session) forget(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tables, r.table)
}

// keep saves positions until ctx ends.
func (s *session) keep(ctx context.Context) error {
	for {
		if err := sleep(ctx, s.cfg.Save); err != nil {
			return err
		}
		err := s.saveAll(ctx, false)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrSuperseded) || errors.Is(err, errDead):
			return err
		case err != nil:
			s.log.Warn("positions cannot be saved", "error", err)
		}
		s.mu.Lock()
		s.unsaved = err
		s.mu.Unlock()
		s.saveKept(ctx)
	}
}

// saveAll saves the positions of every table that advanced.
func (s *session) saveAll(ctx context.Context, every bool) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	var rows []saved
	var of []*runner
	for _, r := range s.runners() {
		if row, ok := r.advanced(every); ok {
			row.Epoch = s.r.epoch()
			rows, of = append(rows, row), append(of, r)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	err := s.ctl.Save(ctx, rows...)
	if err != nil {
		for _, r := range of {
			r.unsaved() // it is tried again
		}
		return err
	}
	return nil
}

// save makes one row durable. then, if not nil, is called when it is, before
// anything else is saved.
func (s *session) save(ctx context.Context, row func() saved, then func()) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	what := row()
	what.Epoch = s.r.epoch()
	if err := s.ctl.Save(ctx, what); err != nil {
		return err
	}
	if then != nil {
		then()
	}
	return nil
}

// runners returns the runners by name.
func (s *session) runners() []*runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	rs := slices.Collect(maps.Values(s.tables))
	slices.SortFunc(rs, func(a, b *runner) int { return cmp.Compare(a.table, b.table) })
	return rs
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// waits is how long to wait after one fault more.
type waits struct{ least, most, now time.Duration }

func (b *waits) next() time.Duration {
	b.now = min(max(2*b.now, b.least), b.most)
	return b.now/2 + rand.N(b.now/2+1)
}
