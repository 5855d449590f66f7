package healthcheck

import (
	"net/http"
	"sync/atomic"
	"testing"
)

// A server that sends without end gets rid of no more than windows and buffers
// hold: the rest is never read.
func TestGRPCReadsNoMoreThanAHealthMessage(t *testing.T) {
	var sent atomic.Int64
	addr := grpcServer(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		page := make([]byte, 64<<10)
		for sent.Load() < 64<<20 {
			n, err := w.Write(page)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	if _, err := probe(t, target(GRPC, addr)); err == nil {
		t.Error("an answer without end is healthy")
	}
	if n := sent.Load(); n > 8<<20 {
		t.Errorf("%d octets of an answer were taken", n)
	}
}
