package controlapi

import "time"

// Phases of the daemon's life.
const (
	PhaseStarting = "starting" // config, preflight, payload, certificates: no part runs yet
	PhaseRunning  = "running"
	PhaseStopping = "stopping"
)

// Status is the answer of GET /v1/status and of `boxyard status -o json`.
type Status struct {
	Ready   bool   `json:"ready"`
	Phase   string `json:"phase"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
	// Since is when the daemon started, MemoryBytes its own anonymous memory.
	Since       time.Time `json:"since"`
	MemoryBytes int64     `json:"memoryBytes,omitempty"`
	// NodeIP and APIPort say where the Kubernetes API listens; empty without the cluster.
	NodeIP  string `json:"nodeIP,omitempty"`
	APIPort int    `json:"apiPort,omitempty"`
	// FrontDoorPort is the loopback port of the front door; 0 while it is closed.
	FrontDoorPort int               `json:"frontDoorPort,omitempty"`
	Components    []ComponentStatus `json:"components"`
}

// ComponentStatus is one part of the machine.
type ComponentStatus struct {
	Name        string    `json:"name"`
	State       string    `json:"state"` // a supervisor.State
	Since       time.Time `json:"since"`
	PID         int       `json:"pid,omitempty"`
	MemoryBytes int64     `json:"memoryBytes,omitempty"` // anonymous memory, bytes
	Version     string    `json:"version,omitempty"`
	WaitingFor  string    `json:"waitingFor,omitempty"`
	Restarts    int       `json:"restarts,omitempty"`
	LastError   string    `json:"lastError,omitempty"`
	// Warning is what a part that is ready cannot do all the same, and what to do about it.
	Warning string `json:"warning,omitempty"`
}

// Note is Event.To where nothing has changed its state and Reason is something that people should know.
const Note = "note"

// Event is one line of the GET /v1/events stream (JSON lines, oldest first, then live).
type Event struct {
	Time      time.Time `json:"time"`
	Component string    `json:"component"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Reason    string    `json:"reason,omitempty"`
}

// DownRequest is the body of POST /v1/down. The answer comes when everything has stopped.
type DownRequest struct {
	KeepContainers bool `json:"keepContainers"`
}

// Error is the body of every answer that is not 2xx.
type Error struct {
	Code    string `json:"code"`
	Summary string `json:"summary"`
	Hint    string `json:"hint,omitempty"`
	// Exit is the exit code of the command that gets the error; 0 means fault.ExitError.
	Exit int `json:"exit,omitempty"`
	// Also holds further errors of the same kind of check: preflight finds all there is.
	Also []Error `json:"also,omitempty"`
}
