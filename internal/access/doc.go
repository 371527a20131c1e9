// Package access says who may use a socket or file of Boxyard besides root: a
// group, and, through an ACL, the user who ran sudo. That user needs no new login
// for it, where a new membership of a group would. It imports nothing of Boxyard
// but fault.
package access
