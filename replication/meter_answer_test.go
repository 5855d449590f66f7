package replication

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	sent := second(100)
	for text, want := range map[string]ExposureNow{
		`{"lag_ms": 1200}`:                                   {Lag: 1200 * time.Millisecond, At: sent},
		`{"lag_ms": 0, "rows": 0}`:                           {At: sent},
		" {\"lag_ms\":0.0001,\"rows\":30}\n":                 {Lag: 100 * time.Nanosecond, Rows: 30, About: 30, At: sent},
		`{"at": "2026-05-01T12:01:00Z", "lag_ms": 1e3}`:      {Lag: time.Second, At: second(60)},
		`{"at": "2026-05-01T20:01:00.5+08:00", "lag_ms": 1}`: {Lag: time.Millisecond, At: second(60.5)},
		`{"at": "2026-05-01T12:01:43Z", "lag_ms": 1}`:        {Lag: time.Millisecond, At: sent}, // its clock is ahead a little
		`{"lag_ms": 315360000000}`:                           {Lag: maxLag, At: sent},
	} {
		got, err := parseAnswer([]byte(text), sent)
		want.Known = true
		if err != nil || got.Lag != want.Lag || got.Rows != want.Rows || got.About != want.About || !got.At.Equal(want.At) || !got.Known {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		``:                                 "no JSON object",
		`12`:                               "no JSON object",
		`[{"lag_ms": 1}]`:                  "no JSON object",
		`null`:                             "no JSON object",
		`{}`:                               "lag_ms is missing",
		`{"rows": 3}`:                      "lag_ms is missing",
		`{"lag_ms": 1`:                     "in the middle",
		`{"lag_ms"`:                        "in the middle",
		`{"lag_ms": 1,`:                    "in the middle",
		`{"lag_ms": 1}{}`:                  "something follows",
		`{"lag_ms": 1} x`:                  "something follows",
		`{"lag_ms": -1}`:                   "lag_ms is no number from 0",
		`{"lag_ms": 315360000001}`:         "lag_ms is no number from 0",
		`{"lag_ms": 1e999}`:                "lag_ms is no number from 0",
		`{"lag_ms": "0"}`:                  "lag_ms is no number from 0",
		`{"lag_ms": null}`:                 "lag_ms is no number from 0",
		`{"lag_ms": true}`:                 "lag_ms is no number from 0",
		`{"lag_ms": NaN}`:                  "no JSON",
		`{"lag_ms": {}}`:                   "an object or a list",
		`{"lag_ms": 1, "rows": -1}`:        "rows is no integer",
		`{"lag_ms": 1, "rows": 1.5}`:       "rows is no integer",
		`{"lag_ms": 1, "rows": "1"}`:       "rows is no integer",
		`{"lag_ms": 1, "rows": 1e3}`:       "rows is no integer",
		`{"lag_ms": 1, "at": 5}`:           "at is no moment",
		`{"lag_ms": 1, "at": "yesterday"}`: "at is no moment",
		`{"lag_ms": 1, "at": "2026-05-01T12:02:00Z"}`:         "its clock is not ours",
		`{"lag_ms": 9, "lag_ms": 1}`:                          "lag_ms is said twice",
		`{"LAG_MS": 1}`:                                       `"LAG_MS" is none of`,
		`{"lag_ms": 1, "lag": 9}`:                             `"lag" is none of`,
		`{"lag_ms": 1` + strings.Repeat(" ", maxAnswer) + `}`: "more than 64 KiB",
	} {
		if got, err := parseAnswer([]byte(text), sent); err == nil || !strings.Contains(err.Error(), want) || got != (ExposureNow{}) {
			t.Errorf("%.60s: %+v, %v, want %q", text, got, err, want)
		}
	}
}

func TestTheExampleOfAnAnswerIsOne(t *testing.T) {
	if _, err := parseAnswer([]byte(answerLike), time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)); err != nil {
		t.Error(err)
	}
}

// Whatever is answered, what is taken of it is within bounds, is what a plain
// reading of the JSON says, and is not less than that.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{answerLike, `{"lag_ms":1,"rows":2}`, `{"lag_ms":1e3,"lag_ms":0}`, `{"lag_ms":-0}`, `{"Lag_ms":1}`, `{}`} {
		f.Add([]byte(s))
	}
	sent := second(100)
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := parseAnswer(text, sent)
		if err != nil {
			if e != (ExposureNow{}) {
				t.Fatalf("%+v beside %v", e, err)
			}
			return
		}
		if !e.Known || e.Lag < 0 || e.Lag > maxLag || e.Rows < 0 || e.At.After(sent) || e.Gap != "" {
			t.Fatalf("%s: %+v", text, e)
		}
		var plain struct {
			Lag  *float64 `json:"lag_ms"`
			Rows int64    `json:"rows"`
			At   *time.Time
		}
		if err := json.Unmarshal(text, &plain); err != nil || plain.Lag == nil {
			t.Fatalf("%s: taken, and is none: %v", text, err)
		}
		at := sent
		if plain.At != nil && plain.At.Before(sent) {
			at = *plain.At
		}
		if float64(e.Lag) < *plain.Lag*float64(time.Millisecond) || e.Rows != plain.Rows || !e.At.Equal(at) {
			t.Fatalf("%s: %+v", text, e)
		}
	})
}
