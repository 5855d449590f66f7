package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"pointsman/internal/api"
	"pointsman/internal/config"
)

// How the watch of files behaves.
const (
	// quietFor is how long nothing must happen in the directories before the
	// files are looked at: an editor writes, syncs, renames and sets rights.
	quietFor = 200 * time.Millisecond
	// longestUnquiet is when they are looked at although it goes on.
	longestUnquiet = 2 * time.Second
	// lookEvery is when they are looked at although nothing was told: network
	// file systems tell nothing of what others do, and a directory that was
	// replaced is watched no more.
	lookEvery = 30 * time.Second
)

const (
	byWatch  = "file watch"
	bySignal = "SIGHUP"
)

// attempt is one wish to take the file.
type attempt struct {
	By, Reason string
	DryRun     bool
	Accept     string // beginning of the hash of the file whose removals are meant
}

// outcome is what became of it.
type outcome struct {
	result  api.ReloadResult
	err     error  // why refused
	hash    string // of the file, where it could be read
	changes []config.Change
	removes []string // what must be accepted
	names   []string // files that the refused text names
}

func refuse(hash string, err error) outcome {
	return outcome{result: api.ReloadRefused, hash: hash, err: err}
}

// renewable is a process that can take its file anew.
type renewable interface {
	// renew tries once. It is called from one goroutine.
	renew(ctx context.Context, a attempt) outcome
	// made says what runs: its hash, the other files that were read, and when.
	made() madeOf
	// unchanged says whether the files still hold what was read. It reads them.
	unchanged() bool
}

type madeOf struct {
	hash  string
	files []string
	at    time.Time
}

// reloader tries the file on a signal, on request, and when a file changes:
// one try at a time. Make one by newReloader; Run owns its goroutine.
type reloader struct {
	file string
	of   renewable
	hup  <-chan os.Signal
	asks chan asked
	log  *slog.Logger
	tell func() // after every try that changed something to be seen; may be nil
	open func() (watcher, error)

	seen  string   // lookAt, before the last try
	names []string // files that a refused text names

	mu     sync.Mutex
	state  api.ConfigState
	counts map[api.ReloadResult]uint64
}

// watcher tells that something may have happened to files (dirWatch).
type watcher interface {
	follow(files []string) (others bool, first error)
	events() <-chan fsnotify.Event
	errors() <-chan error
	Close()
}

type asked struct {
	attempt
	reply chan outcome // room for one
}

func newReloader(file string, of renewable, hup <-chan os.Signal, log *slog.Logger) *reloader {
	m := of.made()
	return &reloader{
		file: file, of: of, hup: hup, asks: make(chan asked), log: log,
		state:  api.ConfigState{File: file, Hash: m.hash, LoadedAt: m.at, OK: true},
		counts: map[api.ReloadResult]uint64{api.ReloadOK: 0, api.ReloadUnchanged: 0, api.ReloadRefused: 0},
		open:   func() (watcher, error) { return newDirWatch() },
	}
}

// Run tries until ctx ends.
func (r *reloader) Run(ctx context.Context) error {
	watch, err := r.open()
	if err != nil {
		r.log.Warn("files are not watched, only looked at", "every", lookEvery, "reason", err)
	}
	defer watch.Close()
	r.follow(watch)
	r.seen = lookAt(r.files())
	if info, err := os.Stat(r.file); (err != nil || info.Mode().IsRegular()) && !r.of.unchanged() { // it changed while the process started
		r.try(ctx, attempt{By: byWatch})
	}
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	quiet := time.NewTimer(0)
	quiet.Stop()
	var first time.Time // of the events that were not looked at yet
	soon := func() {
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		quiet.Reset(min(quietFor, first.Add(longestUnquiet).Sub(now)))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.hup:
			r.try(ctx, attempt{By: bySignal})
		case a := <-r.asks:
			a.reply <- r.try(ctx, a.attempt)
		case _, ok := <-watch.events():
			if !ok {
				return errEndedEarly
			}
			soon()
			continue // nothing new to follow
		case err := <-watch.errors():
			// Events were lost: the kernel keeps only so many (inotify(7),
			// IN_Q_OVERFLOW). Look, as if each had been one.
			r.log.Debug("file watch", "reason", err)
			soon()
			continue
		case <-quiet.C:
			first = time.Time{}
			r.look(ctx)
		case <-every.C:
			r.look(ctx)
		}
		if r.follow(watch) { // something may have come before the watch of it
			quiet.Reset(quietFor)
		}
	}
}

func (r *reloader) files() []string {
	out := append([]string{r.file}, r.of.made().files...)
	out = append(out, r.names...)
	slices.Sort(out)
	return slices.Compact(out)
}

// follow says whether other directories are watched from now on.
func (r *reloader) follow(watch watcher) bool {
	others, err := watch.follow(r.files())
	if err != nil {
		r.log.Debug("a directory is not watched, only looked at", "every", lookEvery, "reason", err)
	}
	return others
}

// look tries when a file differs from what the last try found.
func (r *reloader) look(ctx context.Context) {
	if now := lookAt(r.files()); now != r.seen {
		r.try(ctx, attempt{By: byWatch})
	}
}

