package api

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAMuteControllerIsFoundOut: one that takes the connection and says nothing
// holds no call up for longer than any other, those that may take long too.
func TestAMuteControllerIsFoundOut(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	c, err := NewClient(ClientConfig{Socket: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	c.patience = 50 * time.Millisecond
	for name, call := range map[string]func() error{
		"notify test": func() error { _, err := c.TestChannels(t.Context(), NotifyTest{}); return err },
		"report run":  func() error { _, err := c.RunReport(t.Context(), ReportRequest{}); return err },
		"status":      func() error { _, err := c.Views(t.Context()); return err },
	} {
		if err := call(); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
