package tablestore

import (
	"crypto/x509"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/protoadapt"
)

// TestKillAndRevive: connections are refused, those that are open are cut, the
// management API goes on, and all is there afterwards at the same address.
func TestKillAndRevive(t *testing.T) {
	s := frontServer(t, Options{TLSNames: []string{"a.test"}})
	s.ask("CreateTable", createRequest("orders")).wants(t, s, 200, "", "")
	mustFail(t, s, Fault{Kind: Stalled, Operation: "ListTable"}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.ask("ListTable", nil).do(t, s); err == nil {
			t.Error("answered by the dead")
		}
	})
	await(t, "the call", func() bool { return len(s.Faults()) == 0 })
	endpoint, withTLS := s.Endpoint(), s.TLSEndpoint()
	if err := errors.Join(s.Kill(), s.Kill()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if _, err := s.ask("ListTable", nil).do(t, s); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	if !s.Status().Killed || len(s.Tables("")) != 1 {
		t.Errorf("%+v", s.Status())
	}
	if err := errors.Join(s.Revive(), s.Revive()); err != nil {
		t.Fatal(err)
	}
	if s.Endpoint() != endpoint || s.TLSEndpoint() != withTLS || s.Status().Killed {
		t.Error("elsewhere")
	}
	s.ask("DescribeTable", describeRequest("orders")).wants(t, s, 200, "", "")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	if _, err := sdkFor(t, s.TLSEndpoint(), provider(s.Key()), roots, "a.test").ListTable(); err != nil {
		t.Error(err)
	}
}

// TestStallAndResume: as on SIGSTOP nothing is answered, on new connections and
// on old ones, and what came in meanwhile is done once it goes on, even where
// nobody waits any more.
func TestStallAndResume(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	operations["Work"] = func(*Server, *call) (protoadapt.MessageV1, *refusal) {
		close(begun)
		<-finish
		return nil, nil
	}
	t.Cleanup(func() { delete(operations, "Work") })
	s := frontServer(t, Options{TLSNames: []string{"a.test"}})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	kept := s.ask("ListTable", nil)
	kept.client = &http.Client{Transport: tr, Timeout: time.Minute}
	kept.wants(t, s, 200, "", "")
	s.Stall()
	s.Stall()
	s.ask("CreateTable", createRequest("orders")).sendAndGo(t, s)()
	answered := make(chan error, 1)
	go func() {
		_, err := kept.do(t, s)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatal("answered", err)
	case <-time.After(50 * time.Millisecond):
	}
	if !s.Status().Stalled || len(s.Tables("")) != 0 {
		t.Errorf("%+v %+v", s.Status(), s.Tables(""))
	}
	s.Resume()
	s.Resume()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	await(t, "the change that nobody waits for", func() bool { return len(s.Tables("")) == 1 })
	// What was being done when it stopped is not answered either.
	go func() {
		_, err := s.ask("Work", nil).do(t, s)
		answered <- err
	}()
	<-begun
	s.Stall()
	close(finish)
	await(t, "the end of its work", func() bool { return len(s.Requests(Filter{Operation: "Work"})) == 1 })
	select {
	case err := <-answered:
		t.Fatal("answered", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.Resume()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	// A stalled one can be killed, also where TLS wants a last word on a
	// connection that is up.
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	withTLS := sdkFor(t, s.TLSEndpoint(), provider(s.Key()), roots, "a.test")
	if _, err := withTLS.ListTable(); err != nil {
		t.Fatal(err)
	}
	s.Stall()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := withTLS.ListTable(); err == nil {
			t.Error("answered")
		}
	})
	killed := make(chan error, 1)
	go func() { killed <- s.Kill() }()
	select {
	case err := <-killed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not die while it is stalled")
	}
	wg.Wait()
	s.Resume()
	if err := s.Revive(); err != nil {
		t.Error(err)
	}
	s.ask("ListTable", nil).wants(t, s, 200, "", "")
}
