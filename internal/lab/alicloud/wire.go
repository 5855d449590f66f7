package alicloud

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// Bounds of a request. The real gateway has its own; a client never comes near.
const (
	maxHeader = 64 << 10
	maxBody   = 256 << 10
	maxParams = 1000
)

// wire is one request as it came, read and bounded, not yet believed.
type wire struct {
	method  string
	host    string
	header  http.Header
	query   url.Values // of the address alone, as ACS3 signs it
	body    []byte
	params  map[string]string // query and form together; the first of several values
	inForm  bool
	inQuery bool
}

// readWire reads a request of either signature family: parameters may be in
// the query, in a form, or in both.
func readWire(r *http.Request) (*wire, *apiError) {
	w := &wire{method: r.Method, host: r.Host, header: r.Header, params: map[string]string{}}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return w, refuse(http.StatusMethodNotAllowed, "UnsupportedHTTPMethod", "The HTTP method %q is not supported; use GET or POST.", clip(r.Method))
	}
	if len(r.URL.RawQuery) > maxHeader {
		return w, bad("InvalidParameter", "The query is longer than %d bytes.", maxHeader)
	}
	var err error
	if w.query, err = bounded(r.URL.RawQuery); err != nil {
		return w, bad("InvalidParameter", "The query is not valid: %s.", err)
	}
	w.inQuery = w.merge(w.query)
	if r.Body == nil {
		return w, nil
	}
	if w.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); err != nil {
		return w, bad("InvalidParameter", "The body could not be read.")
	}
	if len(w.body) > maxBody {
		return w, refuse(http.StatusRequestEntityTooLarge, "InvalidParameter", "The body is longer than %d bytes.", maxBody)
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if len(w.body) > 0 && kind == "application/x-www-form-urlencoded" {
		form, err := bounded(string(w.body))
		if err != nil {
			return w, bad("InvalidParameter", "The form is not valid: %s.", err)
		}
		w.inForm = w.merge(form)
	}
	return w, nil
}

var errMany = errors.New("more parameters than anybody sends")

func bounded(query string) (url.Values, error) {
	if strings.Count(query, "&") >= maxParams {
		return nil, errMany
	}
	v, err := url.ParseQuery(query)
	if err != nil {
		// The error quotes what it was given, of any length and content.
		return nil, errors.New("a key or a value is not percent-encoded")
	}
	return v, nil
}

// merge adds what is not there yet and says whether there was anything.
func (w *wire) merge(v url.Values) bool {
	for k, values := range v {
		if _, ok := w.params[k]; !ok && len(values) > 0 {
			w.params[k] = values[0]
		}
	}
	return len(v) > 0
}

// clip shortens what a stranger sent before it is shown.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
