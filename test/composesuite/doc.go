// Command composesuite runs Compose's own end-to-end tests, at the version that the payload has, against Boxyard's
// socket in a confined instance, and writes what came of each to docs/compatibility-compose.md.
//
// The tests take images from Docker Hub. The instance has a registry that stands for it, with stand-ins of those images
// from files and Debian packages (tools/composeimages), so that they can be removed and pulled like the real ones.
package main
