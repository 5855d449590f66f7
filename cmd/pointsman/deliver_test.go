package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/notify"
	reporting "pointsman/internal/report"
)

// A report that the outbox has, in memory for want of a disk, is handed over:
// told again as a failure it would be made and sent three times.
func TestAReportInMemoryIsHandedOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	n, err := notify.Open(notify.Config{Dir: dir, Log: log, Name: "ctl-1", Setup: notify.Setup{Channels: []notify.Channel{{Name: "files", Type: notify.Folder, Path: t.TempDir()}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	d := delivered{&process{log: log, notices: &notices{n: n}}}
	said.Reset()
	if err := d.Deliver(t.Context(), []string{"files"}, reporting.Document{ID: "daily/2026-11-28T080000Z", Title: "daily"}); err != nil {
		t.Errorf("got %v", err)
	}
	if n.Stats()[0].Waiting != 1 || !strings.Contains(said.String(), "waits in memory only") {
		t.Errorf("%+v, %s", n.Stats(), &said)
	}
	if err := d.Deliver(t.Context(), []string{"fils"}, reporting.Document{Title: "daily"}); err == nil {
		t.Error("an unknown channel is no error")
	}
}
