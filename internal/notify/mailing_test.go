package notify

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A mailbox that is gone silences nobody else, and the error says which it is.
func TestOneDeadMailboxSilencesNobody(t *testing.T) {
	s := (&smtpServer{starttls: true, gone: "second@", gives: "550 5.1.1 no such user"}).start(t)
	err := mustSender(t, emailTo(s), bent(s.addr, s.roots)).send(t.Context(), single(message("m1")))
	if len(s.mails) != 1 {
		t.Fatalf("oncall@, whom the server takes, got %d messages (%v)", len(s.mails), err)
	}
	if !errors.As(err, new(*partly)) || errors.Is(err, errRefused) || !strings.Contains(err.Error(), "second@example.com: 550") {
		t.Errorf("the error is %v", err)
	}
	o := newOutbox(nil, time.Hour)
	set := &Setup{Channels: []Channel{{Name: "x"}}}
	o.fit(set)
	o.put(set, message("m1"), noon)
	p, _ := o.next("x", noon)
	if gaveUp := o.done(p, err, noon); gaveUp || len(o.entries) != 0 {
		t.Errorf("gave up %v, %d wait", gaveUp, len(o.entries))
	}
	if st := o.statsOf("x"); st.Sent != 1 || st.Failed != 0 || st.LastError != err.Error() {
		t.Errorf("counted %+v", st)
	}
}

// A mailbox that takes it later gets it later, and the others no second time.
func TestAGreylistedMailboxIsAskedAgainAlone(t *testing.T) {
	s := (&smtpServer{starttls: true, gone: "second@", gives: "451 4.7.1 greylisted"}).start(t)
	x := mustSender(t, emailTo(s), bent(s.addr, s.roots))
	for range 2 {
		err := x.send(t.Context(), single(message("m1")))
		if err == nil || errors.As(err, new(*partly)) || errors.Is(err, errRefused) || !strings.Contains(err.Error(), "second@example.com: 451") {
			t.Fatalf("the error is %v", err)
		}
		if len(s.mails) != 1 {
			t.Fatalf("oncall@ got %d messages", len(s.mails))
		}
	}
	s.gone = "oncall@" // a second copy to them would fail
	if err := x.send(t.Context(), single(message("m1"))); err != nil || len(s.mails) != 2 {
		t.Errorf("got %v, %d messages", err, len(s.mails))
	}
}
