package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// MaxBody is the most that a request may carry, in bytes.
const MaxBody = 1 << 20

// decodeStrict reads exactly one JSON value into v and refuses unknown fields
// and anything after the value.
func decodeStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("empty")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// readBody decodes the body of a request; on a fault it returns the status to
// answer with.
func readBody(w http.ResponseWriter, r *http.Request, v any) (int, error) {
	// A form that a web page may send across origins is never JSON.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, errors.New("body must be application/json")
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
			return http.StatusRequestEntityTooLarge, fmt.Errorf("body is larger than %d bytes", MaxBody)
		}
		return http.StatusBadRequest, fmt.Errorf("read body: %w", err)
	}
	if err := decodeStrict(data, v); err != nil {
		return http.StatusBadRequest, fmt.Errorf("body: %w", err)
	}
	return 0, nil
}

// Problem is the body of every answer that is neither what was asked for nor
// a Reply. The client returns it as an error.
type Problem struct {
	Status  int      `json:"status"`
	Message string   `json:"error"`
	Hint    string   `json:"hint,omitempty"`
	Known   []string `json:"known,omitempty"` // where an unknown name was asked for: all that exist, or of many the nearest
	More    int      `json:"more,omitempty"`  // names that exist and are not in Known
}

func (p *Problem) Error() string { return p.Message }

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"status":500,"error":"answer does not marshal"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A client that has gone away is no fault of ours.
	_, _ = w.Write(append(data, '\n'))
}

func writeProblem(w http.ResponseWriter, p Problem) { writeJSON(w, p.Status, p) }
