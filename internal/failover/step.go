package failover

import "time"

// State is everything the core holds of one instance. It is a value: Step
// never changes the one it was given.
type State struct{}

// New returns the state of an instance at the start of a process.
func New(now time.Time) State { return State{} }

// Step takes one event and returns the next state and what the shell must do.
func Step(s State, p *Policy, e Event, now time.Time) (State, []Action) { return s, nil }

// NextWake is the next moment at which a Tick may change a decision; the zero
// time means that only an event can.
func NextWake(s *State, p *Policy, now time.Time) time.Time { return time.Time{} }

// Look derives the view of a state.
func Look(s *State, p *Policy, now time.Time) View { return View{} }

// Explain says in words why the core did, did not, or would act.
func Explain(s *State, p *Policy, now time.Time) Explanation { return Explanation{} }

// PlanMove says what a command would do, and does nothing.
func PlanMove(s *State, p *Policy, c Command, now time.Time) Plan { return Plan{} }
