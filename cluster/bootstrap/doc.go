// Package bootstrap makes the few objects that the API must have before
// Boxyard is complete: the rights of our own clients, the Service of the DNS and
// the two system priority classes. They are compared at each start; objects of
// others are never touched.
package bootstrap
