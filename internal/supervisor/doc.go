// Package supervisor starts the parts of the machine in the order of what they
// require, keeps them running and stops them in the reverse order. It owns their
// states and the stream of events.
//
// A part that crashes is started again by itself: those that require it go on,
// because containers outlive daemons. They only need it Ready for their own start.
//
// It knows nothing of processes or containers and imports nothing of Boxyard.
package supervisor
