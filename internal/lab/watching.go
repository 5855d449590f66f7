package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Rewatch makes the controller and every vantage of a running lab hold other
// connections beside their probes: off, hold, request, or empty for what the
// preset says. Nothing is started anew; all of them take their files anew.
func (l *Lab) Rewatch(ctx context.Context, mode string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	l.World.Tune.Watch = mode
	for i := range l.World.Instances {
		l.World.Instances[i].Tune.Watch = mode
	}
	if err := l.World.writeConfig(); err != nil {
		return err
	}
	if _, err := l.Tool.Do(ctx, "reload"); err != nil {
		return err
	}
	for _, v := range l.World.Vantages {
		if err := l.renew(ctx, v); err != nil {
			return fmt.Errorf("make %s take its file anew: %w", v, err)
		}
	}
	return pause(ctx, 5*fastRound) // a connection is held after a probe has succeeded
}

// renew writes the file of a vantage as the controller would have it now, and
// waits until the vantage says that it has taken it.
func (l *Lab) renew(ctx context.Context, vantage string) error {
	path := filepath.Join(l.World.Dir, vantage+".yaml")
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b, err := l.Tool.Do(ctx, "config", "vantage", vantage)
	if err != nil || string(b) == string(before) {
		return err
	}
	log := filepath.Join(l.World.Dir, "logs", vantage+".log")
	read, err := os.Stat(log)
	if err != nil {
		return err
	}
	if err := replaceFile(path, b); err != nil {
		return err
	}
	if _, err := l.family.signal(vantage, syscall.SIGHUP, Running); err != nil {
		return err
	}
	for {
		said, err := saidSince(log, read.Size())
		switch {
		case err != nil:
			return err
		case strings.Contains(said, "config refused"):
			return errors.New(strings.TrimSpace(said))
		case strings.Contains(said, "config reloaded"):
			return nil
		}
		if err := l.dead(); err != nil {
			return err
		}
		if err := pause(ctx, poll); err != nil {
			return err
		}
	}
}

// saidSince is what was added to a log.
func saidSince(log string, offset int64) (string, error) {
	f, err := os.Open(log)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, offset, 1<<20))
	return string(b), err
}

// replaceFile changes a file in one step, so that nobody reads half of it.
func replaceFile(path string, b []byte) error {
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// counters are what the controller counts, as Prometheus would read it: from
// name and labels to the value.
type counters map[string]float64

// counters asks the controller.
func (l *Lab) counters(ctx context.Context) (counters, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.World.API.String()+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("metrics of the controller: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("metrics of the controller: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics of the controller: %s", resp.Status)
	}
	return parseCounters(io.LimitReader(resp.Body, 16<<20))
}

// parseCounters reads the text format of Prometheus as far as it is needed:
// lines of a name with its labels, a blank and a value.
func parseCounters(r io.Reader) (counters, error) {
	c := counters{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics of the controller: %q: %w", line, err)
		}
		c[line[:at]] = v
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("metrics of the controller: %w", err)
	}
	return c, nil
}

// grown is by how much everything of that name has grown since, by its labels.
func (c counters) grown(before counters, name string) counters {
	out := counters{}
	for k, v := range c {
		if labels, ok := strings.CutPrefix(k, name); ok && (labels == "" || labels[0] == '{') && v > before[k] {
			out[labels] = v - before[k]
		}
	}
	return out
}

func (c counters) sum() (n float64) {
	for _, v := range c {
		n += v
	}
	return n
}
