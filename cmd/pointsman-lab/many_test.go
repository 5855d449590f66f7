package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// manyEndToEnd carries the part out with a few instances: that every figure is
// measured, and that nobody is called down who is well.
func manyEndToEnd(t *testing.T, bin string) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pointsman-lab"), "bench", "-o", "json",
		"--only", "many", "--many", "5", "--many-round", "500ms", "--rounds", "1", "--idle", "1s")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 15 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+shortTemp(t))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("bench: %v\n%s\n%s", err, out.Bytes(), errs.Bytes())
	}
	var report struct {
		Figures []struct {
			Name    string
			Values  []float64
			Missing string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	measured := 0
	for _, f := range report.Figures {
		if len(f.Name) < 5 || f.Name[:5] != "many_" {
			continue
		}
		if len(f.Values) == 0 && f.Missing == "" {
			t.Errorf("%s was not measured", f.Name)
		}
		measured++
		for _, v := range f.Values {
			if f.Name == "many_false_downs" && v != 0 {
				t.Errorf("%v false downs", v)
			}
			if f.Name == "many_metrics_series" && v < 100 {
				t.Errorf("%v time series", v)
			}
		}
	}
	if measured == 0 {
		t.Errorf("no figures of many instances in\n%s", out.Bytes())
	}
}
