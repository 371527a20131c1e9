// Package registry runs the registry of this machine and the caches of others,
// which are off until a user wants them: as long as none is on there is no
// process. What was asked for outlives the daemon. Caches are used by all who pull,
// because each is a mirror in /etc/docker/certs.d (ADR 26); only root's programs
// can ask them, because what they keep may be somebody's secret.
package registry
