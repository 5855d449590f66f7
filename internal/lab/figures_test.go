package lab

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
)

func sampleFigures() Figures {
	f := Figures{OK: true, CPUs: 2, Load: [2]string{"0.10", "1.20"}, Stories: []Result{{Name: "kill", From: "a", Why: []string{"the name went a → b → a, not a → b"}}}, Figures: []Figure{
		{Name: "even", What: "an even number of times", Unit: "ms", Goal: "< 500"},
		{Name: "odd", What: "an odd number of times", Unit: "%"},
		{Name: "lacking", What: "what could not be", Unit: "1/s", Goal: "≥ 85000"},
		{Name: "unasked", What: "what nobody asked for", Unit: "1/s"},
	}}
	for _, v := range []float64{300, 100.4, 20.25, 400} {
		f.add("even", v)
	}
	for _, v := range []float64{-3, 2.345, 0.5} {
		f.add("odd", v)
	}
	f.lack("lacking", errors.New("dnsperf is not installed"))
	f.lack("odd", errors.New("has values already"))
	f.sum()
	return f
}

func TestTheFiguresAsJSON(t *testing.T) {
	b, err := sampleFigures().JSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "figures.json", b)
}

func TestTheFiguresAsATable(t *testing.T) {
	var b bytes.Buffer
	sampleFigures().WriteTable(&b)
	golden(t, "figures.txt", b.Bytes())
}

// A name that is added to but not declared would vanish.
func TestEveryFigureIsDeclared(t *testing.T) {
	f := declare(BenchConfig{RideOut: time.Second})
	for _, name := range []string{
		figureSync, figureKill, figureStall, figureNormalKill, figureFloodKill, figureFloodRatio, figureRiddenKill, figureRiddenStall, figureColdStart, figureResume,
		figureFastIdle, figureCalmIdle, figureFastMemory, figureCalmMemory, figureAnswers,
	} {
		if !slices.ContainsFunc(f.Figures, func(x Figure) bool { return x.Name == name }) {
			t.Errorf("%s is not declared", name)
		}
	}
}
