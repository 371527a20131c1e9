package supervisor

import (
	"context"
	"time"
)

// Component is one supervised part of the machine.
//
//	Pending -> Waiting -> Preparing -> Starting -> Ready <-> Degraded -> Stopping -> Stopped
//	              (error) -> Backoff -> ...          (budget spent) -> Failed -> ... (every 30 s)
type Component interface {
	// Name is stable and kebab-case: log field, status row, file name.
	Name() string
	// Requires names the components that must be Ready first; they stop after this one.
	Requires() []string
	// Prepare writes files, certificates and config. It is idempotent.
	Prepare(ctx context.Context) error
	// Run blocks until the component has ended and released what it held. It calls ready
	// once, when others may use it. Cancelling ctx asks for a clean stop; returning while
	// ctx is live is a crash.
	Run(ctx context.Context, ready func()) error
}

// State is where a component stands.
type State string

// The states, in the order of a life.
const (
	Pending   State = "pending"
	Waiting   State = "waiting"
	Preparing State = "preparing"
	Starting  State = "starting"
	Ready     State = "ready"
	Degraded  State = "degraded"
	Backoff   State = "backoff"
	Failed    State = "failed"
	Stopping  State = "stopping"
	Stopped   State = "stopped"
)

// HealthChecker is optional: CheckHealth is called about every 5 s while Ready or Degraded.
// An error makes the component Degraded and is shown as what it waits for; nil makes it Ready again.
type HealthChecker interface {
	CheckHealth(ctx context.Context) error
}

// Describer is optional: what a component is waiting for, as a sentence
// ("containerd (dial unix ...: no such file)"), while it starts.
type Describer interface {
	WaitingFor() string
}

// Warner is optional: what a component cannot do although it is Ready, as a sentence with what to do
// about it; "" when all is well. Others, and `boxyard up`, do not wait for it.
type Warner interface {
	Warning() string
}

// Predecessor is optional: StopsBefore names components that stop only after this one, as those that it requires do,
// though it does not wait for them when it starts.
type Predecessor interface {
	StopsBefore() []string
}

// Processor is optional: the facts of a child process for `boxyard status`.
type Processor interface {
	// PID is 0 when no process runs.
	PID() int
	// Version is the upstream version, "" when unknown.
	Version() string
}

// Status is a snapshot of one component.
type Status struct {
	Name       string
	State      State
	Since      time.Time
	PID        int    // 0: none
	Version    string // "": unknown
	WaitingFor string // "": nothing
	Restarts   int
	LastError  string // "": none
	Warning    string // "": none
}

// Event is one change of state.
type Event struct {
	Time      time.Time
	Component string
	From, To  State
	Reason    string
}