// try carries out one attempt and says what came of it. A fault of ours in it
// costs the attempt, not the process.
func (r *reloader) try(ctx context.Context, a attempt) (out outcome) {
	files := r.files()
	if !a.DryRun {
		r.seen = lookAt(files)
	}
	if info, err := os.Stat(r.file); err == nil && !info.Mode().IsRegular() {
		out = refuse("", failed("give 'run' and 'vantage' a file with -c that can be read again", "%s is no regular file: it cannot be read again", r.file))
		if !a.DryRun {
			r.note(a, out)
		}
		return out
	}
	func() {
		defer func() {
			if v := recover(); v != nil {
				r.log.Error("reload panicked", "reason", fmt.Sprint(v), "stack", string(debug.Stack()))
				out = refuse("", fmt.Errorf("a fault of this program: %v", v))
			}
		}()
		out = r.of.renew(ctx, a)
	}()
	if a.DryRun {
		return out
	}
	r.names = out.names
	// Other files than before are the ones to look at from now on. What changed
	// during the try still leads to another.
	if now := r.files(); !slices.Equal(now, files) && lookAt(files) == r.seen {
		r.seen = lookAt(now)
	}
	r.note(a, out)
	return out
}

// note counts, remembers and logs.
func (r *reloader) note(a attempt, out outcome) {
	r.mu.Lock()
	wasOK := r.state.OK
	r.counts[out.result]++
	r.state.OK, r.state.Refused = true, nil
	switch out.result {
	case api.ReloadRefused:
		_, hint := splitHint(out.err)
		r.state.OK = false
		r.state.Refused = &api.ConfigRefusal{At: time.Now(), By: a.By, Hash: out.hash, Reason: clean(brief(out.err, 3)), Hint: clean(hint)}
	default:
		m := r.of.made()
		r.state.Hash, r.state.LoadedAt = m.hash, m.at
	}
	st := r.state
	r.mu.Unlock()
	switch {
	case out.result == api.ReloadRefused:
		r.log.Error("config refused, the old one goes on", "file", r.file, "by", a.By, "reason", brief(out.err, 20),
			"hint", orElse(hintOf(out.err), "mend the file; it is looked at again when it changes"), "hash", shortHash(out.hash), "runs", shortHash(st.Hash), "loaded", st.LoadedAt)
	case out.result == api.ReloadOK:
		r.log.Info("config reloaded", "file", r.file, "by", a.By, "hash", shortHash(st.Hash), "changes", len(out.changes), "diff", diffText(out.changes, 20))
	case !wasOK:
		r.log.Info("config is good again and what runs", "file", r.file, "by", a.By, "hash", shortHash(st.Hash))
	case a.By == byWatch:
		r.log.Debug("config unchanged", "file", r.file, "by", a.By)
	default:
		r.log.Info("config unchanged", "file", r.file, "by", a.By, "hash", shortHash(st.Hash))
	}
	if r.tell != nil && (out.result != api.ReloadUnchanged || !wasOK) {
		r.tell()
	}
}

// Config says what runs (api.Reloads).
func (r *reloader) Config() api.ConfigState {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.state
	if st.Refused != nil {
		c := *st.Refused
		st.Refused = &c
	}
	return st
}

func (r *reloader) counted() map[api.ReloadResult]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// notice is the line of a standing refusal, empty without one.
func (r *reloader) notice() string {
	if r == nil { // a degraded process may have none
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Refused == nil {
		return ""
	}
	return configNotice(r.state)
}

// refused is since when the newest file is refused, and why; zero: it is not.
func (r *reloader) refused() (since time.Time, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Refused == nil {
		return time.Time{}, ""
	}
	return r.state.Refused.At, r.state.Refused.Reason
}

func configNotice(st api.ConfigState) string {
	return fmt.Sprintf("config: %s is refused since %s (%s): %s; the old one (%s, loaded %s) goes on",
		st.File, stamp(st.Refused.At), st.Refused.By, st.Refused.Reason, shortHash(st.Hash), stamp(st.LoadedAt))
}

// Reload hands one attempt to the loop (api.Reloads).
func (r *reloader) Reload(ctx context.Context, q api.ReloadRequest) (api.ReloadReply, error) {
	a := asked{attempt{By: q.By, Reason: q.Reason, DryRun: q.DryRun, Accept: q.AcceptRemovals}, make(chan outcome, 1)}
	select {
	case r.asks <- a:
	case <-ctx.Done():
		return api.ReloadReply{}, errors.New("another reload is still at work")
	}
	var out outcome
	select {
	case out = <-a.reply:
	case <-ctx.Done():
		return api.ReloadReply{}, ctx.Err()
	}
	rep := api.ReloadReply{Result: out.result, DryRun: q.DryRun, Hash: out.hash, Removes: out.removes, State: r.Config()}
	if out.err != nil {
		rep.Reason, rep.Hint = splitHint(out.err)
	}
	for i, c := range out.changes {
		if i == api.MaxChanges {
			rep.More = len(out.changes) - i
			break
		}
		rep.Changes = append(rep.Changes, api.ConfigChange{Path: c.Path, Instance: c.Instance, Old: c.Old, New: c.New, Text: c.String()})
	}
	return rep, nil
}

// brief is an error on one line: of the mistakes of a file the first n.
func brief(err error, n int) string {
	var fs config.Faults
	if !errors.As(err, &fs) {
		var f config.Fault
		if errors.As(err, &f) {
			fs = config.Faults{f}
		}
	}
	if len(fs) == 0 {
		text, _ := splitHint(err)
		return strings.Join(strings.Split(text, "\n"), "; ")
	}
	var parts []string
	for i, f := range fs {
		if i == n {
			parts = append(parts, fmt.Sprintf("and %d more", len(fs)-n))
			break
		}
		f.Hint, f.Excerpt = "", ""
		parts = append(parts, f.Error())
	}
	return strings.Join(parts, "; ")
}

// diffText is the first n changes on one line.
func diffText(cs []config.Change, n int) string {
	var parts []string
	for i, c := range cs {
		if i == n {
			parts = append(parts, fmt.Sprintf("and %d more", len(cs)-n))
			break
		}
		parts = append(parts, c.String())
	}
	return strings.Join(parts, "; ")
}

func shortHash(h string) string {
	if len(h) > api.MinHash {
		return h[:api.MinHash]
	}
	return h
}
