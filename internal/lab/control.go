package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// stateFile marks a folder as a lab's, and says how to reach the lab that
// runs in it.
const stateFile = "lab.json"

// DefaultDir is where pointsman-lab run works, below the current folder, so
// that the verbs find it without being told.
var DefaultDir = filepath.Join("run", "lab")

// ErrNoLab is returned when no lab runs in a folder.
var ErrNoLab = errors.New("no lab runs there")

// LabState is the content of lab.json.
type LabState struct {
	PID     int    `json:"pid"`
	Control string `json:"control"` // host:port of the control API
	Token   string `json:"token"`
	World   World  `json:"world"`
}

// Order is what a verb asks of a running lab.
type Order struct {
	Verb  string `json:"verb"`
	Part  string `json:"part"` // a cluster, the controller, a vantage; empty for all where that makes sense
	Knobs *Knobs `json:"knobs,omitempty"`
}

// Told is the answer: what was done, in words, or why not.
type Told struct {
	Said  string `json:"said,omitempty"`
	Error string `json:"error,omitempty"`
}

// Part is one line of a lab's status.
type Part struct {
	ChildState
	Addr  string `json:"addr,omitempty"`
	Knobs *Knobs `json:"knobs,omitempty"`
	Words string `json:"words,omitempty"`
}

// FindLab reads lab.json of a folder.
func FindLab(dir string) (LabState, error) {
	var st LabState
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return st, fmt.Errorf("%s: %w; start one with pointsman-lab run, or name its folder with --dir", dir, ErrNoLab)
	}
	if err != nil {
		return st, fmt.Errorf("find the lab: %w", err)
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("find the lab: read %s: %w", stateFile, err)
	}
	if st.Control == "" {
		return st, fmt.Errorf("%s: %w; start one with pointsman-lab run", dir, ErrNoLab)
	}
	return st, nil
}

// Alive says whether the lab answers.
func (st LabState) Alive() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := st.Parts(ctx)
	return err == nil
}

// Do gives an order and returns what the lab says.
func (st LabState) Do(ctx context.Context, o Order) (string, error) {
	var told Told
	if err := callJSON(ctx, st.Token, http.MethodPost, "http://"+st.Control+"/do", o, &told); err != nil {
		return "", st.unanswered(err)
	}
	return told.Said, nil
}

// Parts asks for the status of every part.
func (st LabState) Parts(ctx context.Context) ([]Part, error) {
	var parts []Part
	if err := callJSON(ctx, st.Token, http.MethodGet, "http://"+st.Control+"/parts", nil, &parts); err != nil {
		return nil, st.unanswered(err)
	}
	return parts, nil
}

// Writes asks what has become of the writes so far.
func (st LabState) Writes(ctx context.Context) (WriteReport, error) {
	var r WriteReport
	if err := callJSON(ctx, st.Token, http.MethodGet, "http://"+st.Control+"/writes", nil, &r); err != nil {
		return r, st.unanswered(err)
	}
	return r, nil
}

// unanswered says what it means that the lab did not do what it was asked.
func (st LabState) unanswered(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: %w any more (it was process %d); start one with pointsman-lab run", st.World.Dir, ErrNoLab, st.PID)
	}
	return fmt.Errorf("ask the lab: %w", err)
}

// callJSON makes one call to a management API of the lab.
func callJSON(ctx context.Context, token, method, url string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var told Told
		if err := readJSON(resp.Body, &told); err != nil || told.Error == "" {
			return fmt.Errorf("%s %s answers %d", method, url, resp.StatusCode)
		}
		return errors.New(told.Error)
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return nil
}

// control serves the orders of other terminals until the context ends.
func (l *Lab) control(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /do", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		err := readJSON(r.Body, &o)
		said := ""
		if err == nil {
			said, err = l.Do(r.Context(), o)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, Told{Error: err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, Told{Said: said})
	})
	mux.HandleFunc("GET /parts", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, l.Parts(r.Context()))
	})
	mux.HandleFunc("GET /writes", func(w http.ResponseWriter, r *http.Request) {
		report, err := l.CountWrites(r.Context())
		if err != nil {
			writeJSON(w, http.StatusBadRequest, Told{Error: err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, report)
	})
	return serve(ctx, ln, bearer(l.World.token, mux))
}

// writeState tells other terminals where this lab is.
func (l *Lab) writeState(control string) error {
	b, err := json.MarshalIndent(LabState{PID: os.Getpid(), Control: control, Token: l.World.token, World: *l.World}, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", stateFile, err)
	}
	path := filepath.Join(l.World.Dir, stateFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", stateFile, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", stateFile, err)
	}
	return nil
}
