package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// stateFile remembers what was done, so that a run that was missed is made up
// once.
const stateFile = "reports.json"

// done is what is remembered of one report.
type done struct {
	Due      time.Time `json:"due"`             // the newest time of the calendar that is dealt with
	Calendar string    `json:"calendar"`        // by which it was
	RanAt    time.Time `json:"ran_at,omitzero"` // when a report was made last
	ID       string    `json:"id,omitempty"`
	Error    string    `json:"error,omitempty"` // why the newest one was given up
}

type state struct {
	Version int             `json:"version"`
	Reports map[string]done `json:"reports"`
}

const stateVersion = 1

// loadState reads the file. One that cannot be read is moved aside: what was
// missed is then not known, and nothing is made up for it.
func loadState(dir string) (state, error) {
	fresh := state{Version: stateVersion, Reports: map[string]done{}}
	path := filepath.Join(dir, stateFile)
	data, err := readFile(path, 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return fresh, nil
	}
	var s state
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err == nil && s.Version != stateVersion {
		err = fmt.Errorf("it has version %d, this program reads %d", s.Version, stateVersion)
	}
	if err != nil {
		return fresh, errors.Join(fmt.Errorf("%s cannot be read and is now %s.damaged: %w", path, stateFile, err), os.Rename(path, path+".damaged"))
	}
	if s.Reports == nil {
		s.Reports = map[string]done{}
	}
	return s, nil
}

func (s state) save(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, stateFile), append(data, '\n'))
}
