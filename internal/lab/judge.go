package lab

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Commit is one value of the name that was made durable, with a time not
// later than the moment from which it may be answered.
type Commit struct {
	At     time.Time // zero: before everything
	Target string
}

// Counts is the verdict on all answers of a while.
type Counts struct {
	Answers  int `json:"answers"` // everything that came back
	Empty    int `json:"empty"`
	NXDomain int `json:"nxdomain"`
	Servfail int `json:"servfail"`
	Wrong    int `json:"wrong"`
	Missing  int `json:"missing"`
}

// Broken says that a promise about answers was broken. Missing ones break
// none: a controller that is being restarted cannot answer.
func (c Counts) Broken() bool { return c.Empty+c.NXDomain+c.Servfail+c.Wrong > 0 }

// Judge counts answers against the values that were committed. An answer is
// wrong when it shows
//
//   - a target that was not yet, or never, committed when the answer came, or
//   - an older commit although a newer one had already been seen by an answer
//     that came before the question was even asked, or
//   - anything that no authority may say (see AnswerOdd).
//
// The examples say what the first few wrong answers were. Judge compares the
// lab's clock with the controller's: both run on this machine.
func Judge(answers []Answer, commits []Commit) (c Counts, examples []string) {
	wrong := func(a Answer, format string, args ...any) {
		c.Wrong++
		if len(examples) < 5 {
			examples = append(examples, a.Received.Format("15:04:05.000")+" "+fmt.Sprintf(format, args...))
		}
	}
	commits = slices.Clone(commits)
	slices.SortStableFunc(commits, func(a, b Commit) int { return a.At.Compare(b.At) })

	type seen struct {
		received time.Time
		commit   int
	}
	var shown []seen // the newest commit shown so far, in the order of receipt
	byReceipt := slices.DeleteFunc(slices.Clone(answers), func(a Answer) bool { return a.Kind == AnswerMissing })
	slices.SortStableFunc(byReceipt, func(a, b Answer) int { return a.Received.Compare(b.Received) })
	c.Missing = len(answers) - len(byReceipt)
	c.Answers = len(byReceipt)
	for _, a := range byReceipt {
		switch a.Kind {
		case AnswerEmpty:
			c.Empty++
			continue
		case AnswerNXDomain:
			c.NXDomain++
			continue
		case AnswerServfail:
			c.Servfail++
			continue
		case AnswerOdd:
			wrong(a, "%s", a.Note)
			continue
		}
		newest := -1
		for i, k := range commits {
			if k.Target == a.Target && !k.At.After(a.Received) {
				newest = i
			}
		}
		if newest < 0 {
			wrong(a, "%s was never committed", a.Target)
			continue
		}
		// What had been shown before this question was asked?
		n, _ := slices.BinarySearchFunc(shown, a.Asked, func(s seen, t time.Time) int { return cmp.Or(s.received.Compare(t), -1) })
		if n > 0 && shown[n-1].commit > newest {
			wrong(a, "%s again, after %s had been answered", a.Target, commits[shown[n-1].commit].Target)
			continue
		}
		if len(shown) == 0 || shown[len(shown)-1].commit < newest {
			shown = append(shown, seen{a.Received, newest})
		}
	}
	return c, examples
}

// Moves returns the targets in the order in which answers showed them, each
// once per change.
func Moves(answers []Answer) []string {
	var order []string
	byReceipt := slices.Clone(answers)
	slices.SortStableFunc(byReceipt, func(a, b Answer) int { return a.Asked.Compare(b.Asked) })
	for _, a := range byReceipt {
		if a.Kind == AnswerTarget && (len(order) == 0 || order[len(order)-1] != a.Target) {
			order = append(order, a.Target)
		}
	}
	return order
}
