package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"pointsman/internal/api"
	"pointsman/internal/ledger"
)

// recordedVotes is where recorded votes are read from.
type recordedVotes struct {
	list  func(context.Context, ledger.HistoryFilter) ([]ledger.Sample, error)
	close func()
}

// votesFrom opens what the flags name; without any the controller is asked.
func (a *app) votesFrom(ctx context.Context, f *replayFlags) (recordedVotes, error) {
	switch {
	case f.history != "":
		c, err := ledger.OpenHistoryCopy(ctx, f.history)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return recordedVotes{}, failed("give the folder controller.data, or a copy of the file", "no history.db is there: %w", err)
		case errors.Is(err, fs.ErrPermission):
			return recordedVotes{}, failed("ask as the user of the controller, or as root", "%w", err)
		case err != nil:
			return recordedVotes{}, failed("give the folder controller.data of a controller, or a whole copy of its history.db", "%w", err)
		}
		return recordedVotes{list: c.List, close: func() { _ = c.Close() }}, nil
	case f.bundle != "":
		ss, err := readBundle(f.bundle)
		if err != nil {
			return recordedVotes{}, failed("give what 'pointsman history -o json' printed, or an archive with a history.json in it", "read %s: %w", f.bundle, err)
		}
		return recordedVotes{list: pick(ss), close: func() {}}, nil
	}
	c, err := a.client()
	if err != nil {
		return recordedVotes{}, err
	}
	return recordedVotes{close: func() {}, list: func(ctx context.Context, f ledger.HistoryFilter) ([]ledger.Sample, error) {
		ss, err := allOf(ctx, c, api.Query{Instance: f.Instance, Kind: f.Kind, Since: f.Since})
		if err != nil {
			return nil, err
		}
		out := make([]ledger.Sample, len(ss))
		for i, s := range ss {
			out[i] = ledger.Sample(s)
		}
		return out, nil
	}}, nil
}

// pick filters samples that are in memory.
func pick(ss []ledger.Sample) func(context.Context, ledger.HistoryFilter) ([]ledger.Sample, error) {
	return func(_ context.Context, f ledger.HistoryFilter) ([]ledger.Sample, error) {
		var out []ledger.Sample
		for _, s := range ss {
			if (f.Instance == "" || s.Instance == f.Instance) && (f.Kind == "" || s.Kind == f.Kind) && !s.At.Before(f.Since) {
				out = append(out, s)
			}
		}
		return out, nil
	}
}

const (
	// bundledVotes is the name of what a replay needs in a bundle; bundledHistory
	// is that of the history, the only one in an older bundle.
	bundledVotes   = "votes.json"
	bundledHistory = "history.json"
	// mostBundled bounds what of a bundle is read into memory.
	mostBundled = 256 << 20
	// mostBundledLines is twice what a history keeps.
	mostBundledLines = 200_000
	// mostBundledLine is far above the largest line, a tape of some 15 KB.
	mostBundledLine = 4 << 20
)

var errTooLarge = fmt.Errorf("it holds more than %d MB", mostBundled>>20)

// readBundle reads the history in an archive, or a file that is one.
func readBundle(file string) ([]ledger.Sample, error) {
	st, err := os.Stat(file) // before it is opened: a pipe would wait for a writer
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, _ := io.ReadFull(f, head) // a shorter file is none of these
	head = head[:n]
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var data []byte
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		data, err = fromZip(f, st.Size())
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		data, err = fromTar(f)
	default:
		data, err = readAtMost(f)
	}
	if err != nil {
		return nil, err
	}
	ss, err := readLines(data)
	if err != nil {
		return nil, fmt.Errorf("its history cannot be read: %w", err)
	}
	return ss, nil
}

// readLines reads a list of samples. A short text can stand for a list that fills
// any memory, so lines are counted while they are read.
func readLines(data []byte) ([]ledger.Sample, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	begin, err := d.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("it is empty")
	case err != nil:
		return nil, err
	case begin != json.Delim('['):
		return nil, errors.New("it is no list of lines")
	}
	var ss []ledger.Sample
	for d.More() {
		if len(ss) == mostBundledLines {
			return nil, fmt.Errorf("more than %d lines", mostBundledLines)
		}
		var s ledger.Sample
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(ss)+1, err)
		}
		if len(s.Data) > mostBundledLine {
			return nil, fmt.Errorf("line %d holds more than %d MB", len(ss)+1, mostBundledLine>>20)
		}
		ss = append(ss, s)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("line %d: %w", len(ss)+1, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind its end")
	}
	return ss, nil
}

func readAtMost(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, mostBundled+1))
	if err == nil && len(data) > mostBundled {
		err = errTooLarge
	}
	return data, err
}

func fromZip(f io.ReaderAt, size int64) ([]byte, error) {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{bundledVotes, bundledHistory} {
		for _, e := range z.File {
			if path.Base(e.Name) == name && e.Mode().IsRegular() {
				r, err := e.Open()
				if err != nil {
					return nil, err
				}
				defer r.Close()
				return readAtMost(r)
			}
		}
	}
	return nil, fmt.Errorf("there is no %s in it", bundledHistory)
}

func fromTar(f io.Reader) ([]byte, error) {
	g, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	t := tar.NewReader(io.LimitReader(g, 4*mostBundled))
	var history []byte
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && history != nil:
			return history, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("there is no %s in it", bundledHistory)
		case err != nil:
			return nil, err
		}
		if !h.FileInfo().Mode().IsRegular() {
			continue
		}
		switch path.Base(h.Name) {
		case bundledVotes:
			return readAtMost(t)
		case bundledHistory:
			if history, err = readAtMost(t); err != nil {
				return nil, err
			}
		}
	}
}
