package lab

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// moment is so many milliseconds after the beginning of a story.
func moment(ms int) time.Time { return time.Date(2026, 1, 1, 0, 0, 0, ms*1e6, time.UTC) }

func seen(asked, received int, target string) Answer {
	return Answer{Asked: moment(asked), Received: moment(received), Kind: AnswerTarget, Target: target}
}

func TestJudge(t *testing.T) {
	aThenB := []Commit{{Target: "a."}, {At: moment(100), Target: "b."}}
	for name, c := range map[string]struct {
		answers []Answer
		commits []Commit
		wrong   int
	}{
		"old before, new after":                        {[]Answer{seen(10, 11, "a."), seen(110, 111, "b.")}, aThenB, 0},
		"never committed":                              {[]Answer{seen(10, 11, "c.")}, aThenB, 1},
		"new before its commit":                        {[]Answer{seen(10, 11, "b.")}, aThenB, 1},
		"old for a while after the commit":             {[]Answer{seen(105, 106, "a."), seen(110, 111, "b.")}, aThenB, 0},
		"old again after new was seen":                 {[]Answer{seen(110, 111, "b."), seen(112, 113, "a.")}, aThenB, 1},
		"old that was asked for before new was seen":   {[]Answer{seen(110, 111, "b."), seen(109, 113, "a.")}, aThenB, 0},
		"back again by a commit":                       {[]Answer{seen(110, 111, "b."), seen(212, 213, "a.")}, append(slices.Clone(aThenB), Commit{moment(200), "a."}), 0},
		"back again before that commit":                {[]Answer{seen(110, 111, "b."), seen(112, 113, "a.")}, append(slices.Clone(aThenB), Commit{moment(200), "a."}), 1},
		"new twice, then old twice":                    {[]Answer{seen(110, 111, "b."), seen(112, 113, "b."), seen(114, 115, "a."), seen(116, 117, "a.")}, aThenB, 2},
		"what no authority may say":                    {[]Answer{{Asked: moment(1), Received: moment(2), Kind: AnswerOdd, Note: "code REFUSED"}}, aThenB, 1},
		"commits that are handed over in any order":    {[]Answer{seen(10, 11, "a."), seen(110, 111, "b.")}, []Commit{{At: moment(100), Target: "b."}, {Target: "a."}}, 0},
		"nothing committed, nothing may be answered":   {[]Answer{seen(10, 11, "a.")}, nil, 1},
		"answers that are handed over in any order":    {[]Answer{seen(112, 113, "a."), seen(110, 111, "b.")}, aThenB, 1},
		"the same value committed twice is no step":    {[]Answer{seen(110, 111, "b."), seen(310, 311, "b.")}, append(slices.Clone(aThenB), Commit{moment(300), "b."}), 0},
		"old after the new one was committed twice":    {[]Answer{seen(310, 311, "b."), seen(312, 313, "a.")}, append(slices.Clone(aThenB), Commit{moment(300), "b."}), 1},
		"a question in flight over two moves and back": {[]Answer{seen(110, 111, "b."), seen(109, 213, "a."), seen(210, 211, "a.")}, append(slices.Clone(aThenB), Commit{moment(200), "a."}), 0},
	} {
		t.Run(name, func(t *testing.T) {
			counts, examples := Judge(c.answers, c.commits)
			if counts.Wrong != c.wrong || counts.Answers != len(c.answers) || len(examples) != c.wrong {
				t.Errorf("%+v %v, want %d wrong of %d", counts, examples, c.wrong, len(c.answers))
			}
			if counts.Broken() != (c.wrong > 0) {
				t.Errorf("broken %v with %d wrong", counts.Broken(), c.wrong)
			}
		})
	}
}

func TestEmptyNXDOMAINAndSERVFAILBreakAPromiseAndMissingBreaksNone(t *testing.T) {
	for kind, broken := range map[AnswerKind]bool{AnswerEmpty: true, AnswerNXDomain: true, AnswerServfail: true, AnswerMissing: false} {
		a := Answer{Asked: moment(1), Kind: kind}
		if kind != AnswerMissing {
			a.Received = moment(2)
		}
		counts, _ := Judge([]Answer{a, seen(1, 2, "a.")}, []Commit{{Target: "a."}})
		if counts.Broken() != broken {
			t.Errorf("%s: broken %v", kind, counts.Broken())
		}
		if sum := counts.Answers + counts.Missing; sum != 2 {
			t.Errorf("%s: %+v does not account for 2 questions", kind, counts)
		}
	}
}

func TestJudgeKeepsAFewExamplesOnly(t *testing.T) {
	answers := slices.Repeat([]Answer{seen(1, 2, "c.")}, 50)
	counts, examples := Judge(answers, []Commit{{Target: "a."}})
	if counts.Wrong != 50 || len(examples) != 5 || !strings.Contains(examples[0], "c. was never committed") {
		t.Errorf("%+v %v", counts, examples)
	}
}

func TestMovesAreInTheOrderOfTheQuestions(t *testing.T) {
	// The answer to an older question came last: that is no move back.
	got := Moves([]Answer{seen(1, 2, "a."), seen(5, 6, "b."), seen(3, 9, "a."), {Asked: moment(7), Kind: AnswerMissing}, seen(8, 10, "b.")})
	if !slices.Equal(got, []string{"a.", "b."}) {
		t.Errorf("%v", got)
	}
}
