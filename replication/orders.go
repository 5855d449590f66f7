package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

var (
	// ErrNoTable: a table that was named is not replicated.
	ErrNoTable = errors.New("it is not replicated")
	// ErrNothingWaits: no table waits for the word that was given.
	ErrNothingWaits = errors.New("no table waits for it")
)

// Pause stops copying and applying until [Replicator.Resume], also through
// restarts. The exposure grows meanwhile.
func (r *Replicator) Pause(ctx context.Context, by, reason string) error {
	s, err := r.ready()
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	return s.order(ctx, "", &savedOrder{Pause: true, By: by, Reason: reason, At: time.Now()})
}

// Resume ends a pause. It is no fault if there is none.
func (r *Replicator) Resume(ctx context.Context, by string) error {
	s, err := r.ready()
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	s.log.Info("replication goes on", "by", by)
	return s.order(ctx, "", nil)
}

// Resync has a table copied anew. It is the consent to delete rows of the
// standby that the active cluster does not have, and counts for the cluster to
// alone; an empty one is whichever is the standby. An empty table is every one
// that waits for that consent.
func (r *Replicator) Resync(ctx context.Context, to failover.ClusterName, table, by, reason string) error {
	s, err := r.ready()
	if err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	if to != "" && to != s.way.To {
		return fmt.Errorf("resync: %w: rows go from %s now, and the consent is about rows of %s", ErrNotHere, s.way, to)
	}
	var of []string
	for _, t := range s.runners() {
		if t.table == table || table == "" && t.asks() {
			of = append(of, t.table)
		}
	}
	s.mu.Lock()
	listed, now := !s.listed.IsZero(), phrase(s.doing, s.trouble)
	s.mu.Unlock()
	switch {
	case len(of) == 0 && !listed:
		return fmt.Errorf("resync: %w: the tables are not listed yet: %s", ErrNotHere, now)
	case len(of) == 0 && table == "":
		return fmt.Errorf("resync: %w", ErrNothingWaits)
	case len(of) == 0:
		return fmt.Errorf("resync: table %q: %w", table, ErrNoTable)
	}
	var errs []error
	for _, t := range of {
		errs = append(errs, s.order(ctx, t, &savedOrder{Resync: true, By: by, Reason: reason, At: time.Now()}))
	}
	return errors.Join(errs...)
}

// order takes an order of a person: at once, and durably. Where the control
// table is out of reach a file keeps it until it is not.
func (s *session) order(ctx context.Context, table string, o *savedOrder) error {
	s.obey(table, o)
	err := s.save(ctx, func() saved { return s.rowOf(table) }, nil)
	if err == nil || errors.Is(err, ErrSuperseded) || errors.Is(err, ErrNotHere) || errors.Is(err, errDead) {
		return err
	}
	if e := s.keepOrder(table, o); e != nil {
		return fmt.Errorf("the order counts until this process ends, but it cannot be kept: %w", errors.Join(err, e))
	}
	s.log.Warn("the order is kept in a file until the control table can be written", "error", err)
	s.mu.Lock()
	s.unkept[table] = true
	s.mu.Unlock()
	return nil
}

// saveKept moves orders from the file to the control rows, once that goes.
func (s *session) saveKept(ctx context.Context) {
	s.mu.Lock()
	unkept := slices.Sorted(maps.Keys(s.unkept))
	s.mu.Unlock()
	for _, table := range unkept {
		if s.save(ctx, func() saved { return s.rowOf(table) }, nil) != nil {
			return
		}
	}
	if len(unkept) > 0 && os.Remove(s.ordersFile()) == nil {
		s.mu.Lock()
		clear(s.unkept)
		s.mu.Unlock()
	}
}

// obey makes an order count in this process.
func (s *session) obey(table string, o *savedOrder) {
	if table != "" {
		if r := s.runner(table); r != nil {
			r.mu.Lock()
			r.row.Order = o
			r.mu.Unlock()
			r.again()
		}
		return
	}
	s.mu.Lock()
	was := s.pause
	s.pause = o
	switch {
	case was == nil && o != nil:
		s.lifted = make(chan struct{})
	case was != nil && o == nil:
		close(s.lifted)
	}
	s.mu.Unlock()
	if was == nil && o != nil {
		for _, r := range s.runners() {
			r.again()
		}
	}
}

// rowOf is what is to be durable of a table, or of the instance.
func (s *session) rowOf(table string) saved {
	if table == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		return saved{Order: s.pause, At: time.Now()}
	}
	if r := s.runner(table); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.row
	}
	return saved{Table: table}
}

// unpaused waits until nobody's pause stands.
func (s *session) unpaused(ctx context.Context) error {
	s.mu.Lock()
	paused, lifted := s.pause != nil, s.lifted
	s.mu.Unlock()
	if !paused {
		return nil
	}
	select {
	case <-lifted:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keptOrder is an order in the file, by table. A nil Order withdraws one.
type keptOrder struct {
	Table string      `json:"table,omitempty"`
	Order *savedOrder `json:"order"`
}

// ordersFile is where orders are kept that no control table could take.
func (s *session) ordersFile() string {
	name := strings.NewReplacer("/", "_", ".", "_").Replace(string(s.cfg.Instance))
	return filepath.Join(s.cfg.Dir, fmt.Sprintf("replication-orders-%s-%s-%s.json", name, s.way.From, s.way.To))
}

// keepOrder adds an order to the file.
func (s *session) keepOrder(table string, o *savedOrder) error {
	if s.cfg.Dir == "" {
		return errors.New("there is no folder for it")
	}
	kept, err := s.keptOrders()
	if err != nil {
		return err
	}
	kept = slices.DeleteFunc(kept, func(k keptOrder) bool { return k.Table == table })
	return writeFile(s.ordersFile(), append(kept, keptOrder{table, o}))
}

func (s *session) keptOrders() ([]keptOrder, error) {
	if s.cfg.Dir == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.ordersFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("orders that were kept: %w", err)
	}
	var kept []keptOrder
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("orders that were kept in %s: %w (look at it, and remove it)", s.ordersFile(), err)
	}
	return kept, nil
}

// writeFile replaces a file by the text of v, durably.
func writeFile(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// restoreOrders takes up the orders in the control rows and those in the file,
// which are newer, and moves the latter to the rows.
func (s *session) restoreOrders(ctx context.Context, had map[string]saved) error {
	kept, err := s.keptOrders()
	if err != nil {
		return err
	}
	for _, k := range kept {
		row := had[k.Table]
		row.Table, row.Order = k.Table, k.Order
		had[k.Table] = row
		if err := s.save(ctx, func() saved { return row }, nil); err != nil {
			return err
		}
	}
	if len(kept) > 0 {
		if err := os.Remove(s.ordersFile()); err != nil {
			return fmt.Errorf("orders that were kept: %w", err)
		}
	}
	if o := had[""].Order; o != nil && o.Pause {
		s.obey("", o)
	}
	delete(had, "")
	return nil
}
