package ledger

import (
	"errors"
	"testing"
)

func TestAZoneThatWasWholeOnceIsRememberedForGood(t *testing.T) {
	for name, dir := range map[string]string{
		"new": memDir(t), "of version 2": closed(t, "DROP TABLE whole", "PRAGMA user_version=2"),
		"of version 1": closed(t, "DROP TABLE whole", "DROP TABLE journal", "DROP TABLE statics", "PRAGMA user_version=1"),
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, Config{Dir: dir})
			if s.WasWhole("lab.test.") {
				t.Error("it was whole before anybody said so")
			}
			for range 2 {
				if err := s.NoteWhole(t.Context(), "lab.test."); err != nil {
					t.Fatal(err)
				}
			}
			for life := range 2 {
				if !s.WasWhole("lab.test.") || s.WasWhole("other.test.") {
					t.Errorf("life %d: lab.test. %v, other.test. %v", life, s.WasWhole("lab.test."), s.WasWhole("other.test."))
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if life == 0 {
					s = mustOpen(t, Config{Dir: dir})
				}
			}
			if err := s.NoteWhole(t.Context(), "other.test."); !errors.Is(err, ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

func TestWhatCouldNotBeRememberedIsNotTakenForKnown(t *testing.T) {
	fail := false
	s := mustOpen(t, Config{Dir: memDir(t), fault: func(op string) error {
		if fail && op == "commit" {
			return errors.New("no space")
		}
		return nil
	}})
	fail = true
	for range 2 {
		if err := s.NoteWhole(t.Context(), "lab.test."); !errors.Is(err, ErrPoisoned) || s.WasWhole("lab.test.") {
			t.Fatalf("%v, whole %v", err, s.WasWhole("lab.test."))
		}
	}
}
